//! Thin safe wrappers around what only `libc` offers. The one place of `unsafe` in this program.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// A time of day in the machine's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Full year.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
}

/// Turns -1 into the error of the last call.
fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Local time of `seconds` since the epoch; `None` for a year that does not fit the C library.
#[must_use]
#[allow(deprecated, reason = "the type is right; with musl it is only announced that it will be another")]
pub fn local_time(seconds: i64) -> Option<LocalTime> {
    let seconds = libc::time_t::try_from(seconds).ok()?;
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; `localtime_r` fills `parts` or returns null. All-zero is a valid
    // `tm`.
    let parts = unsafe {
        if libc::localtime_r(&raw const seconds, parts.as_mut_ptr()).is_null() {
            return None;
        }
        parts.assume_init()
    };
    let small = |value: c_int| u8::try_from(value).ok();
    Some(LocalTime {
        year: i64::from(parts.tm_year) + 1900,
        month: small(parts.tm_mon)? + 1,
        day: small(parts.tm_mday)?,
        hour: small(parts.tm_hour)?,
        minute: small(parts.tm_min)?,
        second: small(parts.tm_sec)?,
    })
}

/// A set of signals.
fn signal_set(signals: &[c_int]) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `sigemptyset` initialises the set that the pointer leads to.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    // SAFETY: initialised by the call above.
    let mut set = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: `set` is an initialised set; an invalid number is reported as an error.
        check(unsafe { libc::sigaddset(&raw mut set, *signal) })?;
    }
    Ok(set)
}

/// Blocks signals for this thread and every thread that it starts later.
///
/// # Errors
/// An invalid signal number.
pub fn block_signals(signals: &[c_int]) -> io::Result<()> {
    let set = signal_set(signals)?;
    // SAFETY: `set` is initialised; a null old set is allowed.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

/// Lets the child that `command` starts begin with an empty signal mask, which the standard library would hand on, and
/// without the descriptors that we ourselves inherited. (`SIGPIPE` goes back to its default in the standard library.)
pub fn isolate_child(command: &mut Command) {
    let isolate = || {
        // SAFETY: no memory is involved: the call only marks descriptors from 3 on as close-on-exec. Kernels before
        // 5.11 refuse, and then only what we inherited ourselves is handed on.
        unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        let set = signal_set(&[])?;
        // SAFETY: `set` is initialised; a null old set is allowed.
        match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) } {
            0 => Ok(()),
            number => Err(io::Error::from_raw_os_error(number)),
        }
    };
    // SAFETY: between fork and exec the closure calls only `close_range`, `sigemptyset` and `pthread_sigmask`, which
    // are safe in signal context, and allocates nothing.
    unsafe { command.pre_exec(isolate) };
}

/// Ignores a signal for the whole process.
///
/// # Errors
/// An invalid signal number.
pub fn ignore_signal(signal: c_int) -> io::Result<()> {
    // SAFETY: `SIG_IGN` installs no handler of ours, so there is no code to be safe in signal context.
    if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A non-blocking file descriptor that reads blocked signals (`signalfd(2)`).
///
/// # Errors
/// No file descriptor is left, or a signal number is invalid.
pub fn signal_descriptor(signals: &[c_int]) -> io::Result<OwnedFd> {
    let set = signal_set(signals)?;
    // SAFETY: `set` is initialised; -1 asks for a new descriptor.
    let descriptor = check(unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
    // SAFETY: the kernel has just given us this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A non-blocking descriptor that tells of changes in directories (`inotify(7)`).
///
/// # Errors
/// The user has as many of them as the kernel allows, or no file descriptor is left.
pub fn watch_descriptor() -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let descriptor = check(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
    // SAFETY: the kernel has just given us this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Watches a directory for files that were written, put in place or removed. Watching it twice is watching it once.
///
/// # Errors
/// There is no such directory, or the user watches as many as the kernel allows.
pub fn watch_directory(watch: &impl AsFd, directory: &CStr) -> io::Result<()> {
    let mask = libc::IN_CLOSE_WRITE | libc::IN_MOVED_TO | libc::IN_DELETE | libc::IN_ONLYDIR;
    // SAFETY: the path is terminated and only read during the call; the descriptor is borrowed.
    check(unsafe { libc::inotify_add_watch(watch.as_fd().as_raw_fd(), directory.as_ptr(), mask) }).map(|_| ())
}

/// Sends a signal to the calling thread alone.
#[cfg(test)]
pub fn raise_in_this_thread(signal: c_int) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::raise(signal) }).map(|_| ())
}

/// Sends `SIGKILL` to the process group `leader`, which must be a child that is not reaped yet (else the number might
/// belong to somebody else). A group that is gone is no error.
///
/// # Errors
/// The group may not be signalled.
pub fn kill_group(leader: u32) -> io::Result<()> {
    let group = libc::pid_t::try_from(leader).map_err(io::Error::other)?;
    if group <= 1 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: no memory is involved.
    match check(unsafe { libc::kill(-group, libc::SIGKILL) }) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Takes an exclusive `flock(2)` without waiting; it lasts until the last copy of the descriptor is closed. False when
/// somebody else holds it.
///
/// # Errors
/// The file system knows no locks.
pub fn try_lock_exclusive(file: &impl AsFd) -> io::Result<bool> {
    // SAFETY: the descriptor is borrowed and stays open during the call.
    match check(unsafe { libc::flock(file.as_fd().as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a write of up to 4096 bytes would not block now.
#[must_use]
pub fn is_writable(file: &impl AsFd) -> bool {
    let mut poll = libc::pollfd { fd: file.as_fd().as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid entry, no waiting.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1 && poll.revents & (libc::POLLOUT | libc::POLLERR | libc::POLLHUP) != 0
}

/// Raises the soft limit of open files to the hard one and returns it.
///
/// # Errors
/// The kernel refuses.
pub fn raise_open_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the answer.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is initialised and only read.
        check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    }
    Ok(limit.rlim_cur)
}

/// Gives the free memory of the heap back to the system: what is kept of large blocks, and the rest where the C library
/// can.
pub fn release_free_memory() {
    super::large_blocks::release();
    // SAFETY: it touches only memory that the allocator holds as free.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Asks the system to begin writing a part of a file to the disk, without waiting; flushing it later takes less time.
#[cfg(target_os = "linux")]
pub fn begin_writing(file: &impl AsFd, offset: u64, len_bytes: u64) {
    let (Ok(offset), Ok(len)) = (libc::off64_t::try_from(offset), libc::off64_t::try_from(len_bytes)) else { return };
    // SAFETY: no memory is involved; the descriptor is borrowed. A file system that cannot do it does it at the flush.
    unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Bytes of a page of memory: 4, 16 or 64 KiB.
#[must_use]
pub fn page_bytes() -> u64 {
    // SAFETY: it only reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).ok().filter(|bytes| *bytes > 0).unwrap_or(4096)
}

/// Lets go of the pages of the program's own code and constants, of which a start touches most and an idle daemon
/// hardly any. What is needed again comes back from the file's pages in the system's cache, without a read from the
/// disk.
pub fn release_program_pages() {
    // SAFETY: the linker defines both: the first byte of the program in memory, and the first behind its code. Only
    // their addresses are taken.
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    let page = usize::try_from(page_bytes()).unwrap_or(1 << 16);
    let (start, end) = ((&raw const __executable_start).addr(), (&raw const etext).addr());
    let start = start.next_multiple_of(page);
    let length = end.saturating_sub(start) / page * page;
    // SAFETY: between the two symbols lie headers, constants and code of the program's file, mapped read-only and never
    // written to: pages that are dropped are mapped again from the file when they are touched. A range that is not
    // mapped is an error, no more.
    let _no_harm = unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), length, libc::MADV_DONTNEED) };
}

/// The machine's name; bytes that are not UTF-8 are replaced. `localhost` where there is none.
#[must_use]
pub fn hostname() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: the pointer and the length describe `name`; one byte is left so that the text stays terminated.
    let result = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let text = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if result != 0 || text.is_empty() { "localhost".to_owned() } else { String::from_utf8_lossy(text).into_owned() }
}

/// The number of a user; `None` when there is none of that name.
#[must_use]
pub fn user_id(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    look_up(|buffer| {
        let mut entry = MaybeUninit::<libc::passwd>::zeroed();
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are valid for the call, and the length is that of `buffer`.
        let result = unsafe {
            libc::getpwnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut found,
            )
        };
        // SAFETY: where `found` is set it leads to `entry`, which the call has filled.
        (result, (!found.is_null()).then(|| unsafe { entry.assume_init_ref().pw_uid }))
    })
}

/// The number of a group; `None` when there is none of that name.
#[must_use]
pub fn group_id(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    look_up(|buffer| {
        let mut entry = MaybeUninit::<libc::group>::zeroed();
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are valid for the call, and the length is that of `buffer`.
        let result = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut found,
            )
        };
        // SAFETY: where `found` is set it leads to `entry`, which the call has filled.
        (result, (!found.is_null()).then(|| unsafe { entry.assume_init_ref().gr_gid }))
    })
}

/// Calls a look-up with larger buffers until its answer fits; a group may have thousands of members.
fn look_up(call: impl Fn(&mut [u8]) -> (c_int, Option<u32>)) -> Option<u32> {
    let mut buffer = vec![0_u8; 4 << 10];
    loop {
        match call(&mut buffer) {
            (libc::ERANGE, _) if buffer.len() < 4 << 20 => buffer.resize(buffer.len() * 4, 0),
            (_, found) => return found,
        }
    }
}

/// Turns on TCP keep-alive: first probe after `idle` without traffic, then each `interval`, dead after `probes`.
///
/// # Errors
/// The descriptor is no TCP socket.
pub fn set_keepalive(socket: &impl AsFd, idle: Duration, interval: Duration, probes: u8) -> io::Result<()> {
    let seconds = |time: Duration| c_int::try_from(time.as_secs().max(1)).unwrap_or(c_int::MAX);
    set_option(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds(idle))?;
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, seconds(interval))?;
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, c_int::from(probes))
}

/// Sets one integer option of a socket.
fn set_option(socket: &impl AsFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<c_int>()).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length describe `value`, which the kernel only reads; the descriptor is borrowed.
    let result =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, (&raw const value).cast(), length) };
    check(result).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_of_a_known_second_is_that_day() {
        let time = local_time(1_769_860_800).unwrap();
        assert_eq!(time.year, 2026);
        assert!((30..=31).contains(&time.day) || time.day == 1, "{time:?}");
        assert!(local_time(i64::MAX).is_none());
    }

    #[test]
    fn the_open_file_limit_is_the_hard_one() {
        let limit = raise_open_file_limit().unwrap();
        assert!(limit >= 256, "{limit}");
        assert_eq!(raise_open_file_limit().unwrap(), limit);
    }

    #[test]
    fn the_machine_has_a_name() {
        assert!(!hostname().is_empty());
    }

    #[test]
    fn users_and_groups_are_found_by_name() {
        assert_eq!(user_id("root"), Some(0));
        assert_eq!(group_id("root"), Some(0));
        assert_eq!((user_id("no such user"), group_id("no such group")), (None, None));
    }

    #[test]
    fn groups_0_and_1_are_never_killed() {
        assert!(kill_group(0).is_err());
        assert!(kill_group(1).is_err());
    }
}
