//! Texts that are stored by pieces, because a server takes only so much in one statement.

use super::session::{Session, Trouble};
use super::text::{Columns, quoted};

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
