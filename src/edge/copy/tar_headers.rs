//! Extended headers of tar entries, and the owners of entries. Lengths are limited before anything is read.

use std::io::{self, Read};

use tar::Entry;

use super::text::words;

/// Maximum length of a long name or of extended headers in bytes.
const EXTENSION_BYTES_MAX: u64 = 64 << 10;

/// The content of the extended headers before an entry.
#[derive(Default)]
pub(super) struct Extensions {
    pub name: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
}

/// The last name that was looked up and its id. The entries of an archive have few owners.
#[derive(Default)]
pub(super) struct LookedUp {
    name: String,
    id: Option<u32>,
}

impl LookedUp {
    /// The id for a name if this machine knows it, else the number.
    pub(super) fn id(
        &mut self,
        name: Result<Option<&str>, std::str::Utf8Error>,
        number: io::Result<u64>,
        look_up: fn(&str) -> Option<u32>,
    ) -> Option<u32> {
        let name = name.ok().flatten().unwrap_or_default();
        if name != self.name {
            *self = Self { name: name.to_owned(), id: look_up(name) };
        }
        let number = || number.ok().and_then(|number| u32::try_from(number).ok());
        // All ones would mean "unchanged".
        self.id.or_else(number).filter(|id| *id != u32::MAX)
    }
}

/// The content of an entry that describes the next one.
pub(super) fn long_text(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    entry
        .take(EXTENSION_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("the archive cannot be read: {}", words(&error)))?;
    if text.len() as u64 > EXTENSION_BYTES_MAX {
        return Err(format!("the archive has a name or header of more than {EXTENSION_BYTES_MAX} bytes"));
    }
    if text.last() == Some(&0) {
        text.pop();
    }
    Ok(text)
}

/// Reads extended headers: lines `LENGTH KEY=VALUE`.
pub(super) fn read_pax(text: &[u8], extensions: &mut Extensions) {
    let mut rest = text;
    while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
        let length = rest.get(..space).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
        let Some(length) = length.filter(|length| *length > space + 1) else { return };
        let Some((record, after)) = rest.split_at_checked(length) else { return };
        let record = record.get(space + 1..).unwrap_or_default();
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(equals) = record.iter().position(|byte| *byte == b'=') {
            let (key, value) = record.split_at(equals);
            let value = value.get(1..).unwrap_or_default();
            match key {
                b"path" => extensions.name = Some(value.to_vec()),
                b"linkpath" => extensions.link = Some(value.to_vec()),
                b"size" => extensions.size = std::str::from_utf8(value).ok().and_then(|size| size.parse().ok()),
                _ => {}
            }
        }
        rest = after;
    }
}
