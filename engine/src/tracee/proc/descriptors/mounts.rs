//! Mounted file systems (proc_pid_mountinfo(5)).

use nix::unistd::Pid;

/// Returns the major and the minor device number of the file system at a mount of a task.
#[must_use]
pub fn mounted_device(tid: Pid, mount: u64) -> Option<(u32, u32)> {
    find(&std::fs::read_to_string(format!("/proc/{tid}/mountinfo")).ok()?, mount)
}

fn find(mounts: &str, mount: u64) -> Option<(u32, u32)> {
    mounts.lines().find_map(|line| {
        // mount ID, parent ID, major:minor …
        let mut words = line.split_whitespace();
        if words.next()?.parse() != Ok(mount) {
            return None;
        }
        let (major, minor) = words.nth(1)?.split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_mounts_are_read() {
        let mounts = "21 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n31 21 0:27 / /tmp rw - tmpfs tmpfs rw\n";
        assert_eq!([21, 31, 1].map(|mount| find(mounts, mount)), [Some((254, 0)), Some((0, 27)), None]);
    }

    #[test]
    fn a_file_s_mount_is_found() {
        use super::super::Fd;
        use std::os::fd::AsRawFd;
        let file = std::fs::File::open("/proc/self/mountinfo").unwrap();
        let own = Pid::this();
        let mount = Fd::of(own, file.as_raw_fd()).info().unwrap().mount().unwrap();
        let device = std::os::unix::fs::MetadataExt::dev(&file.metadata().unwrap());
        assert_eq!(mounted_device(own, mount), Some((libc::major(device), libc::minor(device))));
    }
}
