//! State stored in addition to the original's tables, so that a crash neither loses nor repeats orders of Centreon Web:
//! unconfirmed messages, the position in the current command file, and the tokens that were accepted here.

use rusqlite::{Connection, Result, Transaction, params};

use super::column;
use crate::model::legacy::{FileMark, LegacyChange, LegacyStored, StoredOrder};
use crate::model::token::Token;

/// Minimum number of tokens that are remembered; older ones are deleted occasionally.
pub(super) const TAKEN_MAX: usize = 20_000;
/// Maximum number of messages that are read at the start.
const ORDERS_MAX: usize = 100_000;

pub(super) fn apply(transaction: &Transaction<'_>, change: &LegacyChange) -> Result<()> {
    match change {
        LegacyChange::PutOrder(order) => {
            let sql = "INSERT OR REPLACE INTO stheno_orders (sequence, token, target, action, name, data) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let StoredOrder { sequence, token, target, action, name, data } = order;
            transaction.prepare_cached(sql)?.execute(params![sequence, token.as_str(), target, action, name, data])?;
        }
        LegacyChange::DeleteOrder(sequence) => {
            transaction.prepare_cached("DELETE FROM stheno_orders WHERE sequence = ?1")?.execute([sequence])?;
        }
        LegacyChange::PutMark(FileMark { path, identity, offset }) => {
            let offset = i64::try_from(*offset).unwrap_or(i64::MAX);
            transaction.prepare_cached("DELETE FROM stheno_order_file")?.execute([])?;
            let sql = "INSERT INTO stheno_order_file (path, identity, position) VALUES (?1, ?2, ?3)";
            transaction.prepare_cached(sql)?.execute(params![path, identity, offset])?;
        }
        LegacyChange::DeleteMark => {
            transaction.prepare_cached("DELETE FROM stheno_order_file")?.execute([])?;
        }
    }
    Ok(())
}

/// Remembers a token; deletes the oldest ones if there are too many.
pub(super) fn take_token(transaction: &Transaction<'_>, hash: i64, taken: i64) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO stheno_taken_tokens (hash, taken) VALUES (?1, ?2)";
    transaction.prepare_cached(sql)?.execute([hash, taken])?;
    // Counting is done for about one token in 1,024, because hashes are evenly distributed.
    if hash.rem_euclid(1_024) == 0 {
        let sql = format!(
            "DELETE FROM stheno_taken_tokens WHERE hash IN \
             (SELECT hash FROM stheno_taken_tokens ORDER BY taken DESC LIMIT -1 OFFSET {TAKEN_MAX})"
        );
        transaction.execute(&sql, [])?;
    }
    Ok(())
}

pub(super) fn taken_tokens(connection: &Connection) -> Result<Vec<i64>> {
    let sql = format!("SELECT hash FROM stheno_taken_tokens ORDER BY taken DESC LIMIT {TAKEN_MAX}");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut hashes = Vec::new();
    while let Some(row) = rows.next()? {
        hashes.extend(column::integer(row, 0));
    }
    hashes.reverse();
    Ok(hashes)
}

pub(super) fn load(connection: &Connection) -> Result<LegacyStored> {
    let sql = format!(
        "SELECT sequence, token, target, action, name, data FROM stheno_orders ORDER BY sequence LIMIT {ORDERS_MAX}"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut orders = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |index| column::text(row, index).unwrap_or_default();
        let token = Token::parse(&text(1)).ok();
        orders.extend(column::integer(row, 0).zip(token).map(|(sequence, token)| StoredOrder {
            sequence,
            token,
            target: text(2),
            action: text(3),
            name: text(4),
            data: text(5),
        }));
    }
    let mut statement = connection.prepare("SELECT path, identity, position FROM stheno_order_file")?;
    let mut rows = statement.query([])?;
    let mark = match rows.next()? {
        Some(row) => column::text(row, 0).zip(column::text(row, 1)).map(|(path, identity)| FileMark {
            path,
            identity,
            offset: column::integer(row, 2).and_then(|offset| u64::try_from(offset).ok()).unwrap_or(0),
        }),
        None => None,
    };
    Ok(LegacyStored { orders, mark })
}
