//! A database server as one end of a move to or from a file.

use std::time::{Duration, Instant};

use super::lanes::STATEMENT_BYTES;
use super::lease::{self, MOVING};
use super::session::{Session, Trouble};
use super::text::{Columns, Literal, put_tuple, quoted};
use super::{pieces, schema};
use crate::config::database::HistoryServer;
use crate::edge::history_store::CommitClock;
use crate::edge::moving_tables::{Cell, Kind, MovedState, MovedTable, Tables};
use crate::model::time::WallTime;

/// Time limit for each step.
const STEP: Duration = Duration::from_secs(60);

/// A history whose daemon does not run.
pub struct ServerTables {
    server: HistoryServer,
    session: Session,
}

impl ServerTables {
    /// Connects, and completes the schema.
    ///
    /// # Errors
    /// A daemon writes to it, or it is unusable.
    pub fn open(server: &HistoryServer) -> Result<Self, String> {
        let open = || {
            let mut session = Session::open(server, Instant::now() + STEP)?;
            session.allow(STEP);
            schema::complete(&mut session, true)?;
            let (holder, ..) = lease::holder(&mut session, "")?;
            if holder.left_ms > 0 {
                let text = format!("the daemon '{}' writes to it: stop it first", holder.member);
                return Err(Trouble::schema(text));
            }
            Ok(session)
        };
        let session = open().map_err(|trouble| trouble.into_error(server).to_string())?;
        Ok(Self { server: server.clone(), session })
    }

    fn with<T>(&mut self, ask: impl FnOnce(&mut Session) -> Result<T, Trouble>) -> Result<T, String> {
        self.session.allow(STEP);
        ask(&mut self.session).map_err(|trouble| trouble.into_error(&self.server).to_string())
    }

    fn number(&mut self, sql: &str) -> Result<i64, String> {
        let row = self.with(|session| session.rows(sql))?.pop();
        Ok(row.and_then(|row| Columns::of(row).number()).unwrap_or(0))
    }
}

/// Names of the columns that are read and written: those of the table, and how many pieces a text has.
fn names(table: &MovedTable) -> String {
    let names: Vec<String> = table.columns.iter().map(|(name, _)| format!("`{name}`")).collect();
    let pieces = if has_number(table) { ", stheno_pieces" } else { "" };
    format!("{}{pieces}", names.join(", "))
}

/// Whether the table says how many pieces a text has; orders have NULL in place of the text.
fn has_number(table: &MovedTable) -> bool {
    table.pieces.is_some() && table.name != "stheno_orders"
}

fn owner(table: &MovedTable, row: &[Cell]) -> Option<(String, usize)> {
    let (prefix, key, text) = table.pieces?;
    Some((format!("{prefix}{}", row.get(key)?.text()?), text))
}

fn cell(row: &mut Columns, kind: Kind) -> Cell {
    match kind {
        Kind::Text | Kind::Node => row.text().map_or(Cell::Null, Cell::Text),
        Kind::Number => row.number().map_or(Cell::Null, Cell::Number),
        Kind::Real => row.real().map_or(Cell::Null, Cell::Real),
    }
}

/// Adds the statements for one row: those of its pieces, and its values.
fn put_row(table: &MovedTable, row: &[Cell], parts: &mut Vec<String>, values: &mut String) {
    let large = owner(table, row)
        .filter(|(_, text)| matches!(row.get(*text), Some(Cell::Text(text)) if text.len() > STATEMENT_BYTES));
    let mut number = 0_i64;
    if let Some((owner, text)) = &large
        && let Some(Cell::Text(text)) = row.get(*text)
    {
        for piece in pieces::of(text) {
            let item = [owner.as_str().into(), number.into(), piece.into()];
            let mut sql = "REPLACE INTO stheno_pieces (owner, piece, data) VALUES ".to_owned();
            put_tuple(&mut sql, &item);
            parts.push(sql);
            number += 1;
        }
    }
    let without = if has_number(table) { Literal::Text("") } else { Literal::Null };
    let mut items: Vec<Literal<'_>> = Vec::with_capacity(row.len() + 1);
    let nulls_are_zero = table.name != "gorgone_history";
    for (index, (cell, (_, kind))) in row.iter().zip(table.columns).enumerate() {
        let is_large = large.as_ref().is_some_and(|(_, text)| *text == index);
        items.push(match (cell, kind) {
            _ if is_large => match without {
                Literal::Text(text) => Literal::Text(text),
                _ => Literal::Null,
            },
            (Cell::Null, Kind::Number | Kind::Real) if nulls_are_zero || *kind == Kind::Real => Literal::Number(0),
            (Cell::Null, _) => Literal::Null,
            (Cell::Text(text), Kind::Node) => text.trim().parse().map_or(Literal::Null, Literal::Id),
            (Cell::Text(text), _) => Literal::Text(text),
            (Cell::Number(number), _) => Literal::Number(*number),
            (Cell::Real(number), _) => Literal::Real(*number),
        });
    }
    if table.name == "stheno_order_file" {
        items.insert(0, Literal::Number(1));
    }
    if has_number(table) {
        items.push(number.into());
    }
    put_tuple(values, &items);
}

impl Tables for ServerTables {
    fn state(&mut self) -> Result<MovedState, String> {
        let history = self.number("SELECT history FROM stheno_store WHERE id = 1")?;
        Ok(MovedState { history, queue_clock: self.number("SELECT queue_clock FROM stheno_store WHERE id = 1")? })
    }

    fn count(&mut self, table: &MovedTable) -> Result<i64, String> {
        self.number(&format!("SELECT COUNT(*) FROM {}", table.name))
    }

    fn last_row(&mut self) -> Result<i64, String> {
        self.number("SELECT MAX(id) FROM gorgone_history")
    }

    fn rows(&mut self, table: &MovedTable, behind: i64, limit: usize) -> Result<Vec<Vec<Cell>>, String> {
        let names = names(table);
        let sql = if table.name == "gorgone_history" {
            format!("SELECT {names} FROM gorgone_history WHERE id > {behind} ORDER BY id LIMIT {limit}")
        } else {
            let key: Vec<String> = table.columns.iter().take(table.key).map(|(name, _)| format!("`{name}`")).collect();
            format!("SELECT {names} FROM {} ORDER BY {} LIMIT {limit} OFFSET {behind}", table.name, key.join(", "))
        };
        self.with(|session| {
            let (mut found, mut in_pieces) = (Vec::new(), Vec::new());
            session.each(&sql, |row| {
                let mut row = Columns::of(row);
                let cells: Vec<Cell> = table.columns.iter().map(|(_, kind)| cell(&mut row, *kind)).collect();
                let number = if has_number(table) { row.number().unwrap_or(0) } else { 0 };
                if let Some((owner, text)) = owner(table, &cells)
                    && (number > 0 || (!has_number(table) && cells.get(text) == Some(&Cell::Null)))
                {
                    in_pieces.push((found.len(), owner, text));
                }
                found.push(cells);
                true
            })?;
            for (index, owner, text) in in_pieces {
                let whole = Cell::Text(pieces::read(session, &owner)?);
                if let Some(cell) = found.get_mut(index).and_then(|row| row.get_mut(text)) {
                    *cell = whole;
                }
            }
            Ok(found)
        })
    }

    fn put(&mut self, table: &MovedTable, rows: &[Vec<Cell>]) -> Result<(), String> {
        let id = if table.name == "stheno_order_file" { "id, " } else { "" };
        let head = format!("REPLACE INTO {} ({id}{}) VALUES ", table.name, names(table));
        self.with(|session| {
            session.run("START TRANSACTION")?;
            let (mut values, mut parts) = (String::new(), Vec::new());
            for (index, row) in rows.iter().enumerate() {
                if !values.is_empty() {
                    values.push(',');
                }
                put_row(table, row, &mut parts, &mut values);
                for part in parts.drain(..) {
                    session.run(&part)?;
                }
                if values.len() >= STATEMENT_BYTES || index + 1 == rows.len() {
                    session.run(&format!("{head}{values}"))?;
                    values.clear();
                }
            }
            session.run("COMMIT")
        })
    }

    fn begin(&mut self, state: MovedState) -> Result<(), String> {
        let MovedState { history, queue_clock } = state;
        let rows = self.number("SELECT COUNT(*) FROM gorgone_history LIMIT 1")?;
        let is_unfinished = self.with(|session| lease::holder(session, ""))?.0.cluster == MOVING;
        let own = self.number("SELECT history FROM stheno_store WHERE id = 1")?;
        if rows > 0 && !is_unfinished {
            return Err(format!("database {} has a history already: name an empty one", self.server));
        }
        if rows > 0 && own != history {
            return Err(format!("database {} has part of another history: empty it first", self.server));
        }
        let moving = quoted(MOVING);
        self.with(|session| {
            session.run(&format!(
                "UPDATE stheno_store SET history = {history}, queue_clock = {queue_clock}, cluster = {moving}, \
                 member = '', lease_until = 0, epoch = epoch + 1 WHERE id = 1"
            ))
        })
    }

    fn end(&mut self) -> Result<(), String> {
        let newest = self.with(|session| session.rows("SELECT MAX(ctime) FROM gorgone_history WHERE ctime < 1e12"))?;
        let newest = newest.into_iter().next().and_then(|row| Columns::of(row).real()).unwrap_or(0.0);
        let micros = WallTime::from_micros((newest * 1e6).ceil() as i64);
        let mut clock = CommitClock::at_ticks(0);
        clock.next(micros);
        let ticks = clock.ticks().saturating_add(1);
        self.with(|session| {
            session.run(&format!(
                "UPDATE stheno_store SET cluster = '', epoch = 0, ticks = {ticks}, \
                 last_row = (SELECT COALESCE(MAX(id), 0) FROM gorgone_history) WHERE id = 1"
            ))
        })
    }
}
