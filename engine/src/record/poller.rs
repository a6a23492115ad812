//! Waiting for descriptors in the recorder.
//!
//! A task that waits for descriptors stays where it is, at the entry of its call. The recorder has copies of the
//! descriptors and asks the kernel which are ready: what one task does makes another ready at once, and no task need be
//! started and stopped to find out.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::{TimeSpec, TimeVal};

use super::kernel::call_in_progress::inode;
use super::kernel::fds::{Fds, Kind, nonblocking};
use super::step::Flow;
use super::tree::call::{Call, Stage};
use super::tree::tasks::{Hold, Tasks};
use crate::error::Error;
use crate::task::TaskId;
use crate::tracee::{Copies, os};

/// What a call waits for.
pub(in crate::record) struct Watch {
    /// As poll(2) takes them.
    pub(in crate::record) fds: Vec<u8>,
    pub(in crate::record) count: u64,
    /// A timespec in bytes; none waits for ever.
    pub(in crate::record) timeout: Option<[u8; 16]>,
    /// The socket option that may say so as well.
    pub(in crate::record) socket_limit: Option<i32>,
    /// The address and size of the set of signals that it blocks meanwhile; null for those of the task.
    pub(in crate::record) mask: (u64, u64),
}

impl Watch {
    /// The descriptors, and what of each is waited for.
    pub(in crate::record) fn descriptors(&self) -> impl Iterator<Item = (i32, i16)> + Clone {
        self.fds.chunks_exact(8).map(|one| {
            let fd = i32::from_ne_bytes([one[0], one[1], one[2], one[3]]);
            (fd, i16::from_ne_bytes([one[4], one[5]]))
        })
    }

    /// Whether other signals than the task's are blocked meanwhile.
    pub(in crate::record) fn has_mask(&self) -> bool {
        self.mask.0 != 0
    }
}

/// A copy of a descriptor, and what of it is waited for (poll(2)).
#[derive(Debug)]
pub(in crate::record) struct Copy {
    fd: OwnedFd,
    /// What it is a copy of.
    of: i32,
    events: i16,
}

/// What has been found of a descriptor.
#[derive(Debug)]
struct Look {
    task: TaskId,
    fd: u64,
    kind: Kind,
    /// Whether it is of a file in /proc.
    of_proc: bool,
    /// None if there can be none.
    copy: Option<File>,
}

/// The descriptors that tasks wait for.
#[derive(Debug)]
pub(in crate::record) struct Poller {
    pub(in crate::record) fds: Rc<Fds>,
    /// The inodes of the program's socket pairs, each with the other one's.
    pub(in crate::record) pairs: BTreeMap<u64, u64>,
    /// The program has made timers that are descriptors.
    pub(in crate::record) timerfds: bool,
    copies: Copies,
    /// What is waited for, with the tasks' numbers; made when it is needed.
    epoll: Option<Epoll>,
    tasks: HashMap<TaskId, Vec<Copy>>,
    /// What the task that has the core has looked at for its call.
    look: Option<Look>,
    /// The program has made descriptors that tell everyone of their own signals only (signalfd(2)).
    signals: bool,
}

impl Poller {
    /// No task waits yet.
    pub(in crate::record) fn new(fds: Rc<Fds>) -> Self {
        Self {
            fds,
            pairs: BTreeMap::new(),
            timerfds: false,
            copies: Copies::default(),
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

    /// A copy of a descriptor of a process, not to be kept.
    pub(in crate::record) fn copy(&mut self, pid: nix::unistd::Pid, fd: i32) -> Option<OwnedFd> {
        self.copies.of(pid, fd)
    }

    /// The descriptors that a task waits for.
    pub(in crate::record) fn descriptors(&self, id: TaskId) -> impl Iterator<Item = i32> {
        self.tasks.get(&id).into_iter().flatten().map(|copy| copy.of)
    }

    /// Whether no task does.
    pub(in crate::record) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// A call is over, or about to be made: descriptors may not be what they were. A copy must not outlive the call: it
    /// would keep open what the program closes.
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

    /// A task waits no longer. Whether it did.
    pub(in crate::record) fn remove(&mut self, id: TaskId) -> bool {
        let Some(copies) = self.tasks.remove(&id) else { return false };
        // To close them would not be enough, as the program still has what they are copies of.
        for copy in &copies {
            let _ = self.epoll.as_ref().map(|epoll| epoll.delete(&copy.fd));
        }
        true
    }

    /// The tasks that some of their descriptors are ready for.
    fn ready(&self) -> Result<Vec<TaskId>, Error> {
        let mut events = [EpollEvent::empty(); 64];
        let Some(epoll) = self.epoll.as_ref().filter(|_| !self.is_empty()) else { return Ok(Vec::new()) };
        let count = match epoll.wait(&mut events, PollTimeout::ZERO) {
            Err(nix::errno::Errno::EINTR) => 0,
            count => count.map_err(|errno| os("wait for descriptors")(errno.into()))?,
        };
        Ok(events[..count].iter().map(|event| TaskId(event.data() as u32)).collect())
    }

    /// Wait until something is ready, or a signal comes, but not for longer than this.
    pub(in crate::record) fn wait(&self, longest: Duration) {
        match &self.epoll {
            Some(epoll) if !self.is_empty() => {
                let mut all = [PollFd::new(epoll.0.as_fd(), PollFlags::POLLIN)];
                // Whatever comes of it: whoever waits looks again.
                let _ = ppoll(&mut all, Some(TimeSpec::from_duration(longest)), None);
            }
            _ => std::thread::sleep(longest),
        }
    }
}

impl Poller {
    /// What a descriptor of a task stands for.
    pub(in crate::record) fn kind(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> Kind {
        self.look(tasks, id, fd).kind
    }

    /// Whether a descriptor of a task is of a file in /proc.
    pub(in crate::record) fn is_of_proc(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> bool {
        self.look(tasks, id, fd).of_proc
    }

    /// A copy of a descriptor of a task, if there can be one.
    pub(in crate::record) fn descriptor(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> Option<&File> {
        self.look(tasks, id, fd).copy.as_ref()
    }

    /// Whether a descriptor may have to be waited for: that it is of something that is not always ready, and not said to be
    /// asked only (`O_NONBLOCK`).
    pub(in crate::record) fn is_waited_on(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> bool {
        let tid = tasks[id].tid;
        let look = self.look(tasks, id, fd);
        look.kind == Kind::Waitable
            && !look.copy.as_ref().map_or_else(|| nonblocking(tid, fd), is_nonblocking)
    }

    /// Whether a call that has found its descriptor ready writes so little that there is room for it.
    pub(in crate::record) fn has_room(&mut self, tasks: &Tasks, id: TaskId, call: &Call) -> bool {
        /// What pipes take as a whole, and one buffer of a Unix socket holds.
        const LITTLE: u64 = libc::PIPE_BUF as u64;
        let [fd, _, len, ..] = call.args();
        let plain = matches!(call.number() as i64, libc::SYS_write | libc::SYS_sendto);
        let little = plain && len <= LITTLE && call.stage == Stage::Ready;
        little && self.look(tasks, id, fd).copy.as_ref().is_some_and(takes_whole)
    }

    /// Look at a descriptor, or remember what it was.
    fn look(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> &Look {
        let known = self.look.take().filter(|look| (look.task, look.fd) == (id, fd));
        let look = known.unwrap_or_else(|| {
            let (pid, tid) = (tasks[id].pid, tasks[id].tid);
            let copy = self.copies.of(pid, fd as i32).map(File::from);
            let metadata = copy.as_ref().and_then(|copy| copy.metadata().ok());
            let metadata = metadata.or_else(|| Fds::metadata(tid, fd));
            let kind = metadata.as_ref().map_or(Kind::Ready, |metadata| self.fds.kind_of(metadata));
            let of_proc = metadata.is_some_and(|metadata| self.fds.is_of_proc(&metadata));
            Look { task: id, fd, kind, of_proc, copy }
        });
        self.look.insert(look)
    }

    /// Copies of what a call waits for; none if the task must wait by itself.
    pub(in crate::record) fn copies(
        &mut self,
        tasks: &Tasks,
        id: TaskId,
        watch: &Watch,
    ) -> Option<Vec<Copy>> {
        /// More are too many to copy them each time.
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

    /// A task waits at the entry of its call until one of these is ready. False if they cannot be waited for like this.
    pub(in crate::record) fn watch_descriptors(&mut self, id: TaskId, copies: Vec<Copy>) -> bool {
        self.add(id, copies).is_ok()
    }

    /// The tasks that have waited for what is ready now look again.
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

    /// A task waits for descriptors no longer. Whether it did.
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

    /// Take note of a call that changes what is known of descriptors.
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

    /// The tasks of a process do not have the same descriptors any more.
    pub(in crate::record) fn part_descriptors(&mut self, tasks: &Tasks, id: TaskId) {
        let pid = tasks[id].pid;
        self.copies.refuse(pid);
    }

    /// The copies of a process's descriptors are not needed any more.
    pub(in crate::record) fn forget_copies(&mut self, pid: nix::unistd::Pid) {
        self.copies.forget(pid);
    }

    /// Take note of a socketpair(2) that a task has made.
    pub(in crate::record) fn note_pair(&mut self, tasks: &mut Tasks, id: TaskId, call: &Call) {
        let (tid, space) = (tasks.task(id).tid, tasks.space(id));
        let [one, other] = [0, 4].map(|at| {
            let fd = space.memory.u32(call.args()[3] + at).ok()?;
            inode(Path::new(&format!("/proc/{tid}/fd/{fd}")))
        });
        if let (Some(one), Some(other)) = (one, other) {
            self.pairs.extend([(one, other), (other, one)]);
        }
    }
}

/// How many of these are ready.
pub(in crate::record) fn are_ready(copies: &[Copy]) -> bool {
    let flags = |copy: &Copy| PollFlags::from_bits_retain(copy.events);
    let mut all: Vec<PollFd<'_>> =
        copies.iter().map(|copy| PollFd::new(copy.fd.as_fd(), flags(copy))).collect();
    poll(&mut all, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// The time limit that a socket has for calls that block (socket(7), `SO_RCVTIMEO` and `SO_SNDTIMEO`). What is no socket has
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

/// Whether what is ready to be written to takes a little as a whole: a pipe, or a stream within the machine.
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

/// Whether a descriptor is of a pipe, a socket or a device: not one that the kernel makes for other purposes.
fn is_of_bytes(fd: &OwnedFd) -> bool {
    let kind = fd.try_clone().and_then(|fd| File::from(fd).metadata()).map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket() || kind.is_char_device())
}
