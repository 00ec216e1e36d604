//! The memory use of this process as counted by the kernel.

use std::fs::File;
use std::io::Read as _;

use super::system;

/// Number of bytes of resident pages that are neither file-backed nor shared; `None` if the kernel does not say.
#[must_use]
pub fn anonymous_bytes() -> Option<u64> {
    let mut text = [0_u8; 128];
    let length = File::open("/proc/self/statm").ok()?.read(&mut text).ok()?;
    Some(parse(std::str::from_utf8(text.get(..length)?).ok()?)?.saturating_mul(system::page_bytes()))
}

/// Number of open descriptors; `None` if the kernel does not say.
#[cfg(feature = "status")]
#[must_use]
pub fn open_descriptors() -> Option<u64> {
    // One of them is that of the folder being read.
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u64::try_from(open).ok()
}

/// The number of pages from `size resident shared …`.
fn parse(text: &str) -> Option<u64> {
    let mut pages = text.split_ascii_whitespace().skip(1).map(|word| word.parse::<u64>().ok());
    let (resident, shared) = (pages.next()??, pages.next()??);
    Some(resident.saturating_sub(shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_of_files_do_not_count() {
        assert_eq!(parse("1000 300 200 50 0 90 0\n"), Some(100));
        assert_eq!(parse("1000 three 200"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn what_is_allocated_and_written_to_is_counted() {
        let before = anonymous_bytes().unwrap();
        let block = vec![1_u8; 64 << 20];
        let after = anonymous_bytes().unwrap();
        assert!(after >= before + (48 << 20), "{before} {after}");
        drop(block);
    }
}
