//! How far other histories have been taken over: the marks of nodes, and those of histories.
//!
//! The mark of a node names a history and the greatest row id in it. So it says the mark of that history, too, which
//! is stored in a row of its own only if rows of the history came by another way, or when the node has another one.

use std::collections::BTreeMap;

use rusqlite::{Connection, Result, Transaction, params};

use super::apply::sql_id;
use crate::model::history::{HistoryName, Origins, RowOrigin, StoreChange, SyncMark};
use crate::model::node_id::NodeId;

/// The marks of histories that the marks of nodes say.
pub(super) type Said = BTreeMap<HistoryName, i64>;

/// Returns what the marks of nodes among the changes of a commit say.
pub(super) fn said(changes: &[StoreChange]) -> Said {
    let marks = changes.iter().filter_map(|change| match change {
        StoreChange::PutSyncMark(node, mark) => Some((*node, *mark)),
        _ => None,
    });
    said_by(marks).collect()
}

fn said_by(marks: impl Iterator<Item = (NodeId, SyncMark)>) -> impl Iterator<Item = (HistoryName, i64)> {
    let named = marks.filter(|(_, mark)| mark.history != 0);
    named.map(|(node, mark)| (HistoryName { node, number: mark.history }, mark.last_id))
}

/// Adds what the marks of nodes say to the stored marks of histories.
pub(super) fn add_said(origins: &mut Origins, marks: &[(NodeId, SyncMark)]) {
    let mut all: Said = origins.marks.drain(..).collect();
    for (history, id) in said_by(marks.iter().copied()) {
        let known = all.entry(history).or_insert(id);
        *known = id.max(*known);
    }
    origins.marks = all.into_iter().collect();
}

/// Stores the mark of a history, unless that of its node says the same.
pub(super) fn put_origin(transaction: &Transaction<'_>, origin: RowOrigin, said: &Said) -> Result<()> {
    let RowOrigin { history, id } = origin;
    if said.get(&history) == Some(&id) {
        let sql = "DELETE FROM stheno_origin_marks WHERE node = ?1 AND history = ?2";
        return transaction.prepare_cached(sql)?.execute(params![sql_id(history.node), history.number]).map(drop);
    }
    // `REPLACE` would delete the row first.
    let sql = "INSERT INTO stheno_origin_marks (node, history, last_id) VALUES (?1, ?2, ?3) \
               ON CONFLICT (node, history) DO UPDATE SET last_id = excluded.last_id";
    transaction.prepare_cached(sql)?.execute(params![sql_id(history.node), history.number, id]).map(drop)
}

/// Replaces a mark without `ON CONFLICT`, because the index of an old file is not unique.
pub(super) fn put(transaction: &Transaction<'_>, node: NodeId, mark: SyncMark) -> Result<()> {
    keep_said(transaction, node, mark.history)?;
    let values = params![sql_id(node), mark.ctime, mark.last_id, mark.history, mark.newest];
    let update = "UPDATE gorgone_synchistory SET ctime = ?2, last_id = ?3, stheno_history = ?4, stheno_newest = ?5 \
                  WHERE id = ?1";
    if transaction.prepare_cached(update)?.execute(values)? == 0 {
        let insert = "INSERT INTO gorgone_synchistory (id, ctime, last_id, stheno_history, stheno_newest) \
                      VALUES (?1, ?2, ?3, ?4, ?5)";
        transaction.prepare_cached(insert)?.execute(values)?;
    }
    Ok(())
}

/// Deletes the mark of a node.
pub(super) fn delete(transaction: &Transaction<'_>, node: NodeId) -> Result<()> {
    keep_said(transaction, node, 0)?;
    transaction.prepare_cached("DELETE FROM gorgone_synchistory WHERE id = ?1")?.execute([sql_id(node)]).map(drop)
}

/// Keeps what the mark of a node says of a history, which is about to name another.
fn keep_said(transaction: &Transaction<'_>, node: NodeId, next_history: i64) -> Result<()> {
    let sql = "INSERT INTO stheno_origin_marks (node, history, last_id) \
               SELECT id, stheno_history, last_id FROM gorgone_synchistory \
               WHERE id = ?1 AND last_id IS NOT NULL AND stheno_history NOT IN (0, ?2) \
               ON CONFLICT (node, history) DO UPDATE SET last_id = max(last_id, excluded.last_id)";
    transaction.prepare_cached(sql)?.execute(params![sql_id(node), next_history]).map(drop)
}

/// Writes all that marks of nodes say into the table of histories, for an earlier version, which reads only that.
pub(super) fn write_said(connection: &Connection) -> Result<()> {
    let sql = "INSERT INTO stheno_origin_marks (node, history, last_id) \
               SELECT id, stheno_history, last_id FROM gorgone_synchistory \
               WHERE last_id IS NOT NULL AND stheno_history <> 0 \
               ON CONFLICT (node, history) DO UPDATE SET last_id = max(last_id, excluded.last_id)";
    connection.execute(sql, []).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{WALL, open};
    use super::*;
    use crate::edge::temp_dir::TempDir;

    #[test]
    fn the_mark_of_a_node_is_that_of_its_history_too() {
        let dir = TempDir::new();
        let path = dir.join("h.sdb");
        let (node, other) = (NodeId::new(3).unwrap(), NodeId::new(4).unwrap());
        let mark =
            |last_id, history| StoreChange::PutSyncMark(node, SyncMark { ctime: 1.0, newest: 1.0, last_id, history });
        let name = |node, number| HistoryName { node, number };
        let origin = |history, id| StoreChange::PutOriginMark(RowOrigin { history, id });
        let own_rows = "SELECT group_concat(node || ':' || history || ':' || last_id, ' ') FROM stheno_origin_marks";
        let rows = || -> Option<String> {
            Connection::open(&path).unwrap().query_row(own_rows, [], |row| row.get(0)).unwrap()
        };
        let known = || open(&path).load().unwrap().restored.origins.marks;
        let changes = [origin(name(node, 7), 20), origin(name(other, 9), 5), mark(20, 7)];
        open(&path).apply(&changes, WALL).unwrap();
        assert_eq!(rows().as_deref(), Some("4:9:5"));
        assert_eq!(known(), [(name(node, 7), 20), (name(other, 9), 5)]);
        // First rows arrive by another route, then the node has another database.
        open(&path).apply(&[origin(name(node, 7), 25)], WALL).unwrap();
        assert_eq!(known(), [(name(node, 7), 25), (name(other, 9), 5)]);
        open(&path).apply(&[origin(name(node, 8), 2), mark(2, 8)], WALL).unwrap();
        assert_eq!(known(), [(name(node, 7), 25), (name(node, 8), 2), (name(other, 9), 5)]);
        // Its ids begin again, and then it is forgotten.
        open(&path).apply(&[mark(0, 8)], WALL).unwrap();
        assert_eq!(known()[1], (name(node, 8), 0));
        open(&path).apply(&[origin(name(node, 8), 3), mark(3, 8), StoreChange::DeleteSyncMark(node)], WALL).unwrap();
        assert_eq!(known()[1], (name(node, 8), 3));
        // An earlier version reads only the table of histories.
        open(&path).apply(&[origin(name(node, 8), 6), mark(6, 8)], WALL).unwrap();
        open(&path).note_order().unwrap();
        assert_eq!(rows().as_deref(), Some("3:7:25 3:8:6 4:9:5"));
    }
}
