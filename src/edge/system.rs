//! Calls of the system and the C library that belong nowhere else, each behind a safe function.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs;
use rustix::fs::inotify::{self, WatchFlags};
use rustix::io::Errno;
use rustix::process;

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

/// Turns -1 into the last system error.
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

/// Whether a time service sets the clock, by what the kernel was told (adjtimex(2)); `None` if it may not be asked.
#[must_use]
pub fn clock_is_synchronised() -> Option<bool> {
    let mut state = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: all-zero is a valid `timex` that only asks; the pointer is valid for the call, which fills it.
    match unsafe { libc::adjtimex(state.as_mut_ptr()) } {
        -1 => None,
        state => Some(state != libc::TIME_ERROR),
    }
}

/// Clears the signal mask of this thread and of threads that it starts later: our parent may have left signals blocked.
///
/// # Errors
/// None is known.
pub fn unblock_signals() -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `sigemptyset` initialises the set that the pointer leads to.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    // SAFETY: `set` is initialised by the call above; a null old set is allowed.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut()) } {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

/// Prevents commands from inheriting the descriptors that we inherited. Kernels before 5.11 cannot do that.
pub fn keep_inherited_descriptors() {
    // SAFETY: no memory is involved: the call only marks descriptors from 3 on as close-on-exec.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// A non-blocking descriptor that tells of changes in directories (`inotify(7)`).
///
/// # Errors
/// The user has reached the kernel's limit of them, or no file descriptor is left.
pub fn watch_descriptor() -> io::Result<OwnedFd> {
    Ok(inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?)
}

/// Watches a directory for files that are written, put in place or removed. Watching it twice has no further effect.
///
/// # Errors
/// There is no such directory, or the user has reached the kernel's limit of watches.
pub fn watch_directory(watch: &impl AsFd, directory: &Path) -> io::Result<()> {
    let wanted = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::ONLYDIR;
    watch_path(watch, directory, wanted)
}

/// Watches a file for the `wanted` events.
///
/// # Errors
/// There is no such file, or the file system does not support it.
pub fn watch_path(watch: &impl AsFd, path: &Path, wanted: WatchFlags) -> io::Result<()> {
    inotify::add_watch(watch, path, wanted)?;
    Ok(())
}

/// Whether somebody has a file open for writing: a lease for reading is only given where nobody has. `None` where the
/// system does not tell, because the file belongs to another user or its file system has no leases.
#[cfg(feature = "centreon")]
#[must_use]
pub fn has_writer(file: &std::fs::File) -> Option<bool> {
    /// `fcntl(2)`: which signal tells of a lease; the crate `libc` does not have it.
    const F_SETSIG: c_int = 10;
    let descriptor = file.as_raw_fd();
    // Who opens the file while the lease is held makes the kernel send this signal instead of SIGIO, which would end
    // the process; it is ignored unless somebody asks for it.
    // SAFETY: the descriptor is open, and the commands take a number.
    let result = unsafe {
        if libc::fcntl(descriptor, F_SETSIG, libc::SIGURG) == -1 {
            return None;
        }
        let taken = libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_RDLCK);
        let error = io::Error::last_os_error();
        if taken != -1 {
            libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK);
        }
        check(taken).map_err(|_| error)
    };
    match result {
        Ok(_) => Some(false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(true),
        Err(_) => None,
    }
}

/// Takes an exclusive `flock(2)` without waiting; `false` if somebody else holds it. It lasts until the last copy of
/// the descriptor is closed.
///
/// # Errors
/// The file system has no locks.
pub fn try_lock_exclusive(file: &impl AsFd) -> io::Result<bool> {
    match fs::flock(file, fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a write of up to 4096 bytes would not block now.
#[must_use]
pub fn is_writable(file: &impl AsFd) -> bool {
    let mut file = [PollFd::new(file, PollFlags::OUT)];
    poll(&mut file, Some(&Timespec::default())) == Ok(1)
}

/// Raises the soft limit of open files to the hard limit and returns it.
///
/// # Errors
/// The kernel refuses.
pub fn raise_open_file_limit() -> io::Result<u64> {
    let mut limit = process::getrlimit(process::Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        process::setrlimit(process::Resource::Nofile, limit)?;
    }
    Ok(limit.current.unwrap_or(u64::MAX))
}

/// Keeps the memory of this process out of core files and debuggers of the same user, because it holds keys and
/// passwords.
///
/// # Errors
/// None is known.
pub fn forbid_dumps() -> io::Result<()> {
    Ok(process::set_dumpable_behavior(process::DumpableBehavior::NotDumpable)?)
}

/// Tells the scheduler that this thread calculates and nobody waits for it: when it wakes up, it interrupts no other.
pub fn schedule_in_batches() {
    // The only member of `sched_param` that the kernel reads. musl has no function of its own for the call.
    let priority: libc::c_int = 0;
    // SAFETY: the number lives through the call, and 0 means the calling thread. A refusal changes nothing.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_BATCH, &raw const priority) };
}

/// Has glibc keep up to 8 MiB of freed memory, and blocks below 4 MiB in its heap, until [`release_free_memory`]. Left
/// to itself it gives back the blocks of each chunk of a copy and faults their pages in again: a third of the work.
pub fn keep_freed_memory() {
    // SAFETY: it sets two numbers of the allocator, before other threads are started.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, 8 << 20);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 4 << 20);
    }
}

/// Returns free memory of the heap to the system: kept large blocks, and the rest if the C library can.
pub fn release_free_memory() {
    super::large_blocks::release();
    // SAFETY: it touches only memory that the allocator holds as free.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Asks the system to start writing a part of a file to disk without waiting, so that a later flush takes less time.
#[cfg(target_os = "linux")]
pub fn begin_writing(file: &impl AsFd, offset: u64, len_bytes: u64) {
    let (Ok(offset), Ok(len)) = (libc::off64_t::try_from(offset), libc::off64_t::try_from(len_bytes)) else { return };
    // SAFETY: no memory is involved; the descriptor is borrowed. A file system that cannot do it does it at the flush.
    unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Size of a page of memory in bytes: 4, 16 or 64 KiB.
#[must_use]
pub fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// Releases the pages of the program's code and constants. A start touches most of them and an idle daemon few. Pages
/// that are needed again come from the system's file cache without a read from disk.
pub fn release_program_pages() {
    // SAFETY: the linker defines both: the first byte of the program in memory, and the first behind its code. Only
    // their addresses are taken.
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    let page = rustix::param::page_size();
    let (start, end) = ((&raw const __executable_start).addr(), (&raw const etext).addr());
    let start = start.next_multiple_of(page);
    let length = end.saturating_sub(start) / page * page;
    // SAFETY: between the two symbols lie headers, constants and code of the program's file, mapped read-only and never
    // written to: pages that are dropped are mapped again from the file when they are touched. A range that is not
    // mapped is an error, no more.
    let _no_harm = unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), length, libc::MADV_DONTNEED) };
}

/// The machine's name, or `localhost` if it has none. Invalid UTF-8 is replaced.
#[must_use]
pub fn hostname() -> String {
    let machine = rustix::system::uname();
    let name = machine.nodename().to_string_lossy();
    if name.is_empty() { "localhost".to_owned() } else { name.into_owned() }
}

/// The id of a user; `None` if there is no user of that name.
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

/// The name of the user of this process, or its id if it has no name.
#[cfg(feature = "ssh")]
#[must_use]
pub fn own_user_name() -> String {
    let mut entry = MaybeUninit::<libc::passwd>::zeroed();
    let mut found = std::ptr::null_mut();
    let mut text = [0_u8; 4096];
    let user = rustix::process::geteuid().as_raw();
    // SAFETY: all pointers are valid for the call and the length is that of `text`; the name points into `text` and is
    // copied before that goes.
    unsafe {
        let result = libc::getpwuid_r(user, entry.as_mut_ptr(), text.as_mut_ptr().cast(), text.len(), &raw mut found);
        if result != 0 || found.is_null() {
            return user.to_string();
        }
        std::ffi::CStr::from_ptr((*found).pw_name).to_string_lossy().into_owned()
    }
}

/// The id of a group; `None` if there is no group of that name.
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

/// Calls a look-up with growing buffers until its answer fits: a group may have thousands of members.
fn look_up(call: impl Fn(&mut [u8]) -> (c_int, Option<u32>)) -> Option<u32> {
    let mut buffer = vec![0_u8; 4 << 10];
    loop {
        match call(&mut buffer) {
            (libc::ERANGE, _) if buffer.len() < 4 << 20 => buffer.resize(buffer.len() * 4, 0),
            (_, found) => return found,
        }
    }
}

/// Turns on TCP keep-alive: the first probe after `idle` without traffic, then one each `interval`; dead after
/// `probes`.
///
/// # Errors
/// The descriptor is not a TCP socket.
pub fn set_keepalive(socket: &impl AsFd, idle: Duration, interval: Duration, probes: u8) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, idle)?;
    sockopt::set_tcp_keepintvl(socket, interval)?;
    Ok(sockopt::set_tcp_keepcnt(socket, u32::from(probes))?)
}

/// Makes a new name of a file outlive a power cut: synchronises its directory, and the one above, which may be new.
///
/// # Errors
/// The directory cannot be read or synchronised. A file system that does not know how is no error.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let sync = |folder: &Path| match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    };
    sync(folder)?;
    // It may be closed to us, and is older then.
    folder.parent().map_or(Ok(()), |above| sync(above).or(Ok(())))
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
}
