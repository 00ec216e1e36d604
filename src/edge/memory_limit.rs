//! How much memory this process and its commands may use together, as their control groups say (cgroups(7)).

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups are mounted: memory of version 1, and version 2.
const FIRST: &str = "/sys/fs/cgroup/memory";
const SECOND: &str = "/sys/fs/cgroup";

/// The smallest limit in bytes of our groups; `None` if there is none, or the system does not say.
#[must_use]
pub fn bytes() -> Option<u64> {
    of_groups(&fs::read_to_string("/proc/self/cgroup").ok()?, |file| fs::read_to_string(file).ok())
}

/// `groups` has lines of `/proc/self/cgroup`: number, controllers, and path of the group.
fn of_groups(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let files = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        match controllers {
            "" => Some((PathBuf::from(SECOND).join(path), "memory.max")),
            named if named.split(',').any(|one| one == "memory") => {
                Some((PathBuf::from(FIRST).join(path), "memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    // The groups above limit it, too.
    let limits = files.flat_map(|(folder, name)| folder.ancestors().map(|at| at.join(name)).collect::<Vec<_>>());
    limits.filter_map(|file| read(&file)?.trim().parse::<u64>().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_of_the_group_and_of_those_above_counts() {
        let limit = |groups: &str, files: &[(&str, &str)]| {
            of_groups(groups, |file| {
                files.iter().find(|(name, _)| Path::new(name) == file).map(|(_, text)| (*text).to_owned())
            })
        };
        let second = [
            ("/sys/fs/cgroup/a/memory.max", "64000000\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/b/c/memory.max", "99000000\n"),
        ];
        assert_eq!(limit("0::/a/b/c\n", &second), Some(64_000_000));
        assert_eq!(limit("0::/a/b\n0::/", &second[1..2]), None);
        let first = [("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "12582912")];
        assert_eq!(limit("5:cpu,memory:/a\n0::/\n", &first), Some(12_582_912));
        assert_eq!(limit("5:cpu:/a\nodd", &first), None);
    }
}
