//! Who may write: a row with an epoch and a time, by the server's clock. Each commit lengthens the lease; who holds it
//! no longer finds another tag there.

use super::session::{Session, Trouble};
use super::text::{Columns, quoted};
use crate::edge::history_store::StoreErrorKind;

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
    /// Its name.
    pub member: String,
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
        "SELECT cluster, member, address, epoch, lease_until - {NOW_MS}, last_row, ticks FROM stheno_store \
         WHERE id = 1{end}"
    );
    let row = session.rows(&sql)?.pop();
    let mut row = Columns::of(row.ok_or_else(|| Trouble::schema("its table 'stheno_store' is empty: restore it"))?);
    let mut text = || row.text().unwrap_or_default();
    let (cluster, member, address) = (text(), text(), text());
    let mut number = || row.number().unwrap_or(0);
    let holder = Holder { cluster, member, address, epoch: number(), left_ms: number() };
    Ok((holder, number(), number()))
}

impl Lease {
    /// Takes the history over, if nobody else holds it.
    pub(super) fn take(&self, session: &mut Session, tag: i64) -> Result<Taken, Trouble> {
        session.run("START TRANSACTION")?;
        let (holder, last_row, ticks) = holder(session, " FOR UPDATE")?;
        self.check(&holder)?;
        let epoch = holder.epoch + 1;
        let Self { cluster, member, address, millis, .. } = self;
        session.run(&format!(
            "UPDATE stheno_store SET tag = {tag}, epoch = {epoch}, cluster = {}, member = {}, address = {}, \
             lease_until = {NOW_MS} + {millis} WHERE id = 1",
            quoted(cluster.as_str()),
            quoted(member.as_str()),
            quoted(address.as_str()),
        ))?;
        session.run("COMMIT")?;
        Ok(Taken { lease: Self { epoch, ..self.clone() }, last_row, ticks })
    }

    fn check(&self, holder: &Holder) -> Result<(), Trouble> {
        if holder.cluster == MOVING {
            let text = "a move into it was not finished: run 'stheno migrate-store' again";
            return Err(Trouble::new(StoreErrorKind::InUse(None), text, false));
        }
        if holder.epoch > 0 && holder.cluster != self.cluster {
            let name = |name: &str| if name.is_empty() { "no cluster".to_owned() } else { format!("cluster '{name}'") };
            let text = format!(
                "it is the history of {}, and this daemon is of {}: correct gorgonecore.cluster.name or \
                 gorgone_db_name",
                name(&holder.cluster),
                name(&self.cluster)
            );
            return Err(Trouble::new(StoreErrorKind::InUse(None), text, false));
        }
        if holder.left_ms > 0 && holder.member != self.member {
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
