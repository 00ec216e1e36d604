//! Who may write: a row with an epoch and a time, by the server's clock. Each commit lengthens the lease; who holds it
//! no longer finds another tag there.

use super::reader::with_kept;
use super::session::{Session, Trouble};
use super::text::{Columns, quoted};
use crate::config::database::HistoryServer;
use crate::edge::history_store::{StoreError, StoreErrorKind};

/// The server's time in milliseconds since the epoch.
const NOW_MS: &str = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";

/// Stands in the place of a cluster while a history is moved here.
pub(super) const MOVING: &str = "(unfinished migrate-store)";

/// The terms under which a daemon takes the history over.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Name of the cluster; empty for a daemon that stands alone.
    pub cluster: String,
    /// Name of this daemon.
    pub member: String,
    /// Its machine and folder, which tell daemons of one name apart.
    pub place: String,
    /// Address of its API; empty for a daemon that stands alone.
    pub address: String,
    /// How long it may write after a commit, in milliseconds.
    pub millis: u64,
    /// How often the history was taken over; set when it is.
    pub epoch: i64,
}

/// What was found when the history was taken over.
pub(super) struct Taken {
    pub(super) lease: Lease,
    pub(super) last_row: i64,
    pub(super) ticks: i64,
}

/// What the row says of who writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Name of its cluster.
    pub cluster: String,
    /// Name of the daemon that holds it.
    pub member: String,
    /// See [`Lease::place`].
    pub place: String,
    /// Address of its API.
    pub address: String,
    /// See [`Lease::epoch`].
    pub epoch: i64,
    /// How long it may still write, in milliseconds; negative if it may not.
    pub left_ms: i64,
}

/// Reads who writes, with what a writer continues from: greatest row id and newest time.
pub(super) fn holder(session: &mut Session, end: &str) -> Result<(Holder, i64, i64), Trouble> {
    let sql = format!(
        "SELECT cluster, member, place, address, epoch, lease_until - {NOW_MS}, last_row, ticks FROM stheno_store \
         WHERE id = 1{end}"
    );
    let row = session.rows(&sql)?.pop();
    let mut row = Columns::of(row.ok_or_else(|| Trouble::schema("its table 'stheno_store' is empty: restore it"))?);
    let mut text = || row.text().unwrap_or_default();
    let (cluster, member, place, address) = (text(), text(), text(), text());
    let mut number = || row.number().unwrap_or(0);
    let holder = Holder { cluster, member, place, address, epoch: number(), left_ms: number() };
    Ok((holder, number(), number()))
}

impl Lease {
    /// Takes the history over, if nobody else holds it.
    pub(super) fn take(&self, session: &mut Session, tag: i64) -> Result<Taken, Trouble> {
        session.run("START TRANSACTION")?;
        let (holder, last_row, ticks) = holder(session, " FOR UPDATE")?;
        self.check(&holder)?;
        let epoch = holder.epoch + 1;
        let Self { cluster, member, place, address, millis, .. } = self;
        session.run(&format!(
            "UPDATE stheno_store SET tag = {tag}, epoch = {epoch}, cluster = {}, member = {}, place = {}, \
             address = {}, lease_until = {NOW_MS} + {millis} WHERE id = 1",
            quoted(cluster.as_str()),
            quoted(member.as_str()),
            quoted(place.as_str()),
            quoted(address.as_str()),
        ))?;
        session.run("COMMIT")?;
        Ok(Taken { lease: Self { epoch, ..self.clone() }, last_row, ticks })
    }

    fn check(&self, holder: &Holder) -> Result<(), Trouble> {
        if holder.cluster == MOVING {
            let text = "a move into it was not finished: run 'stheno migrate-store' again";
            return Err(Trouble::schema(text));
        }
        if holder.epoch > 0 && holder.cluster != self.cluster {
            let name = |name: &str| if name.is_empty() { "no cluster".to_owned() } else { format!("cluster '{name}'") };
            let text = format!(
                "it is the history of {}, and this daemon is of {}: correct gorgonecore.cluster.name or \
                 gorgone_db_name",
                name(&holder.cluster),
                name(&self.cluster)
            );
            return Err(Trouble::schema(text));
        }
        if holder.left_ms > 0 && holder.place != self.place {
            if holder.member == self.member {
                let text = format!(
                    "another central with the name '{}' ({}) is active: give each its own gorgonecore.cluster.member",
                    holder.member, holder.place
                );
                return Err(Trouble::schema(text));
            }
            let text = format!(
                "another daemon, '{}', writes to it; stop that one, or wait for {} s if it is gone",
                holder.member,
                holder.left_ms.div_euclid(1_000) + 1
            );
            return Err(Trouble::new(StoreErrorKind::InUse(None), text, false));
        }
        Ok(())
    }

    /// The statement with which each transaction begins; it changes one row, or another daemon has the history.
    pub(super) fn guard(&self, tag: i64, next: i64, gives_back: bool) -> String {
        let (epoch, millis) = (self.epoch, if gives_back { 0 } else { self.millis });
        let until = if gives_back { "0".to_owned() } else { format!("{NOW_MS} + {millis}") };
        format!(
            "UPDATE stheno_store SET tag = {next}, lease_until = {until} \
             WHERE id = 1 AND tag = {tag} AND epoch = {epoch}"
        )
    }
}

/// A central of a cluster, as the history knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// How it is called.
    pub member: String,
    /// Address of its API.
    pub address: String,
    /// How long ago it looked at the history, in milliseconds.
    pub seen_ms: i64,
    /// What of its configuration is compared: names and values.
    pub configuration: Vec<(String, String)>,
}

/// Who writes, and who else is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Who writes or did so last.
    pub holder: Holder,
    /// All centrals that looked at the history not long ago.
    pub members: Vec<Member>,
}

/// Looks who is active, and notes that this member is there.
///
/// # Errors
/// The server cannot be asked.
pub fn look(server: &HistoryServer, own: &Lease, configuration: &str) -> Result<Seen, StoreError> {
    with_kept(server, |session| see(session, own, configuration))
}

fn see(session: &mut Session, own: &Lease, configuration: &str) -> Result<Seen, Trouble> {
    let tables = "SELECT COUNT(*) FROM information_schema.tables \
                  WHERE table_schema = DATABASE() AND table_name IN ('stheno_store', 'stheno_members')";
    let count = session.rows(tables)?.pop().and_then(|row| Columns::of(row).number());
    if count != Some(2) {
        // The first central makes the tables.
        return Ok(Seen::default());
    }
    let Lease { member, place, address, millis, .. } = own;
    let text = |text: &str| quoted(text);
    let noted = session.run(&format!(
        "REPLACE INTO stheno_members (member, place, address, seen, configuration) \
         VALUES ({}, {}, {}, {NOW_MS}, {})",
        text(member),
        text(place),
        text(address),
        text(configuration)
    ));
    if let Err(trouble) = noted
        && trouble.kind == StoreErrorKind::Io
    {
        return Err(trouble);
    }
    let (holder, ..) = holder(session, "")?;
    let sql = format!(
        "SELECT member, address, {NOW_MS} - seen, configuration FROM stheno_members \
         WHERE seen > {NOW_MS} - {} ORDER BY member LIMIT 100",
        millis.saturating_mul(10)
    );
    let members = session.rows(&sql)?.into_iter().map(|row| {
        let mut row = Columns::of(row);
        let (member, address) = (row.text().unwrap_or_default(), row.text().unwrap_or_default());
        let seen_ms = row.number().unwrap_or(0);
        let configuration = row.text().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Member { member, address, seen_ms, configuration }
    });
    Ok(Seen { holder, members: members.collect() })
}
