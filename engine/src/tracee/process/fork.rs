//! Starts traced child processes.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};

use libc::{c_char, c_int};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::ptrace;
use nix::sys::resource::{Resource, rlim_t, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::Pid;

use super::descriptors::found;
use super::filter::RECORDED;
use crate::Error;
use crate::tracee::area::Area;
use crate::tracee::ptrace::{Running, Stop, Stopped, WaitStatus};
use crate::tracee::system::{PAGE, last_os, needs_proc, os};

/// The source of a child's standard input, which determines who gets the terminal's signals (Ctrl-C).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`. The child has its own process group: the terminal's signals are for this process.
    Null,
    /// This process's own. The child is in the same process group, or reading from a terminal would stop it (SIGTTIN,
    /// see termios(3)). Both get the terminal's signals, which this process must survive. The child ignores what this
    /// process ignores (nohup(1)).
    Inherit,
}

/// What the child does once it is traced. The data are prepared before the fork: a forked child of a process with
/// several threads must not allocate (signal-safety(7)).
pub(super) enum Then {
    /// Executes a program, with these descriptors as its standard streams.
    Execute(Arguments, [c_int; 3]),
    /// Stop for good, to be rebuilt from outside. What is rebuilt is not to be trusted: this filter lets only little
    /// through.
    BeRebuilt(Vec<libc::sock_filter>),
}

impl Then {
    /// Whether it has this process's standard input: see [`Stdin::Inherit`].
    fn inherits(&self) -> bool {
        matches!(self, Self::Execute(_, [libc::STDIN_FILENO, ..]))
    }
}

/// The arguments of execve(2), and the directory to start in.
pub(super) struct Arguments {
    path: CString,
    cwd: CString,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    // What the pointers above point into.
    _strings: Vec<CString>,
}

impl Arguments {
    pub(super) fn new(program: &crate::program::Program) -> Result<Self, Error> {
        use std::os::unix::ffi::OsStrExt;
        let string = |bytes: &[u8]| {
            CString::new(bytes).map_err(|_| Error::Start {
                program: program.path.display().to_string(),
                source: std::io::Error::new(
                    std::io::ErrorKind::InvalidInput,
                    "an argument or environment variable contains a NUL byte",
                ),
            })
        };
        let path = string(program.path.as_os_str().as_bytes())?;
        let cwd = string(program.cwd.as_os_str().as_bytes())?;
        let mut strings = Vec::new();
        let mut argv = vec![path.as_ptr()];
        for arg in &program.args {
            let arg = string(arg.as_bytes())?;
            argv.push(arg.as_ptr());
            strings.push(arg);
        }
        argv.push(std::ptr::null());
        let mut envp = Vec::new();
        for (name, value) in &program.env {
            let pair = string(&[name.as_bytes(), b"=", value.as_bytes()].concat())?;
            envp.push(pair.as_ptr());
            strings.push(pair);
        }
        envp.push(std::ptr::null());
        Ok(Self { path, cwd, argv, envp, _strings: strings })
    }
}

/// The standard streams of a program: its input, and pipes to which nothing is ever written, since the recorder takes
/// what the program writes before the kernel does. As objects of their own, they can be recognized behind any
/// descriptor of any process.
#[derive(Debug)]
pub struct Streams {
    written: [File; 2],
    /// Their other ends, without which writing would fail.
    _read: [File; 2],
    /// What the program reads, unless it inherits its input.
    null: Option<File>,
}

impl Streams {
    /// Creates the streams.
    ///
    /// # Errors
    /// If the kernel has no descriptors left.
    pub fn new(stdin: Stdin) -> Result<Self, Error> {
        let (out, err) = (pipe()?, pipe()?);
        let null = match stdin {
            Stdin::Null => Some(File::open("/dev/null").map_err(os("open /dev/null"))?),
            Stdin::Inherit => None,
        };
        Ok(Self { written: [out.1, err.1], _read: [out.0, err.0], null })
    }

    /// Returns standard output and standard error, as the program has them.
    #[must_use]
    pub fn written(&self) -> &[File; 2] {
        &self.written
    }

    /// Resets the flags that the program may have set on them (`F_SETFL` of fcntl(2)).
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn reset(&self) -> Result<(), Error> {
        for file in self.written.iter().chain(&self.null) {
            fcntl(file, FcntlArg::F_SETFL(OFlag::empty()))
                .map_err(|errno| os("reset a standard stream")(errno.into()))?;
        }
        Ok(())
    }

    pub(super) fn fds(&self) -> [c_int; 3] {
        let stdin = self.null.as_ref().map_or(libc::STDIN_FILENO, File::as_raw_fd);
        [stdin, self.written[0].as_raw_fd(), self.written[1].as_raw_fd()]
    }
}

/// The child's steps that can fail, as it reports them to its parent.
#[repr(u8)]
#[derive(Clone, Copy)]
enum Step {
    Descriptors = 1,
    Directory,
    NewPrivileges,
    Filter,
    MapArea,
    Limits,
}

/// What a replayed process may have at most (setrlimit(2)): it writes no file, leaves no memory behind when it dies,
/// locks none, and has no descriptors but those that are opened for it to map.
const LIMITS: [(Resource, rlim_t); 5] = [
    (Resource::RLIMIT_CORE, 0),
    (Resource::RLIMIT_FSIZE, 0),
    (Resource::RLIMIT_MEMLOCK, 0),
    (Resource::RLIMIT_MSGQUEUE, 0),
    (Resource::RLIMIT_NOFILE, 16),
];

/// Fork a child that is traced, has the filter, and stands in its first system call
/// under the filter.
pub(super) fn fork_traced(area: &Area, then: &Then) -> Result<Stopped, Error> {
    needs_proc()?;
    let (go_read, mut go_write) = pipe()?;
    let (mut report_read, report_write) = pipe()?;
    let rseq = registered_rseq();
    let blocked = block_signals();
    // SAFETY: until it executes another program or stops for good, the child makes async-signal-safe calls only.
    let pid = unsafe { libc::fork() };
    if pid != 0 {
        // A mask that was in force is valid.
        let _ = blocked.thread_set_mask();
    }
    match pid {
        -1 => return Err(last_os("fork")),
        0 => {
            let fds = Descriptors {
                area: area.file().as_raw_fd(),
                go: go_read.as_raw_fd(),
                report: report_write.as_raw_fd(),
                limit: found(),
                rseq,
            };
            // SAFETY: this is the child of a fork; `then` was prepared before it.
            unsafe { child(&fds, then) }
        }
        _ => {}
    }
    drop((go_read, report_write));
    let pid = Pid::from_raw(pid);
    let traced = seize(pid).and_then(|()| {
        go_write.write_all(b"!").map_err(os("start the child"))?;
        Running::assume(pid).wait_soon()
    });
    match traced {
        Ok(WaitStatus::Stopped(stopped, Stop::Seccomp)) => Ok(stopped),
        Ok(_) => {
            let mut report = Vec::new();
            kill(pid);
            // The child's end is closed, by its death at the latest.
            let _ = report_read.read_to_end(&mut report);
            Err(failure(&report, then))
        }
        Err(error) => {
            kill(pid);
            let _ = Running::assume(pid).wait_soon();
            Err(error)
        }
    }
}

/// Blocks all signals of the calling thread, as the child must not run the recorder's handlers. Returns the previous
/// mask.
fn block_signals() -> SigSet {
    SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap_or(SigSet::empty())
}

fn seize(pid: Pid) -> Result<(), Error> {
    use ptrace::Options as O;
    let options = O::PTRACE_O_EXITKILL
        | O::PTRACE_O_TRACESYSGOOD
        | O::PTRACE_O_TRACESECCOMP
        | O::PTRACE_O_TRACECLONE
        | O::PTRACE_O_TRACEFORK
        | O::PTRACE_O_TRACEVFORK
        | O::PTRACE_O_TRACEEXEC;
    ptrace::seize(pid, options).map_err(|errno| Error::Forbidden {
        what: format!("ptrace of a child process is not allowed here ({errno})"),
        remedy: "allow it: `docker run --cap-add=SYS_PTRACE --security-opt seccomp=unconfined …`, or lower \
                 /proc/sys/kernel/yama/ptrace_scope to 1; `cargo rrtest doctor` shows more"
            .into(),
    })
}

fn kill(pid: Pid) {
    // It is a child of this process and has not been reaped, so the id is still its own.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
}

fn failure(report: &[u8], then: &Then) -> Error {
    let &[step, a, b, c, d] = report else {
        return Error::Os {
            what: "start a traced child".into(),
            source: std::io::Error::other("it died before it could start"),
        };
    };
    let source = std::io::Error::from_raw_os_error(i32::from_ne_bytes([a, b, c, d]));
    let forbidden = |what: &str| Error::Forbidden {
        what: format!("{what} is not allowed here ({source})"),
        remedy:
            "allow it: `docker run --security-opt seccomp=unconfined …`; `cargo rrtest doctor` shows more"
                .into(),
    };
    match (step, then) {
        (s, _) if s == Step::NewPrivileges as u8 => forbidden("prctl(PR_SET_NO_NEW_PRIVS)"),
        (s, _) if s == Step::Filter as u8 => forbidden("a seccomp filter"),
        (s, Then::Execute(args, _)) if s == Step::Directory as u8 => {
            Error::Os { what: format!("enter directory `{}`", args.cwd.to_string_lossy()), source }
        }
        (s, _) if s == Step::MapArea as u8 => {
            Error::Os { what: "map shared memory in the child".into(), source }
        }
        (s, _) if s == Step::Limits as u8 => Error::Os { what: "limit the child's resources".into(), source },
        _ => Error::Os { what: "prepare the child's descriptors".into(), source },
    }
}

fn pipe() -> Result<(File, File), Error> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has place for two descriptors.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(last_os("make a pipe"));
    }
    // SAFETY: both descriptors are new and ours.
    Ok(unsafe { (File::from_raw_fd(fds[0]), File::from_raw_fd(fds[1])) })
}

struct Descriptors {
    area: c_int,
    go: c_int,
    report: c_int,
    /// The program's descriptor limit, if it differs from that of this process.
    limit: Option<libc::rlimit>,
    /// What the forking thread has registered, and with it the child.
    rseq: Option<Rseq>,
}

/// The restartable-sequences area that glibc has registered for a thread (rseq(2)).
#[derive(Clone, Copy, Debug)]
struct Rseq {
    area: usize,
    size: u32,
}

/// Takes the child from fork to its first system call under the filter.
///
/// # Safety
/// To be called only in the child of a fork.
unsafe fn child(fds: &Descriptors, then: &Then) -> ! {
    let fail = |step: Step| -> ! {
        // SAFETY: async-signal-safe calls with pointers to live locals.
        unsafe {
            let errno = (*libc::__errno_location()).to_ne_bytes();
            let report = [step as u8, errno[0], errno[1], errno[2], errno[3]];
            libc::write(fds.report, report.as_ptr().cast(), report.len());
            libc::_exit(127)
        }
    };
    // SAFETY: async-signal-safe calls only (prctl, seccomp, personality and the rest are plain system calls), with
    // pointers to live locals or to what `then` owns.
    unsafe {
        if !then.inherits() {
            // A signal that came before is dropped.
            libc::setpgid(0, 0);
            for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP, libc::SIGTSTP] {
                libc::signal(signal, libc::SIG_IGN);
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // What the recorder has set for itself must not be inherited through execve(2).
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::personality((libc::personality(0xffff_ffff) | libc::ADDR_NO_RANDOMIZE) as libc::c_ulong);
        match then {
            Then::Execute(args, streams) => {
                if let Some(limit) = &fds.limit {
                    libc::setrlimit(libc::RLIMIT_NOFILE, std::ptr::from_ref(limit));
                }
                for (fd, stream) in streams.iter().enumerate() {
                    if libc::dup2(*stream, fd as c_int) < 0 {
                        fail(Step::Descriptors);
                    }
                }
                if libc::chdir(args.cwd.as_ptr()) != 0 {
                    fail(Step::Directory);
                }
            }
            Then::BeRebuilt(_) => {
                if let Some(rseq) = fds.rseq {
                    forget_rseq(rseq);
                }
                for (resource, most) in LIMITS {
                    if setrlimit(resource, most, most).is_err() {
                        fail(Step::Limits);
                    }
                }
                let area = libc::mmap(
                    rrtest_preload::layout::AREA as *mut libc::c_void,
                    rrtest_preload::layout::AREA_LEN,
                    libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                    libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE,
                    fds.area,
                    0,
                );
                if area == libc::MAP_FAILED {
                    fail(Step::MapArea);
                }
                // What makes calls for us is not the program's to change.
                let code = rrtest_preload::layout::INJECTION as *mut libc::c_void;
                if libc::mprotect(code, PAGE as usize, libc::PROT_READ | libc::PROT_EXEC) != 0 {
                    fail(Step::MapArea);
                }
            }
        }
        let mut byte = 0_u8;
        if libc::read(fds.go, (&raw mut byte).cast(), 1) != 1 {
            libc::_exit(127);
        }
        // From now on the tracer's end kills it; as always, the program has no parent-death signal of its own.
        libc::prctl(libc::PR_SET_PDEATHSIG, 0);
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            fail(Step::NewPrivileges);
        }
        let filter = match then {
            Then::Execute(..) => RECORDED.as_slice(),
            Then::BeRebuilt(filter) => filter,
        };
        let filter = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        if libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) != 0 {
            fail(Step::Filter);
        }
        match then {
            Then::Execute(args, _) => {
                libc::execve(args.path.as_ptr(), args.argv.as_ptr(), args.envp.as_ptr());
            }
            Then::BeRebuilt(_) => {
                libc::syscall(rrtest_preload::layout::SYS_INJECTED as libc::c_long);
            }
        }
        libc::_exit(127)
    }
}

/// Returns what glibc has registered for this thread. C libraries without `__rseq_size` have registered nothing.
fn registered_rseq() -> Option<Rseq> {
    let (offset, size): (*const isize, *const u32);
    // SAFETY: only loads what the linker, static or dynamic, says of two symbols: their addresses, or null where nobody
    // defines them. (dlsym(3) finds nothing in a static program.)
    unsafe {
        std::arch::asm!(
            ".weak __rseq_offset",
            ".weak __rseq_size",
            "mov {}, qword ptr [rip + __rseq_offset@GOTPCREL]",
            "mov {}, qword ptr [rip + __rseq_size@GOTPCREL]",
            out(reg) offset,
            out(reg) size,
            options(nostack, pure, readonly, preserves_flags)
        );
    }
    if offset.is_null() || size.is_null() {
        return None;
    }
    // SAFETY: glibc defines both symbols with these types (rseq in its manual); the thread pointer is the first word
    // of the thread control block it points to (x86-64 TLS ABI).
    unsafe {
        let thread_pointer: usize;
        std::arch::asm!("mov {}, fs:0", out(reg) thread_pointer, options(nostack, readonly));
        Some(Rseq { area: thread_pointer.wrapping_add_signed(*offset), size: *size })
    }
}

/// Unregisters the area: the kernel writes to it, and kills a process that has unmapped it.
///
/// # Safety
/// The calling thread must be the one that has registered it, or its copy in a forked child, and must not use
/// restartable sequences any more.
unsafe fn forget_rseq(Rseq { area, size }: Rseq) {
    const UNREGISTER: c_int = 1;
    /// glibc's `RSEQ_SIG` on x86.
    const SIGNATURE: u32 = 0x5305_3053;
    // Registered with at least 32 bytes, even if fewer are in use.
    for len in [size.max(32), size] {
        // SAFETY: a plain system call; a wrong length is refused with EINVAL.
        unsafe { libc::syscall(libc::SYS_rseq, area, len, UNREGISTER, SIGNATURE) };
    }
}
