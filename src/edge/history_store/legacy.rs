//! State stored in addition to the original's tables, so that a crash neither loses nor repeats orders of Centreon Web:
//! unconfirmed messages, and the position in the current command file.

use rusqlite::{Connection, Result, Transaction, params};

use super::column;
use crate::model::legacy::{FileMark, LegacyChange, LegacyStored, StoredOrder};
use crate::model::token::Token;

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
