//! Texts that are stored by pieces, because a server takes only so much in one statement.

use super::lanes::STATEMENT_BYTES;
use super::session::{Session, Trouble};
use super::text::{Columns, quoted};

/// Cuts a text into pieces that a server takes.
pub(super) fn of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, behind) = rest.split_at(boundary(rest, STATEMENT_BYTES));
        rest = behind;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

/// The greatest number of bytes up to `most` after which a text can be cut.
fn boundary(text: &str, most: usize) -> usize {
    let most = most.min(text.len());
    (most.saturating_sub(3)..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// Reads a text.
pub(super) fn read(session: &mut Session, owner: &str) -> Result<String, Trouble> {
    let mut text = String::new();
    let sql = format!("SELECT data FROM stheno_pieces WHERE owner = {} ORDER BY piece", quoted(owner));
    session.each(&sql, |row| {
        text.push_str(&Columns::of(row).text().unwrap_or_default());
        true
    })?;
    Ok(text)
}
