//! Waits for descriptors in the recorder.
//!
//! A task that waits for descriptors stays at the entry of its call. The recorder has copies of the descriptors
//! (pidfd_getfd(2)) and asks the kernel which are ready. So what one task does makes another ready at once, and no task
//! must be started and stopped to find out.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::rc::Rc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::{TimeSpec, TimeVal};

use super::kernel::fds::{FdKind, Fds, nonblocking};
use super::step::Flow;
use super::tree::call::{Call, Stage};
use super::tree::descriptor_watch::DescriptorWatch;
use super::tree::task::Hold;
use super::tree::tasks::Tasks;
use crate::error::Error;
use crate::task::TaskId;
use crate::tracee::{Fd, FdCopies, os};

/// A copy of a descriptor, and the events that are waited for (poll(2)).
#[derive(Debug)]
pub(in crate::record) struct Copy {
    fd: OwnedFd,
    /// The descriptor's number in the program.
    of: i32,
    events: i16,
}

/// What has been found out about a descriptor.
#[derive(Debug)]
struct Look {
    task: TaskId,
    fd: u64,
    kind: FdKind,
    /// Whether it refers to a file in /proc.
    of_proc: bool,
    /// What it is shown to contain, if it has the quota of processor time.
    quota: Option<&'static str>,
    /// `None` if it cannot be copied.
    copy: Option<File>,
}

/// The descriptors that tasks wait for.
#[derive(Debug)]
pub(in crate::record) struct Poller {
    pub(in crate::record) fds: Rc<Fds>,
    /// Inodes of the program's socket pairs, each with that of its peer.
    pub(in crate::record) pairs: BTreeMap<u64, u64>,
    /// The program has made timerfds.
    pub(in crate::record) timerfds: bool,
    copies: FdCopies,
    /// Polls all copies, with task numbers as data. Created on first use.
    epoll: Option<Epoll>,
    tasks: HashMap<TaskId, Vec<Copy>>,
    /// The descriptor last inspected for the call of the task that has the core.
    look: Option<Look>,
    /// The program has made signalfds, which show everybody only their own signals (signalfd(2)).
    signals: bool,
}

impl Poller {
    /// Starts without any waiting task.
    pub(in crate::record) fn new(fds: Rc<Fds>) -> Self {
        Self {
            fds,
            pairs: BTreeMap::new(),
            timerfds: false,
            copies: FdCopies::default(),
            epoll: None,
            tasks: HashMap::new(),
            look: None,
            signals: false,
        }
    }

    /// Whether a task waits for descriptors.
    pub(in crate::record) fn has(&self, id: TaskId) -> bool {
        self.tasks.contains_key(&id)
    }

    /// Copies a descriptor of a process. The copy must not be kept.
    pub(in crate::record) fn copy(&mut self, pid: nix::unistd::Pid, fd: i32) -> Option<OwnedFd> {
        self.copies.of(pid, fd)
    }

    /// Iterates over the descriptors that a task waits for.
    pub(in crate::record) fn descriptors(&self, id: TaskId) -> impl Iterator<Item = i32> {
        self.tasks.get(&id).into_iter().flatten().map(|copy| copy.of)
    }

    /// Whether no task waits for descriptors.
    pub(in crate::record) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Forgets the inspected descriptor, as a call is over or about to be made: descriptors may have changed. A copy
    /// must not outlive the call, or it would keep open what the program closes.
    pub(in crate::record) fn look_again(&mut self) {
        self.look = None;
    }

    fn add(&mut self, id: TaskId, copies: Vec<Copy>) -> nix::Result<()> {
        let epoll = match &mut self.epoll {
            Some(epoll) => epoll,
            none => none.insert(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?),
        };
        // poll(2) and epoll(7) have the same bits.
        let event =
            |copy: &Copy| EpollEvent::new(EpollFlags::from_bits_retain(copy.events.into()), id.0.into());
        let added = copies.iter().try_for_each(|copy| epoll.add(&copy.fd, event(copy)));
        self.tasks.insert(id, copies);
        added.inspect_err(|_| {
            self.remove(id);
        })
    }

    /// Stops a task's wait. Returns whether it did wait.
    pub(in crate::record) fn remove(&mut self, id: TaskId) -> bool {
        let Some(copies) = self.tasks.remove(&id) else { return false };
        // Closing the copies would not suffice, as the program still has the originals.
        for copy in &copies {
            let _ = self.epoll.as_ref().map(|epoll| epoll.delete(&copy.fd));
        }
        true
    }

    /// Returns tasks that have a descriptor that is ready.
    fn ready(&self) -> Result<Vec<TaskId>, Error> {
        let mut events = [EpollEvent::empty(); 64];
        let Some(epoll) = self.epoll.as_ref().filter(|_| !self.is_empty()) else { return Ok(Vec::new()) };
        let count = match epoll.wait(&mut events, PollTimeout::ZERO) {
            Err(nix::errno::Errno::EINTR) => 0,
            count => count.map_err(|errno| os("wait for descriptors")(errno.into()))?,
        };
        Ok(events[..count].iter().map(|event| TaskId(event.data() as u32)).collect())
    }

    /// Waits until something is ready or a signal comes, at most for `longest`.
    pub(in crate::record) fn wait(&self, longest: Duration) {
        match &self.epoll {
            Some(epoll) if !self.is_empty() => {
                let mut all = [PollFd::new(epoll.0.as_fd(), PollFlags::POLLIN)];
                // The result does not matter: the caller looks again.
                let _ = ppoll(&mut all, Some(TimeSpec::from_duration(longest)), None);
            }
            _ => std::thread::sleep(longest),
        }
    }
}

impl Poller {
    /// Classifies a descriptor of a task.
    pub(in crate::record) fn kind(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> FdKind {
        self.look(tasks, id, fd).kind
    }

    /// Whether a descriptor of a task refers to a file in /proc.
    pub(in crate::record) fn is_of_proc(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> bool {
        self.look(tasks, id, fd).of_proc
    }

    /// Returns what the file of a descriptor is shown to contain, if it has the quota of processor time.
    pub(in crate::record) fn quota(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> Option<&'static str> {
        self.look(tasks, id, fd).quota
    }

    /// Returns a copy of a descriptor of a task, if it can be copied.
    pub(in crate::record) fn descriptor(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> Option<&File> {
        self.look(tasks, id, fd).copy.as_ref()
    }

    /// Returns the metadata of the file to which a descriptor of a task refers.
    pub(in crate::record) fn metadata(
        &mut self,
        tasks: &Tasks,
        id: TaskId,
        fd: u64,
    ) -> std::io::Result<std::fs::Metadata> {
        match self.descriptor(tasks, id, fd) {
            Some(copy) => copy.metadata(),
            None => Fd::argument(tasks[id].tid, fd).metadata(),
        }
    }

    /// Whether a call on a descriptor may block: it refers to something that is not always ready, and `O_NONBLOCK` is
    /// not set.
    pub(in crate::record) fn is_waited_on(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> bool {
        let tid = tasks[id].tid;
        let look = self.look(tasks, id, fd);
        look.kind == FdKind::Waitable
            && !look.copy.as_ref().map_or_else(|| nonblocking(tid, fd), is_nonblocking)
    }

    /// Whether a call that has found its descriptor ready writes so little that there is room for it.
    pub(in crate::record) fn has_room(&mut self, tasks: &Tasks, id: TaskId, call: &Call) -> bool {
        /// The size that pipes accept as a whole, and that fits one buffer of a Unix socket.
        const LITTLE: u64 = libc::PIPE_BUF as u64;
        let [fd, _, len, ..] = call.args();
        let plain = matches!(call.number() as i64, libc::SYS_write | libc::SYS_sendto);
        let little = plain && len <= LITTLE && call.stage == Stage::Ready;
        little && self.look(tasks, id, fd).copy.as_ref().is_some_and(takes_whole)
    }

    /// Inspects a descriptor, unless the last result is for it.
    fn look(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> &Look {
        let known = self.look.take().filter(|look| (look.task, look.fd) == (id, fd));
        let look = known.unwrap_or_else(|| {
            let (pid, tid) = (tasks[id].pid, tasks[id].tid);
            let copy = self.copies.of(pid, fd as i32).map(File::from);
            let metadata = copy.as_ref().and_then(|copy| copy.metadata().ok());
            let metadata = metadata.map_or_else(|| Fd::argument(tid, fd).metadata(), Ok);
            let kind = match &metadata {
                Ok(metadata) => self.fds.kind_of(metadata),
                Err(error) => FdKind::unreadable(error),
            };
            let metadata = metadata.ok();
            let of_proc = metadata.as_ref().is_some_and(|metadata| self.fds.is_of_proc(metadata));
            let quota = metadata.as_ref().and_then(|metadata| self.fds.quota(metadata));
            Look { task: id, fd, kind, of_proc, quota, copy }
        });
        self.look.insert(look)
    }

    /// Copies the descriptors that a call waits for. Returns `None` if the task must wait by itself.
    pub(in crate::record) fn copies(
        &mut self,
        tasks: &Tasks,
        id: TaskId,
        watch: &DescriptorWatch,
    ) -> Option<Vec<Copy>> {
        /// With more descriptors it is too expensive to copy them each time.
        const MOST: usize = 64;
        let pid = tasks[id].pid;
        let watched = watch.descriptors().filter(|(fd, _)| *fd >= 0);
        if watch.has_mask() || watched.clone().count() > MOST {
            return None;
        }
        let signals = self.signals;
        let watches = self;
        let copy = |(of, events)| {
            let known =
                watches.look.take_if(|look| look.task == id && look.fd as i32 == of && look.copy.is_some());
            let fd = match known.and_then(|look| look.copy) {
                Some(copy) => copy.into(),
                None => watches.copies.of(pid, of)?,
            };
            (!signals || is_of_bytes(&fd)).then_some(Copy { fd, of, events })
        };
        watched.map(copy).collect()
    }

    /// Lets a task wait at the entry of its call until one of these is ready. Returns false if epoll does not accept
    /// them.
    pub(in crate::record) fn watch_descriptors(&mut self, id: TaskId, copies: Vec<Copy>) -> bool {
        self.add(id, copies).is_ok()
    }

    /// Lets the tasks look again whose descriptors are ready now.
    pub(in crate::record) fn poll_watches(&mut self, tasks: &mut Tasks) -> Flow<()> {
        loop {
            let ready = self.ready()?;
            if ready.is_empty() {
                return Ok(());
            }
            for id in ready {
                self.stop_watching(tasks, id, Stage::Due);
            }
        }
    }

    /// Ends a task's wait for descriptors. Returns whether it did wait.
    pub(in crate::record) fn stop_watching(&mut self, tasks: &mut Tasks, id: TaskId, stage: Stage) -> bool {
        if !self.remove(id) {
            return false;
        }
        tasks.deadlines.remove(id);
        if let Hold::Waiting(stopped, call) = tasks.release(id) {
            tasks.hold(id, Hold::Calling(stopped, Call { stage, ..call }));
            tasks.woken = true;
        }
        true
    }

    /// Notes a call that changes what is known of descriptors.
    pub(in crate::record) fn note_watches(&mut self, tasks: &Tasks, id: TaskId, call: &Call) {
        let [a, _, c, ..] = call.args();
        let apart = match call.number() as i64 {
            libc::SYS_unshare => a & libc::CLONE_FILES as u64 != 0,
            libc::SYS_close_range => c & u64::from(libc::CLOSE_RANGE_UNSHARE) != 0,
            libc::SYS_signalfd | libc::SYS_signalfd4 => {
                self.signals = true;
                false
            }
            _ => false,
        };
        if apart {
            self.part_descriptors(tasks, id);
        }
    }

    /// Notes that the tasks of a process no longer share their descriptors.
    pub(in crate::record) fn part_descriptors(&mut self, tasks: &Tasks, id: TaskId) {
        let pid = tasks[id].pid;
        self.copies.refuse(pid);
    }

    /// Drops what is needed to copy a process's descriptors.
    pub(in crate::record) fn forget_copies(&mut self, pid: nix::unistd::Pid) {
        self.copies.forget(pid);
    }

    /// Notes a socketpair(2) that a task has made.
    pub(in crate::record) fn note_pair(&mut self, tasks: &mut Tasks, id: TaskId, call: &Call) {
        let (tid, space) = (tasks.task(id).tid, tasks.space(id));
        let [one, other] = [0, 4].map(|at| {
            let fd = space.memory.u32(call.args()[3] + at).ok()?;
            Fd::argument(tid, fd.into()).metadata().ok().map(|socket| socket.ino())
        });
        if let (Some(one), Some(other)) = (one, other) {
            self.pairs.extend([(one, other), (other, one)]);
        }
    }
}

/// Whether any of these is ready.
pub(in crate::record) fn are_ready(copies: &[Copy]) -> bool {
    let flags = |copy: &Copy| PollFlags::from_bits_retain(copy.events);
    let mut all: Vec<PollFd<'_>> =
        copies.iter().map(|copy| PollFd::new(copy.fd.as_fd(), flags(copy))).collect();
    poll(&mut all, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Returns a socket's time limit for blocking calls (socket(7), `SO_RCVTIMEO` and `SO_SNDTIMEO`). What is no socket has
/// none.
pub(in crate::record) fn socket_limit(copies: &[Copy], option: i32) -> Option<Duration> {
    use nix::sys::socket::{getsockopt, sockopt};
    let [copy] = copies else { return None };
    let limit: nix::Result<TimeVal> = if option == libc::SO_RCVTIMEO {
        getsockopt(&copy.fd, sockopt::ReceiveTimeout)
    } else {
        getsockopt(&copy.fd, sockopt::SendTimeout)
    };
    let limit = limit.ok()?;
    let microseconds =
        u64::try_from(limit.tv_sec()).ok()? * 1_000_000 + u64::try_from(limit.tv_usec()).ok()?;
    (microseconds > 0).then(|| Duration::from_micros(microseconds))
}

/// Whether something that is ready for writing accepts a small write as a whole: a pipe, or a local stream.
fn takes_whole(copy: &File) -> bool {
    use nix::sys::socket::{
        AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
    };
    let Ok(kind) = copy.metadata().map(|metadata| metadata.file_type()) else { return false };
    if !kind.is_socket() {
        return kind.is_fifo();
    }
    getsockopt(copy, sockopt::SockType) == Ok(SockType::Stream)
        && getsockname::<SockaddrStorage>(copy.as_raw_fd())
            .is_ok_and(|name| name.family() == Some(AddressFamily::Unix))
}

fn is_nonblocking(file: &File) -> bool {
    // SAFETY: F_GETFL takes no argument.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) & libc::O_NONBLOCK != 0 }
}

/// Whether a descriptor refers to a pipe, a socket or a device, as opposed to an anonymous inode.
fn is_of_bytes(fd: &OwnedFd) -> bool {
    let kind = fd.try_clone().and_then(|fd| File::from(fd).metadata()).map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket() || kind.is_char_device())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::record::testing::{call, tasks, wait};
    use crate::tracee::{Stdin, Streams};

    const A: TaskId = TaskId(0);

    fn poller() -> Poller {
        Poller::new(Rc::new(Fds::new(Streams::new(Stdin::Null).unwrap()).unwrap()))
    }

    fn pipe(events: i16) -> (Copy, std::io::PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        (Copy { fd: reader.into(), of: 3, events }, writer)
    }

    #[test]
    fn a_task_is_due_once_what_it_waits_for_is_ready() {
        let (mut poller, mut tasks) = (poller(), tasks(2));
        let (copy, mut writer) = pipe(libc::POLLIN);
        wait(&mut tasks, A, call(libc::SYS_read, [3, 0, 1, 0, 0, 0]));
        tasks.deadlines.insert(A, 5);
        assert!(poller.watch_descriptors(A, vec![copy]));
        assert!(poller.poll_watches(&mut tasks).is_ok() && poller.has(A) && tasks.runnable() == [TaskId(1)]);
        writer.write_all(b"x").unwrap();
        assert!(poller.poll_watches(&mut tasks).is_ok() && !poller.has(A) && poller.is_empty());
        let Hold::Calling(_, call) = tasks[A].hold() else { panic!("{:?}", tasks[A].hold()) };
        assert_eq!((call.stage, tasks.woken, tasks.deadlines.contains(A)), (Stage::Due, true, false));
    }

    #[test]
    fn a_wait_that_was_stopped_is_not_polled_any_more() {
        let (mut poller, mut tasks) = (poller(), tasks(1));
        let (copy, mut writer) = pipe(libc::POLLIN);
        let _original = copy.fd.try_clone().unwrap();
        wait(&mut tasks, A, call(libc::SYS_read, [3, 0, 1, 0, 0, 0]));
        assert!(poller.watch_descriptors(A, vec![copy]));
        assert!(poller.stop_watching(&mut tasks, A, Stage::TimedOut));
        assert!(!poller.stop_watching(&mut tasks, A, Stage::TimedOut), "it no longer waits");
        writer.write_all(b"x").unwrap();
        assert!(poller.poll_watches(&mut tasks).is_ok());
        assert_eq!(tasks.task(A).call_mut().map(|call| call.stage), Some(Stage::TimedOut));
    }

    #[test]
    fn what_epoll_does_not_take_is_not_waited_for() {
        let mut poller = poller();
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let file = Copy { fd: file.into(), of: 4, events: libc::POLLIN };
        let (copy, _writer) = pipe(libc::POLLIN);
        assert!(!poller.watch_descriptors(A, vec![copy, file]) && poller.is_empty());
    }

    #[test]
    fn one_ready_descriptor_suffices() {
        let (one, _open) = pipe(libc::POLLIN);
        let (other, mut writer) = pipe(libc::POLLIN);
        let both = [one, other];
        assert!(!are_ready(&both) && !are_ready(&[]));
        writer.write_all(b"x").unwrap();
        assert!(are_ready(&both));
    }

    #[test]
    fn only_sockets_have_a_limit_and_only_if_it_is_set() {
        let (copy, _writer) = pipe(libc::POLLIN);
        assert_eq!(socket_limit(&[copy], libc::SO_RCVTIMEO), None);
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let limit = Some(Duration::from_millis(1500));
        socket.set_read_timeout(limit).unwrap();
        let copy = [Copy { fd: socket.into(), of: 3, events: libc::POLLIN }];
        assert_eq!(socket_limit(&copy, libc::SO_RCVTIMEO), limit);
        assert_eq!(socket_limit(&copy, libc::SO_SNDTIMEO), None);
    }

    #[test]
    fn what_takes_a_small_write_as_a_whole_is_a_pipe_or_a_local_stream() {
        use std::os::unix::net::{UnixDatagram, UnixStream};
        let file = |fd: OwnedFd| File::from(fd);
        assert!(takes_whole(&file(std::io::pipe().unwrap().1.into())));
        assert!(takes_whole(&file(UnixStream::pair().unwrap().0.into())));
        assert!(!takes_whole(&file(UnixDatagram::unbound().unwrap().into())));
        assert!(!takes_whole(&File::open("/dev/null").unwrap()));
    }
}
