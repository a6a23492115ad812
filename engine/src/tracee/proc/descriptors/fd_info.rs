//! What the kernel tells about a descriptor in `/proc/PID/fdinfo` (proc_pid_fdinfo(5)).

use std::io;
use std::time::Duration;

use super::fd::Fd;
use super::locks::FileLock;

/// What there is about a descriptor: what is not known, or is of no such kind, is left out.
#[derive(Clone, Debug)]
pub struct FdInfo(String);

/// What a timerfd is set to (timerfd_create(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Time until it expires; zero if it is not set.
    pub left: Duration,
    /// Time between later expirations; zero if there are none.
    pub interval: Duration,
}

impl FdInfo {
    pub(super) fn of(Fd { tid, number }: Fd) -> io::Result<Self> {
        std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{number}")).map(Self)
    }

    /// Returns its access mode and status flags (open(2)).
    #[must_use]
    pub fn flags(&self) -> Option<i32> {
        i32::from_str_radix(self.field("flags:")?, 8).ok()
    }

    /// Returns its offset in the file.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.field("pos:")?.parse().ok()
    }

    /// Returns the number of the file's mount (proc_pid_mountinfo(5)).
    #[must_use]
    pub fn mount(&self) -> Option<u64> {
        self.field("mnt_id:")?.parse().ok()
    }

    /// Returns the file's inode.
    #[must_use]
    pub fn inode(&self) -> Option<u64> {
        self.field("ino:")?.parse().ok()
    }

    /// Returns the process to which a pidfd refers (pidfd_open(2)).
    #[must_use]
    pub fn process(&self) -> Option<i32> {
        self.field("Pid:")?.parse().ok()
    }

    /// Returns the number of the pseudo-terminal of which it is the master (drivers/tty/pty.c).
    #[must_use]
    pub fn terminal(&self) -> Option<u32> {
        self.field("tty-index:")?.parse().ok()
    }

    /// Returns what a timerfd is set to.
    #[must_use]
    pub fn timer(&self) -> Option<Timer> {
        Some(Timer { left: time(self.field("it_value:")?)?, interval: time(self.field("it_interval:")?)? })
    }

    /// Returns the clock of a timerfd.
    #[must_use]
    pub fn clock(&self) -> Option<i32> {
        self.field("clockid:")?.parse().ok()
    }

    /// Returns the descriptors that an epoll descriptor watches; -1 for one that cannot be read.
    pub fn watched_descriptors(&self) -> impl Iterator<Item = i32> {
        self.lines("tfd:")
            .map(|rest| rest.split_whitespace().next().and_then(|fd| fd.parse().ok()).unwrap_or(-1))
    }

    /// Returns the inodes that an inotify(7) descriptor watches; 0 for one that cannot be read.
    pub fn watched_inodes(&self) -> impl Iterator<Item = u64> {
        let inode = |word: &str| u64::from_str_radix(word.strip_prefix("ino:")?, 16).ok();
        self.lines("inotify ").map(move |line| line.split_whitespace().find_map(inode).unwrap_or(0))
    }

    /// Returns the locks that its open file description has.
    pub fn locks(&self) -> impl Iterator<Item = FileLock> {
        self.lines("lock:").filter_map(FileLock::parse)
    }

    fn field(&self, key: &str) -> Option<&str> {
        self.lines(key).next().map(str::trim)
    }

    /// Returns the rests of the lines that begin with `key`.
    fn lines(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.lines().filter_map(move |line| line.strip_prefix(key))
    }
}

/// Parses `(SECONDS, NANOSECONDS)`.
fn time(text: &str) -> Option<Duration> {
    let (seconds, nanoseconds) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    let nanoseconds = nanoseconds.trim().parse().ok().filter(|part| *part < 1_000_000_000)?;
    Some(Duration::new(seconds.trim().parse().ok()?, nanoseconds))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use nix::unistd::Pid;

    use super::*;

    fn info(text: &str) -> FdInfo {
        FdInfo(text.to_owned())
    }

    #[test]
    fn fields_are_read() {
        let file = info("pos:\t27\nflags:\t04002\nmnt_id:\t31\nino:\t4711\n");
        assert_eq!(file.flags(), Some(libc::O_RDWR | libc::O_NONBLOCK));
        assert_eq!((file.offset(), file.mount(), file.inode()), (Some(27), Some(31), Some(4711)));
        assert_eq!((file.process(), file.terminal(), file.timer()), (None, None, None));
        assert_eq!(info("pos:\t0\nPid:\t12\nNSpid:\t12\n").process(), Some(12));
        assert_eq!(info("pos:\t0\ntty-index:\t3\n").terminal(), Some(3));
        assert_eq!((info("").flags(), info("flags:\tx\n").flags()), (None, None));
    }

    #[test]
    fn times_of_timers_are_read() {
        let set =
            info("pos:\t0\nclockid: 1\nticks: 0\nsettime flags: 01\nit_value: (3, 7)\nit_interval: (0, 5)\n");
        let timer = Timer { left: Duration::new(3, 7), interval: Duration::new(0, 5) };
        assert_eq!((set.timer(), set.clock()), (Some(timer), Some(1)));
        assert_eq!(info("it_value: (3, 7)\nit_interval: (0, 5000000000)\n").timer(), None);
    }

    #[test]
    fn what_is_watched_is_read() {
        let epoll = info(
            "pos:\t0\nflags:\t02\ntfd:        5 events: 80000019 data: 0  pos:0 ino:61af sdev:7\ntfd: x\n",
        );
        assert_eq!(epoll.watched_descriptors().collect::<Vec<_>>(), [5, -1]);
        let inotify =
            info("pos:\t0\ninotify wd:1 ino:8b0 sdev:fe00000 mask:fc6 ignored_mask:0 fhandle-bytes:8\n");
        assert_eq!(inotify.watched_inodes().collect::<Vec<_>>(), [0x8b0]);
        assert_eq!(inotify.watched_descriptors().count() + epoll.watched_inodes().count(), 0);
    }

    #[test]
    fn a_descriptor_tells_what_it_is_open_for() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mode =
            |fd: i32| Fd::of(Pid::this(), fd).info().unwrap().flags().map(|flags| flags & libc::O_ACCMODE);
        assert_eq!(mode(reader.as_raw_fd()), Some(libc::O_RDONLY));
        assert_eq!(mode(writer.as_raw_fd()), Some(libc::O_WRONLY));
        assert_eq!(Fd::of(Pid::this(), 1 << 20).info().unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }
}
