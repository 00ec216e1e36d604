//! Whether `/tmp` and `/var/tmp` are private to this service (`PrivateTmp=` of systemd), so that nobody else sees files
//! there.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// The private directory that contains `path`, if there is one.
#[must_use]
pub fn hiding(path: &Path) -> Option<&'static str> {
    static PRIVATE: OnceLock<Vec<&'static str>> = OnceLock::new();
    let private = PRIVATE.get_or_init(|| parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()));
    private.iter().copied().find(|directory| path.starts_with(directory))
}

/// Those of the two directories on which systemd has mounted a folder, from proc_pid_mountinfo(5): the fourth word of a
/// line is the mounted folder, the fifth the mount point.
fn parse(mountinfo: &str) -> Vec<&'static str> {
    let is_private = |directory: &str| {
        mountinfo.lines().any(|line| {
            let mut words = line.split(' ').skip(3);
            let (root, place) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            place == directory && root.contains("/systemd-private-")
        })
    };
    ["/tmp", "/var/tmp"].into_iter().filter(|directory| is_private(directory)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_systemd_that_is_mounted_there_hides_what_is_below() {
        let own = "36 35 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                   90 36 8:1 /tmp/systemd-private-1c2d-stheno.service-Ab3x/tmp /tmp rw - ext4 /dev/sda1 rw\n";
        assert_eq!(parse(own), ["/tmp"]);
        assert!(parse("90 36 0:40 / /tmp rw - tmpfs tmpfs rw\n").is_empty(), "a /tmp in memory is everybody's");
        assert!(parse("").is_empty());
    }
}
