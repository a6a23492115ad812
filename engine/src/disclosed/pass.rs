//! The pass over the events.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::processes::{Open, Processes};
use super::start::Start;
use super::{Disclosed, Endpoint, Protocol};
use crate::program::Program;
use crate::syscalls::{self, Address, Role};
use crate::task::TaskId;
use crate::trace::event::{Effect, Event, Image, Syscall};
use crate::tracee::{BufferedCall, buffered_calls};

/// Variables that have the user's name.
const USERS: [&str; 2] = ["USER", "LOGNAME"];

/// What has been seen of the events up to now.
#[derive(Debug)]
pub struct Pass {
    disclosed: Disclosed,
    processes: Processes,
}

impl Pass {
    /// Before the first event of this program.
    #[must_use]
    pub fn new(program: &Program) -> Self {
        let mut disclosed = Disclosed::default();
        disclosed.directories.add(program.cwd.clone());
        for (name, value) in &program.env {
            disclosed.environment.add(name.clone());
            if USERS.iter().any(|user| name == user) {
                disclosed.users.add(value.clone());
            }
        }
        Self { disclosed, processes: Processes::new(&program.cwd) }
    }

    /// What all events have named.
    #[must_use]
    pub fn finish(self) -> Disclosed {
        self.disclosed
    }

    /// The next event.
    pub fn see(&mut self, event: &Event) {
        match event {
            Event::Image(image) => self.started(image),
            Event::Run { task, .. } => self.processes.running = *task,
            Event::Syscall(call) => self.call(call),
            Event::Buffered(log) => buffered_calls(log).for_each(|call| self.buffered(&call)),
            _ => {}
        }
    }

    fn started(&mut self, image: &Image) {
        let Start { mut args, environment, uids } = Start::of(image);
        let program = OsString::from(&image.program);
        match args.first_mut() {
            Some(first) => *first = program,
            None => args.push(program),
        }
        self.disclosed.programs.add(args);
        environment.into_iter().for_each(|name| self.disclosed.environment.add(name));
        uids.into_iter().for_each(|uid| self.disclosed.uids.add(uid));
    }

    /// A call that was made without a stop.
    fn buffered(&mut self, call: &BufferedCall<'_>) {
        if let Some((directory, path)) = call.opened() {
            self.opened(Some(directory), path, libc::O_RDONLY, call.result);
        } else if call.number == libc::SYS_dup as u64 {
            self.processes.set(call.result, None);
        } else if !call.is_read() {
            self.told_user(call.number, call.result);
        }
        if let Some(handed) = call.handed {
            self.processes.running = TaskId(handed.task);
        }
    }

    fn call(&mut self, call: &Syscall) {
        self.told_user(call.number, call.result);
        self.paths(call);
        self.descriptors(call);
        self.addresses(call);
        match &call.effect {
            Effect::Spawned(task) => self.processes.spawn(*task, shares(call)),
            Effect::Executed(image) => {
                self.processes.part();
                self.started(image);
            }
            _ => {}
        }
    }

    fn told_user(&mut self, number: u64, result: i64) {
        if [libc::SYS_getuid, libc::SYS_geteuid].contains(&(number as i64)) {
            self.disclosed.uids.add(result as u32);
        }
    }

    /// The paths that a call has taken.
    fn paths(&mut self, call: &Syscall) {
        let taken = syscalls::paths(call.number).filter(|taken| taken.role != Role::LooksAt);
        for (taken, name) in taken.zip(&call.names) {
            let directory = taken.directory.and_then(|at| call.args.get(at)).map(|fd| *fd as i32);
            match taken.role {
                Role::Opens => {
                    // What openat2(2) does there is in memory.
                    let flags = syscalls::open_flags(call.number, &call.args).unwrap_or(libc::O_RDWR);
                    self.opened(directory, &name.0, flags, call.result);
                }
                _ if call.result < 0 => {}
                Role::Changes | Role::Makes => {
                    let path = self.processes.resolve(directory, &name.0);
                    path.into_iter().for_each(|path| self.disclosed.written.add(path));
                }
                Role::Enters => {
                    let path = self.processes.resolve(directory, &name.0);
                    path.into_iter().for_each(|path| self.enter(path));
                }
                Role::LooksAt => {}
            }
        }
    }

    fn opened(&mut self, directory: Option<i32>, path: &[u8], flags: i32, result: i64) {
        let Some(path) = self.processes.resolve(directory, path).filter(|_| result >= 0) else { return };
        self.processes.set(result, Some(Open::Path(path.as_path().into())));
        let access = flags & libc::O_ACCMODE;
        // O_PATH: it can only be named.
        if flags & libc::O_PATH != 0 {
            return;
        }
        if access != libc::O_RDONLY || flags & (libc::O_CREAT | libc::O_TRUNC) != 0 {
            self.disclosed.written.add(path.clone());
        }
        if access != libc::O_WRONLY {
            self.disclosed.read.add(path);
        }
    }

    fn enter(&mut self, path: PathBuf) {
        self.processes.enter(&path);
        self.disclosed.directories.add(path);
    }

    /// What a call says of what descriptors refer to.
    fn descriptors(&mut self, call: &Syscall) {
        let [first, second, ..] = call.args;
        match call.number as i64 {
            _ if call.result < 0 => {}
            libc::SYS_socket => {
                /// SOCK_NONBLOCK and SOCK_CLOEXEC are not part of the type.
                const TYPE: i32 = 0xf;
                let protocol = match second as i32 & TYPE {
                    libc::SOCK_STREAM => Protocol::Tcp,
                    libc::SOCK_DGRAM => Protocol::Udp,
                    _ => Protocol::Unknown,
                };
                self.processes.set(call.result, Some(Open::Socket(protocol)));
            }
            libc::SYS_accept | libc::SYS_accept4 => {
                self.processes.set(call.result, Some(Open::Socket(Protocol::Tcp)));
            }
            libc::SYS_dup | libc::SYS_dup2 | libc::SYS_dup3 => {
                let open = self.processes.get(first as i32).cloned();
                self.processes.set(call.result, open);
            }
            libc::SYS_fcntl if [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC].contains(&(second as i32)) => {
                let open = self.processes.get(first as i32).cloned();
                self.processes.set(call.result, open);
            }
            libc::SYS_fchdir => {
                if let Some(Open::Path(path)) = self.processes.get(first as i32) {
                    let path = path.to_path_buf();
                    self.enter(path);
                }
            }
            _ => {}
        }
    }

    /// The socket addresses that a call has taken, or that the kernel has told.
    fn addresses(&mut self, call: &Syscall) {
        let fd = call.args[0] as i32;
        if syscalls::takes_address(call.number) {
            for name in &call.names {
                self.address(fd, call.number as i64 == libc::SYS_bind, &name.0);
            }
        }
        let (at, bound) = match call.number as i64 {
            libc::SYS_accept | libc::SYS_accept4 | libc::SYS_getpeername => (call.args[1], false),
            libc::SYS_getsockname => (call.args[1], true),
            libc::SYS_recvfrom => (call.args[4], false),
            _ => return,
        };
        for write in call.writes.iter().filter(|write| write.address == at && at != 0) {
            self.address(fd, bound, &write.bytes);
        }
    }

    fn address(&mut self, fd: i32, bound: bool, bytes: &[u8]) {
        let protocol = match self.processes.get(fd) {
            Some(Open::Socket(protocol)) => *protocol,
            _ => Protocol::Unknown,
        };
        // More than the kernel takes is not from our recorder.
        let endpoint = match Address::decode(&bytes[..bytes.len().min(128)]) {
            // The kernel chooses: getsockname(2) tells.
            Address::Port(address) if address.port() == 0 => return,
            Address::Port(address) => Endpoint::Port(protocol, address),
            Address::Name(name) => match name.split_first() {
                None => return,
                Some((0, name)) => Endpoint::Abstract(OsString::from_vec(name.to_vec())),
                Some(_) => match self.processes.resolve(None, &name) {
                    Some(path) => Endpoint::Path(path),
                    None => return,
                },
            },
            Address::Kernel | Address::Other => return,
        };
        let list = if bound { &mut self.disclosed.bound } else { &mut self.disclosed.talked_to };
        list.add(endpoint);
    }
}

/// Whether a task and the one that it has created have the same descriptors and directories. The flags of clone3(2)
/// are in memory; it mostly creates threads.
fn shares(call: &Syscall) -> bool {
    match call.number as i64 {
        libc::SYS_clone => call.args[0] & libc::CLONE_FILES as u64 != 0,
        libc::SYS_fork | libc::SYS_vfork => false,
        _ => true,
    }
}
