//! Writes a commit into the write-ahead log with one call, instead of two for each page.
//!
//! SQLite hands a commit to its VFS in pieces: for each page a header of 24 bytes, then the page. The VFS of this
//! module is that of the system, except for write-ahead logs: pieces that follow each other are gathered, and go to
//! the file with the page that completes the commit. The bytes in the file and their order are the same.
// A VFS is a table of functions that SQLite calls (https://sqlite.org/vfs.html).
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use rusqlite::ffi::{
    self, SQLITE_IOERR, SQLITE_OK, SQLITE_OPEN_WAL, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs,
};

/// Name of the VFS.
const NAME: &CStr = c"stheno";
/// More bytes than this are not gathered; a large commit takes some calls more.
const GATHERED_MAX_BYTES: usize = 64 << 10;
/// Sizes in bytes of the header of the log, and of that of each frame.
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// Returns the name of the VFS for the connection that writes; `None` if it cannot be had, and SQLite's own does.
pub(super) fn vfs() -> Option<&'static CStr> {
    static IS_REGISTERED: OnceLock<bool> = OnceLock::new();
    IS_REGISTERED.get_or_init(register).then_some(NAME)
}

fn register() -> bool {
    // SAFETY: a null name asks for the default VFS, which lives as long as the process. Ours is a copy of it that is
    // never freed, and knows the original by `pAppData`; its other functions do not use that member.
    unsafe {
        let system = ffi::sqlite3_vfs_find(std::ptr::null());
        let Some(known) = system.as_ref() else { return false };
        let ours = Box::leak(Box::new(sqlite3_vfs {
            szOsFile: known.szOsFile.saturating_add(c_int::try_from(SYSTEM_AT).unwrap_or(c_int::MAX)),
            pNext: std::ptr::null_mut(),
            zName: NAME.as_ptr(),
            pAppData: system.cast(),
            xOpen: Some(open),
            ..*known
        }));
        ffi::sqlite3_vfs_register(ours, 0) == SQLITE_OK
    }
}

/// A write-ahead log as SQLite sees it. Its memory comes from SQLite; the file of the system follows at [`SYSTEM_AT`].
#[repr(C)]
struct LogFile {
    seen_by_sqlite: sqlite3_file,
    gathered: *mut Gathered,
}

const SYSTEM_AT: usize = size_of::<LogFile>().next_multiple_of(16);

/// Bytes that are not in the file yet.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    /// Where they begin.
    offset: i64,
    /// Greatest offset behind anything written since the log began anew. Only what is appended there is gathered.
    end: i64,
    /// Whether the page that comes next completes a commit.
    is_last_page: bool,
}

impl Gathered {
    /// Notes a piece. Returns whether it is gathered; otherwise it is to be written now.
    fn takes(&mut self, piece: &[u8], offset: i64) -> bool {
        let is_append = offset == self.end;
        let end = offset.saturating_add(i64::try_from(piece.len()).unwrap_or(i64::MAX));
        let begins_anew = offset == 0 && piece.len() == LOG_HEADER;
        self.end = if begins_anew { end } else { self.end.max(end) };
        if !is_append || begins_anew || self.bytes.len().saturating_add(piece.len()) > GATHERED_MAX_BYTES {
            return false;
        }
        if self.bytes.is_empty() {
            self.offset = offset;
        }
        self.bytes.extend_from_slice(piece);
        true
    }

    /// Returns whether the piece completes a commit: the header before it has the size of the database.
    fn completes_commit(&mut self, piece: &[u8]) -> bool {
        let has_size = |header: &[u8]| header.get(4..8).is_some_and(|size| size != [0; 4]);
        std::mem::replace(&mut self.is_last_page, piece.len() == FRAME_HEADER && has_size(piece))
    }
}

static LOG_METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: `vfs` is ours, whose `pAppData` is the system's; `file` has the memory that `szOsFile` asks for.
    unsafe {
        let system = (*vfs).pAppData.cast::<sqlite3_vfs>();
        let Some(open) = (*system).xOpen else { return ffi::SQLITE_CANTOPEN };
        if flags & SQLITE_OPEN_WAL == 0 {
            return open(system, name, file, flags, flags_out);
        }
        let (log, inner) = (file.cast::<LogFile>(), inner(file));
        (*inner).pMethods = std::ptr::null();
        (*log).seen_by_sqlite.pMethods = std::ptr::null();
        let result = open(system, name, inner, flags, flags_out);
        if !(*inner).pMethods.is_null() {
            (*log).gathered = Box::into_raw(Box::default());
            (*log).seen_by_sqlite.pMethods = &raw const LOG_METHODS;
        }
        result
    }
}

/// The file of the system within a file of ours.
fn inner(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: the memory of `file` goes on behind `SYSTEM_AT` with the file of the system.
    unsafe { file.byte_add(SYSTEM_AT) }
}

/// Calls a method of the file of the system.
macro_rules! system {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        let inner = inner($file);
        match (*(*inner).pMethods).$method {
            Some(method) => method(inner $(, $argument)*),
            None => SQLITE_IOERR,
        }
    }};
}

/// Writes what was gathered.
fn flush(file: *mut sqlite3_file) -> c_int {
    // SAFETY: `file` was opened by `open`, and SQLite uses it from one thread at a time.
    unsafe {
        let gathered = &mut *(*file.cast::<LogFile>()).gathered;
        if gathered.bytes.is_empty() {
            return SQLITE_OK;
        }
        let bytes = std::mem::take(&mut gathered.bytes);
        let len = c_int::try_from(bytes.len()).unwrap_or(c_int::MAX);
        let result = system!(file, xWrite, bytes.as_ptr().cast(), len, gathered.offset);
        if result != SQLITE_OK {
            // SQLite gives the commit up, and the next one begins here.
            gathered.end = gathered.offset;
        }
        result
    }
}

extern "C" fn write(file: *mut sqlite3_file, piece: *const c_void, len: c_int, offset: sqlite3_int64) -> c_int {
    // SAFETY: SQLite hands `len` readable bytes; for the rest see `flush`.
    unsafe {
        let bytes = std::slice::from_raw_parts(piece.cast::<u8>(), usize::try_from(len).unwrap_or(0));
        let gathered = &mut *(*file.cast::<LogFile>()).gathered;
        let is_full = gathered.bytes.len().saturating_add(bytes.len()) > GATHERED_MAX_BYTES;
        if is_full || offset != gathered.end {
            let result = flush(file);
            if result != SQLITE_OK {
                return result;
            }
        }
        let gathered = &mut *(*file.cast::<LogFile>()).gathered;
        let is_complete = gathered.completes_commit(bytes);
        if !gathered.takes(bytes, offset) {
            return system!(file, xWrite, piece, len, offset);
        }
        if is_complete { flush(file) } else { SQLITE_OK }
    }
}

/// A method that is the system's, after everything gathered is in the file.
macro_rules! after_flush {
    ($name:ident, $method:ident $(, $argument:ident: $kind:ty)*) => {
        extern "C" fn $name(file: *mut sqlite3_file $(, $argument: $kind)*) -> c_int {
            // SAFETY: see `flush`; the arguments are SQLite's and passed on.
            unsafe {
                match flush(file) {
                    SQLITE_OK => system!(file, $method $(, $argument)*),
                    error => error,
                }
            }
        }
    };
}

/// A method that is the system's.
macro_rules! passed_on {
    ($name:ident, $method:ident $(, $argument:ident: $kind:ty)*) => {
        extern "C" fn $name(file: *mut sqlite3_file $(, $argument: $kind)*) -> c_int {
            // SAFETY: `file` was opened by `open`; the arguments are SQLite's and passed on.
            unsafe { system!(file, $method $(, $argument)*) }
        }
    };
}

after_flush!(read, xRead, buffer: *mut c_void, len: c_int, offset: sqlite3_int64);
after_flush!(truncate, xTruncate, len: sqlite3_int64);
after_flush!(sync, xSync, flags: c_int);
after_flush!(file_size, xFileSize, len: *mut sqlite3_int64);
passed_on!(lock, xLock, kind: c_int);
passed_on!(unlock, xUnlock, kind: c_int);
passed_on!(check_reserved_lock, xCheckReservedLock, is_locked: *mut c_int);
passed_on!(file_control, xFileControl, what: c_int, argument: *mut c_void);
passed_on!(sector_size, xSectorSize);
passed_on!(device_characteristics, xDeviceCharacteristics);

extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: see `flush`. SQLite does not use the file after this; `gathered` came from a box in `open`.
    unsafe {
        let flushed = flush(file);
        let closed = system!(file, xClose);
        drop(Box::from_raw((*file.cast::<LogFile>()).gathered));
        if flushed == SQLITE_OK { closed } else { flushed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(size: u8) -> Vec<u8> {
        let mut header = vec![0; FRAME_HEADER];
        header[7] = size;
        header
    }

    #[test]
    fn what_is_appended_is_gathered_until_the_commit_is_complete_and_what_is_rewritten_is_not() {
        let mut log = Gathered::default();
        assert!(!log.takes(&[0; LOG_HEADER], 0), "a new log begins in the file");
        let page = [7; 1_024];
        for (number, size) in [(0, 0), (1, 9)] {
            let at = 32 + number * 1_048;
            assert!(!log.completes_commit(&header(size)) && log.takes(&header(size), at));
            assert_eq!(log.completes_commit(&page), size > 0);
            assert!(log.takes(&page, at + 24));
        }
        assert_eq!((log.offset, log.bytes.len()), (32, 2 * 1_048));
        log.bytes.clear();
        assert!(!log.takes(&page, 56), "a page that was written before");
        assert!(!log.takes(&header(9), 1_080), "a checksum of one");
        assert!(log.takes(&header(0), 32 + 2 * 1_048), "the next commit");
        log.bytes.clear();
        assert!(!log.takes(&[0; LOG_HEADER], 0), "the log begins anew");
        assert!(log.takes(&header(0), 32));
    }
}
