//! Control groups (cgroups(7)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Returns the directories of the control groups that limit this process's use of processors (the controller `cpu`, and
/// version 2, which has one hierarchy for all): its own and those above it, as far as they are mounted here.
#[must_use]
pub fn processor_groups() -> Vec<PathBuf> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let hierarchies = find(&read("cgroup"), &read("mountinfo"));
    let all = hierarchies
        .iter()
        .flat_map(|(mounted, below)| below.ancestors().map(|dir| mounted.join(dir)).collect::<Vec<_>>());
    all.collect()
}

/// Returns where each such hierarchy is mounted, and the path of the process's group below that.
fn find(groups: &str, mounts: &str) -> Vec<(PathBuf, PathBuf)> {
    let own = |mount: &Mount| {
        groups.lines().find_map(|line| {
            // NUMBER:CONTROLLERS:PATH, version 2 without controllers.
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let has = if mount.is_unified { controllers.is_empty() } else { limits(controllers) };
            has.then(|| path.to_owned())
        })
    };
    let found = mounts.lines().filter_map(Mount::parse).filter_map(|mount| {
        let path = own(&mount)?;
        // A mount shows its root and what is below. In a container the process's group may be the root.
        let below = Path::new(&path).strip_prefix(&mount.root).unwrap_or(Path::new("")).to_owned();
        Some((mount.point, below))
    });
    found.collect()
}

/// Whether one of several controllers limits the use of processors.
fn limits(controllers: &str) -> bool {
    controllers.split(',').any(|controller| controller == "cpu")
}

/// A mounted hierarchy (proc_pid_mountinfo(5)).
struct Mount {
    root: PathBuf,
    point: PathBuf,
    /// Version 2.
    is_unified: bool,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        // … ROOT POINT OPTIONS TAGS… - TYPE SOURCE OPTIONS
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        let (kind, options) = (system.next()?, system.nth(1)?);
        let is_unified = match kind {
            "cgroup2" => true,
            "cgroup" if limits(options) => false,
            _ => return None,
        };
        let mut mount = mount.split(' ').skip(3);
        Some(Self { root: unescape(mount.next()?), point: unescape(mount.next()?), is_unified })
    }
}

/// Reads a path in which the kernel has written blanks and backslashes as `\` and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let octal = behind.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &behind[3..] } else { behind };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(groups: &str, mounts: &str) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
        find(groups, mounts).into_iter().map(|(mounted, below)| (text(mounted), text(below))).collect()
    }

    fn pair(mounted: &str, below: &str) -> (String, String) {
        (mounted.to_owned(), below.to_owned())
    }

    #[test]
    fn groups_are_found_where_their_hierarchy_is_mounted() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(found("0::/a.slice/b\n", mounts), [pair("/sys/fs/cgroup", "a.slice/b")]);
        assert_eq!(found("0::/\n", mounts), [pair("/sys/fs/cgroup", "")]);
        assert_eq!(found("", mounts), []);
    }

    #[test]
    fn version_1_has_a_hierarchy_for_each_controller() {
        let groups = "5:cpuset:/\n4:cpu,cpuacct:/docker/7f\n3:memory:/docker/7f\n0::/\n";
        let mounts = "40 39 0:32 /docker/7f /sys/fs/cgroup/cpu\\040x ro master:9 - cgroup cgroup rw,cpu,cpuacct\n\
             41 39 0:33 / /sys/fs/cgroup/cpuset ro - cgroup cgroup rw,cpuset\n\
             42 1 254:0 / / rw - ext4 /dev/vda rw\n";
        assert_eq!(found(groups, mounts), [pair("/sys/fs/cgroup/cpu x", "")]);
    }

    #[test]
    fn a_group_that_the_mount_does_not_show_is_its_root() {
        let mounts = "30 24 0:26 /other /sys/fs/cgroup rw - cgroup2 none rw\n";
        assert_eq!(found("0::/docker/7f\n", mounts), [pair("/sys/fs/cgroup", "")]);
    }

    #[test]
    fn lines_that_are_cut_off_are_no_mounts() {
        for line in
            ["", "30 24 0:26 / /sys", "30 24 0:26 - cgroup2", "30 - cgroup2 none rw", " - cgroup rw cpu"]
        {
            assert!(found("0::/\n1:cpu:/\n", line).is_empty(), "{line}");
        }
        assert_eq!(unescape("a\\9\\"), Path::new("a\\9\\"));
    }
}
