//! Paths with the wildcards `*` and `?`, which work as in glob(3): they match within a path component and never a
//! leading dot.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Maximum number of directories read for one pattern.
const PLACES_MAX: usize = 1_000;

/// Whether `text` contains wildcards.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Returns the regular files that match `pattern`, relative to `directory`, sorted by name, at most `limit` of them.
///
/// # Errors
/// The directory that cannot be read, and the reason. A missing directory is no error; it counts as empty.
pub(super) fn expand(directory: &Path, pattern: &str, limit: usize) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut found = places(directory, pattern, limit)?;
    found.retain(|path| path.is_file());
    Ok(found)
}

/// Whether a file named `name` in `directory` would match `pattern`.
pub(super) fn would_name(pattern: &Path, directory: &Path, name: &OsStr) -> bool {
    let (Some(place), Some(last)) = (pattern.parent(), pattern.file_name()) else { return false };
    matches(last.as_encoded_bytes(), name.as_encoded_bytes())
        && places(Path::new(""), &place.to_string_lossy(), PLACES_MAX)
            .is_ok_and(|places| places.iter().any(|place| place.canonicalize().is_ok_and(|place| place == directory)))
}

fn places(directory: &Path, pattern: &str, limit: usize) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut found = vec![directory.to_path_buf()];
    for component in Path::new(pattern).components() {
        let name = match component {
            Component::Normal(name) => name.to_string_lossy(),
            other => {
                found.iter_mut().for_each(|path| path.push(other));
                continue;
            }
        };
        if is_pattern(&name) {
            let mut matching = Vec::new();
            for directory in &found {
                matching.extend(entries(directory, &name)?);
                matching.truncate(limit);
            }
            found = matching;
        } else {
            found.iter_mut().for_each(|path| path.push(name.as_ref()));
        }
    }
    Ok(found)
}

fn entries(directory: &Path, pattern: &str) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let place = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let listing = match fs::read_dir(place) {
        Ok(listing) => listing,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err((place.to_path_buf(), error)),
    };
    let mut found = Vec::new();
    for entry in listing {
        let name = entry.map_err(|error| (place.to_path_buf(), error))?.file_name();
        if matches(pattern.as_bytes(), name.as_encoded_bytes()) {
            found.push(directory.join(name));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether `name` matches `pattern`. It backtracks only to the last `*`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut at_pattern, mut at_name) = (0_usize, 0_usize);
    // After a mismatch, the last star matches one more byte.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(at_name) {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                star = Some((at_pattern, at_name));
                at_pattern = at_pattern.saturating_add(1);
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                at_pattern = at_pattern.saturating_add(1);
                at_name = at_name.saturating_add(1);
            }
            _ => match star {
                Some((pattern_position, name_position)) => {
                    star = Some((pattern_position, name_position.saturating_add(1)));
                    at_pattern = pattern_position.saturating_add(1);
                    at_name = name_position.saturating_add(1);
                }
                None => return false,
            },
        }
    }
    pattern.get(at_pattern..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_a_shell_does() {
        for (pattern, name, expected) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", ".hidden.yaml", false),
            (".*.yaml", ".hidden.yaml", true),
            ("*.yaml", "a.yaml~", false),
            ("*.yaml", "a.yml", false),
            ("?.yaml", "ab.yaml", false),
            ("??.yaml", "ab.yaml", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxbxxa", false),
            ("*", "", true),
            ("a", "", false),
            ("[a].yaml", "a.yaml", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
