//! The calls with which a process starts up. A copy made after them is indistinguishable from a process that has made
//! them itself: they depend on nothing that differs between two runs of the same program, except the process's id, and
//! leave nothing behind but memory and what fork(2) passes on.

use crate::syscalls::FutexCall;
use crate::tracee::Memory;

/// When a call belongs to the start-up. Numbers are indices of arguments.
#[derive(Clone, Copy, Debug)]
enum When {
    /// Always.
    Always,
    /// If the argument is one of these.
    Is(usize, &'static [u64]),
    /// If the argument is not one of these.
    Not(usize, &'static [u64]),
    /// If it looks at a file of the [`SYSTEM`]: the name is in this argument.
    Looks(usize),
    /// If it opens a file of the system for reading: the arguments with name and flags.
    Opens(usize, usize),
    /// If the start-up has opened the descriptor.
    Opened(usize),
    /// If the descriptor is standard output or error, which the recorder handles.
    Output(usize),
    /// mmap(2), unless the memory is shared.
    Private,
    /// futex(2), if it can only wake.
    Wake,
    /// getrandom(2), if the bytes are for the C library's allocator (the only one to use these flags), or for something
    /// that the main thread of a test harness keeps to itself: std seeds a thread's hash maps with these flags.
    Random,
}

const ADVICE_FOR_FORKS: &[u64] = &[
    libc::MADV_DONTFORK as u64,
    libc::MADV_DOFORK as u64,
    libc::MADV_WIPEONFORK as u64,
    libc::MADV_KEEPONFORK as u64,
];

/// Files that do not change while tests run. Files about the asking process end the start-up, except its memory map and
/// its control groups. Names that end with `/` stand for everything below.
const SYSTEM: &[&str] = &[
    "/etc/",
    "/lib/",
    "/lib64/",
    "/usr/",
    "/nix/store/",
    "/sys/",
    "/proc/sys/",
    "/proc/cpuinfo",
    "/proc/self/maps",
    "/proc/self/cgroup",
    "/proc/self/mountinfo",
];

/// Parts of names that make a file one of the system's wherever it is: shared libraries, terminal descriptions.
const SYSTEM_PARTS: &[&str] = &[".so", "/.terminfo"];

/// The calls, and when they belong to the start-up.
const CALLS: &[(i64, When)] = &[
    (libc::SYS_mmap, When::Private),
    (libc::SYS_munmap, When::Always),
    (libc::SYS_mprotect, When::Always),
    (libc::SYS_mremap, When::Always),
    (libc::SYS_brk, When::Always),
    (libc::SYS_madvise, When::Not(2, ADVICE_FOR_FORKS)),
    (libc::SYS_open, When::Opens(0, 1)),
    (libc::SYS_openat, When::Opens(1, 2)),
    (libc::SYS_read, When::Opened(0)),
    (libc::SYS_pread64, When::Opened(0)),
    (libc::SYS_lseek, When::Opened(0)),
    (libc::SYS_close, When::Opened(0)),
    (libc::SYS_fstat, When::Always),
    (libc::SYS_stat, When::Looks(0)),
    (libc::SYS_lstat, When::Looks(0)),
    (libc::SYS_newfstatat, When::Looks(1)),
    (libc::SYS_statx, When::Looks(1)),
    (libc::SYS_access, When::Looks(0)),
    (libc::SYS_faccessat, When::Looks(1)),
    (libc::SYS_faccessat2, When::Looks(1)),
    (libc::SYS_readlink, When::Looks(0)),
    (libc::SYS_readlinkat, When::Looks(1)),
    (libc::SYS_write, When::Output(0)),
    (libc::SYS_writev, When::Output(0)),
    (libc::SYS_arch_prctl, When::Always),
    (libc::SYS_set_tid_address, When::Always),
    (libc::SYS_set_robust_list, When::Always),
    (libc::SYS_rseq, When::Always),
    (libc::SYS_gettid, When::Always),
    (libc::SYS_getpid, When::Always),
    (libc::SYS_getuid, When::Always),
    (libc::SYS_geteuid, When::Always),
    (libc::SYS_getgid, When::Always),
    (libc::SYS_getegid, When::Always),
    (libc::SYS_uname, When::Always),
    (libc::SYS_prlimit64, When::Is(2, &[0])),
    (libc::SYS_getrlimit, When::Always),
    (libc::SYS_poll, When::Is(2, &[0])),
    (libc::SYS_rt_sigaction, When::Always),
    (libc::SYS_rt_sigprocmask, When::Always),
    (libc::SYS_sigaltstack, When::Always),
    (libc::SYS_sched_getaffinity, When::Always),
    (libc::SYS_futex, When::Wake),
    (libc::SYS_getrandom, When::Random),
    (libc::SYS_ioctl, When::Is(1, &[libc::TCGETS, libc::TIOCGWINSZ])),
];

/// Who makes the calls of a process that starts up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starter {
    /// The dynamic linker, which looks for shared libraries, also in directories of the program's.
    Linker,
    /// The program.
    Program,
    /// A program whose main thread is a test harness that runs the tests in other threads.
    Harness,
}

/// Whether a call belongs to the start-up of a process that has made no other calls so far.
#[must_use]
pub fn starts_up(memory: &Memory, number: u64, args: &[u64; 6], starter: Starter) -> bool {
    let Some((_, when)) = CALLS.iter().find(|(call, _)| *call as u64 == number) else { return false };
    match *when {
        When::Always => true,
        When::Is(at, values) => values.contains(&args[at]),
        When::Not(at, values) => !values.contains(&args[at]),
        When::Looks(_) if starter == Starter::Linker => true,
        When::Looks(name) => args[name] == 0 || is_of_system(&name_at(memory, args[name])),
        When::Opens(name, flags) => {
            const CHANGES: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
            let name = name_at(memory, args[name]);
            args[flags] as i32 & CHANGES == libc::O_RDONLY
                && (starter == Starter::Linker || !name.is_empty() && is_of_system(&name))
        }
        When::Opened(fd) => args[fd] as i32 > libc::STDERR_FILENO,
        When::Output(fd) => [libc::STDOUT_FILENO, libc::STDERR_FILENO].contains(&(args[fd] as i32)),
        When::Private => args[3] as i32 & libc::MAP_TYPE == libc::MAP_PRIVATE,
        When::Wake => matches!(FutexCall::decode(args), Some(FutexCall::Wake { .. })),
        When::Random => {
            let flags = args[2] as u32;
            flags == libc::GRND_NONBLOCK || starter == Starter::Harness && flags == libc::GRND_INSECURE
        }
    }
}

fn name_at(memory: &Memory, address: u64) -> String {
    memory.text(address, libc::PATH_MAX as usize)
}

/// An empty name stands for a descriptor.
fn is_of_system(name: &str) -> bool {
    let within = |place: &&str| name == *place || place.ends_with('/') && name.starts_with(*place);
    name.is_empty()
        || !name.contains("/../") && SYSTEM.iter().any(within)
        || SYSTEM_PARTS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system() {
        for name in
            ["", "/etc/ld.so.cache", "/target/debug/deps/libp.so", "/proc/self/maps", "/h/.terminfo/x/xterm"]
        {
            assert!(is_of_system(name), "{name}");
        }
        for name in
            ["/proc/self/stat", "/proc/self/mapsx", "/tmp/x", "counter", "/etc/../tmp/x", "/dev/urandom"]
        {
            assert!(!is_of_system(name), "{name}");
        }
    }

    #[test]
    fn arguments_decide() {
        use Starter::{Harness, Linker, Program};
        let memory = Memory::open(nix::unistd::Pid::this()).unwrap();
        let maps = c"/proc/self/maps".as_ptr() as u64;
        let own = c"./own".as_ptr() as u64;
        let belongs =
            |number: i64, args: [u64; 6], starter| starts_up(&memory, number as u64, &args, starter);
        let flags = |flags: i32| flags as u64;
        assert!(belongs(libc::SYS_openat, [0, maps, flags(libc::O_CLOEXEC), 0, 0, 0], Program));
        assert!(!belongs(libc::SYS_openat, [0, maps, flags(libc::O_RDWR), 0, 0, 0], Program));
        assert!(!belongs(libc::SYS_openat, [0, own, 0, 0, 0, 0], Program));
        assert!(belongs(libc::SYS_openat, [0, own, 0, 0, 0, 0], Linker));
        assert!(belongs(
            libc::SYS_mmap,
            [0, 1, 0, flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS), 0, 0],
            Program
        ));
        assert!(!belongs(libc::SYS_mmap, [0, 1, 0, flags(libc::MAP_SHARED), 0, 0], Program));
        assert!(belongs(libc::SYS_getrandom, [1, 8, libc::GRND_NONBLOCK.into(), 0, 0, 0], Program));
        assert!(belongs(libc::SYS_getrandom, [1, 16, libc::GRND_INSECURE.into(), 0, 0, 0], Harness));
        assert!(!belongs(libc::SYS_getrandom, [1, 16, libc::GRND_INSECURE.into(), 0, 0, 0], Program));
        assert!(!belongs(libc::SYS_getrandom, [1, 16, 0, 0, 0, 0], Harness));
        assert!(belongs(libc::SYS_futex, [1, flags(libc::FUTEX_WAKE), 1, 0, 0, 0], Program));
        assert!(!belongs(libc::SYS_futex, [1, flags(libc::FUTEX_WAIT), 1, 0, 0, 0], Program));
        assert!(!belongs(libc::SYS_read, [0; 6], Program));
        assert!(!belongs(libc::SYS_clock_gettime, [0; 6], Harness));
        assert!(!belongs(libc::SYS_clone3, [0; 6], Harness));
    }
}
