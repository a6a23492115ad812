//! The table.

use super::commands::fcntl::FCNTL;
use super::commands::ioctl::IOCTL;
use super::commands::ipc::{MSGCTL, SEMCTL, SHMCTL};
use super::commands::prctl::{ARCH_PRCTL, PRCTL};
use super::commands::restricted::{
    ADJTIMEX, CAPGET, CLOCK_ADJTIME, MODIFY_LDT, PROCESS_MADVISE, PTRACE, SCHED_SETATTR, SCHED_SETSCHEDULER,
    SYSLOG, UNSHARE,
};
use super::commands::sockopt::{GETSOCKOPT, SETSOCKOPT};
use super::describe::{
    Block::{
        Children, Either, Epoll, EpollPwait2, InKernel, Never, Poll, Ppoll, Pselect, Readable, Select,
        Writable,
    },
    Class::{Emulated, Logged, Performed, Refused, Unsupported},
    Description, Emulation as E,
    Out::{
        Always, Array, Bits, Commands, Counted, Fixed, Iovec, Items, Message, Messages, PerPage, Pointed,
        Returned, Sized, Typed,
    },
    Performance as P,
};

macro_rules! calls {
    ($($constant:ident $(= $number:literal)?: $class:expr, [$($out:expr),*], $block:expr $(, $own:ident)?;)*) => {
        &[$(Description {
            number: calls!(@number $constant $($number)?),
            constant: stringify!($constant),
            class: $class,
            outs: &[$($out),*],
            block: $block,
            own: calls!(@own $($own)?),
        }),*]
    };
    (@number $constant:ident $number:literal) => { $number };
    (@number $constant:ident) => { libc::$constant as u64 };
    (@own own) => { true };
    (@own) => { false };
}

/// Every call of Linux on x86-64, with its number where libc has no constant. `own` marks calls that concern only the
/// calling task. Structure sizes are those of the kernel's x86-64 ABI.
#[rustfmt::skip]
pub static TABLE: &[Description] = calls! {
    // Reading and writing.
    SYS_read: Logged, [Returned(1)], Readable(0);
    SYS_write: Logged, [], Writable(0);
    SYS_readv: Logged, [Iovec { at: 1, count: 2 }], Readable(0);
    SYS_writev: Logged, [], Writable(0);
    SYS_pread64: Logged, [Returned(1)], Never;
    SYS_pwrite64: Logged, [], Never;
    SYS_preadv: Logged, [Iovec { at: 1, count: 2 }], Never;
    SYS_pwritev: Logged, [], Never;
    SYS_preadv2: Logged, [Iovec { at: 1, count: 2 }], Readable(0);
    SYS_pwritev2: Logged, [], Writable(0);
    SYS_sendfile: Logged, [Fixed(2, 8)], InKernel;
    SYS_splice: Logged, [Fixed(1, 8), Fixed(3, 8)], InKernel;
    SYS_tee: Logged, [], InKernel;
    SYS_vmsplice: Logged, [Iovec { at: 1, count: 2 }], Either(0);
    SYS_copy_file_range: Logged, [Fixed(1, 8), Fixed(3, 8)], Never;
    SYS_lseek: Logged, [], Never;

    // Opening and closing.
    SYS_open: Logged, [], InKernel;
    SYS_openat: Logged, [], InKernel;
    SYS_openat2: Logged, [], InKernel;
    SYS_creat: Logged, [], InKernel;
    SYS_close: Logged, [], InKernel;
    SYS_close_range: Logged, [], Never;
    SYS_dup: Logged, [], Never;
    SYS_dup2: Logged, [], Never;
    SYS_dup3: Logged, [], Never;
    SYS_pipe: Logged, [Fixed(0, 8)], Never;
    SYS_pipe2: Logged, [Fixed(0, 8)], Never;
    SYS_eventfd: Logged, [], Never;
    SYS_eventfd2: Logged, [], Never;
    SYS_memfd_create: Logged, [], Never;
    SYS_signalfd: Logged, [], Never;
    SYS_signalfd4: Logged, [], Never;
    SYS_pidfd_open: Logged, [], Never;
    SYS_pidfd_getfd: Logged, [], Never;
    SYS_fcntl: Logged, [Commands(&FCNTL)], InKernel;
    SYS_flock: Logged, [], InKernel;
    SYS_ioctl: Logged, [Commands(&IOCTL)], Never;

    // Files and directories.
    SYS_stat: Logged, [Fixed(1, 144)], Never;
    SYS_fstat: Logged, [Fixed(1, 144)], Never;
    SYS_lstat: Logged, [Fixed(1, 144)], Never;
    SYS_newfstatat: Logged, [Fixed(2, 144)], Never;
    SYS_statx: Logged, [Fixed(4, 256)], Never;
    SYS_statfs: Logged, [Fixed(1, 120)], Never;
    SYS_ustat: Logged, [Fixed(1, 32)], Never;
    SYS_cachestat = 451: Logged, [Fixed(2, 40)], Never;
    SYS_statmount = 457: Logged, [Counted { at: 1, header: 0, count: 0, room: None, size: 1 }], Never;
    SYS_listmount = 458: Logged, [Items { at: 1, count: 2, size: 8 }], Never;
    SYS_listns = 470: Logged, [Items { at: 1, count: 2, size: 8 }], Never;
    SYS_file_getattr = 468: Logged, [Array { at: 2, count: 3, size: 1 }], Never;
    SYS_file_setattr = 469: Logged, [], Never;
    SYS_name_to_handle_at: Logged, [Counted { at: 2, header: 8, count: 0, room: None, size: 1 }, Always(2, 8), Always(3, 8)], Never;
    SYS_open_by_handle_at: Logged, [], InKernel;
    SYS_fstatfs: Logged, [Fixed(1, 120)], Never;
    SYS_access: Logged, [], Never;
    SYS_faccessat: Logged, [], Never;
    SYS_faccessat2: Logged, [], Never;
    SYS_getdents: Logged, [Returned(1)], Never;
    SYS_getdents64: Logged, [Returned(1)], Never;
    SYS_getcwd: Logged, [Returned(0)], Never;
    SYS_chdir: Logged, [], Never;
    SYS_fchdir: Logged, [], Never;
    SYS_chroot: Logged, [], Never;
    SYS_mkdir: Logged, [], Never;
    SYS_mkdirat: Logged, [], Never;
    SYS_mknod: Logged, [], Never;
    SYS_mknodat: Logged, [], Never;
    SYS_rmdir: Logged, [], Never;
    SYS_link: Logged, [], Never;
    SYS_linkat: Logged, [], Never;
    SYS_unlink: Logged, [], Never;
    SYS_unlinkat: Logged, [], Never;
    SYS_symlink: Logged, [], Never;
    SYS_symlinkat: Logged, [], Never;
    SYS_readlink: Logged, [Returned(1)], Never;
    SYS_readlinkat: Logged, [Returned(2)], Never;
    SYS_rename: Logged, [], Never;
    SYS_renameat: Logged, [], Never;
    SYS_renameat2: Logged, [], Never;
    SYS_chmod: Logged, [], Never;
    SYS_fchmod: Logged, [], Never;
    SYS_fchmodat: Logged, [], Never;
    SYS_fchmodat2: Logged, [], Never;
    SYS_chown: Logged, [], Never;
    SYS_fchown: Logged, [], Never;
    SYS_lchown: Logged, [], Never;
    SYS_fchownat: Logged, [], Never;
    SYS_umask: Logged, [], Never;
    SYS_utime: Logged, [], Never;
    SYS_utimes: Logged, [], Never;
    SYS_utimensat: Logged, [], Never;
    SYS_futimesat: Logged, [], Never;
    SYS_truncate: Logged, [], Never;
    SYS_ftruncate: Logged, [], Never;
    SYS_fallocate: Logged, [], Never;
    SYS_fadvise64: Logged, [], Never;
    SYS_readahead: Logged, [], Never;
    SYS_sync: Logged, [], InKernel;
    SYS_syncfs: Logged, [], InKernel;
    SYS_fsync: Logged, [], InKernel;
    SYS_fdatasync: Logged, [], InKernel;
    SYS_sync_file_range: Logged, [], InKernel;
    SYS_getxattr: Logged, [Returned(2)], Never;
    SYS_lgetxattr: Logged, [Returned(2)], Never;
    SYS_fgetxattr: Logged, [Returned(2)], Never;
    SYS_listxattr: Logged, [Returned(1)], Never;
    SYS_llistxattr: Logged, [Returned(1)], Never;
    SYS_flistxattr: Logged, [Returned(1)], Never;
    SYS_setxattr: Logged, [], Never;
    SYS_lsetxattr: Logged, [], Never;
    SYS_fsetxattr: Logged, [], Never;
    SYS_removexattr: Logged, [], Never;
    SYS_lremovexattr: Logged, [], Never;
    SYS_fremovexattr: Logged, [], Never;
    SYS_setxattrat = 463: Logged, [], Never;
    SYS_getxattrat = 464: Logged, [Pointed { at: 4, pointer: 0, len: 8 }], Never;
    SYS_listxattrat = 465: Logged, [Returned(3)], Never;
    SYS_removexattrat = 466: Logged, [], Never;

    // Waiting for descriptors.
    SYS_poll: Logged, [Array { at: 0, count: 1, size: 8 }], Poll;
    SYS_ppoll: Logged, [Array { at: 0, count: 1, size: 8 }, Always(2, 16)], Ppoll;
    SYS_select: Logged, [Bits { at: 1, count: 0 }, Bits { at: 2, count: 0 }, Bits { at: 3, count: 0 }, Always(4, 16)], Select;
    SYS_pselect6: Logged, [Bits { at: 1, count: 0 }, Bits { at: 2, count: 0 }, Bits { at: 3, count: 0 }, Always(4, 16)], Pselect;
    SYS_epoll_create: Logged, [], Never;
    SYS_epoll_create1: Logged, [], Never;
    SYS_epoll_ctl: Logged, [], Never;
    SYS_epoll_wait: Logged, [Items { at: 1, count: 2, size: 12 }], Epoll;
    SYS_epoll_pwait: Logged, [Items { at: 1, count: 2, size: 12 }], Epoll;
    SYS_epoll_pwait2: Logged, [Items { at: 1, count: 2, size: 12 }], EpollPwait2;
    SYS_timerfd_create: Logged, [], Never;
    SYS_timerfd_settime: Logged, [Fixed(3, 32)], Never;
    SYS_timerfd_gettime: Logged, [Fixed(1, 32)], Never;
    SYS_inotify_init: Logged, [], Never;
    SYS_inotify_init1: Logged, [], Never;
    SYS_inotify_add_watch: Logged, [], Never;
    SYS_inotify_rm_watch: Logged, [], Never;

    // Sockets.
    SYS_socket: Logged, [], Never;
    SYS_socketpair: Logged, [Fixed(3, 8)], Never;
    SYS_bind: Logged, [], Never;
    SYS_listen: Logged, [], Never;
    SYS_accept: Logged, [Sized { at: 1, len: 2 }], Readable(0);
    SYS_accept4: Logged, [Sized { at: 1, len: 2 }], Readable(0);
    SYS_connect: Logged, [], InKernel;
    SYS_getsockname: Logged, [Sized { at: 1, len: 2 }], Never;
    SYS_getpeername: Logged, [Sized { at: 1, len: 2 }], Never;
    SYS_getsockopt: Logged, [Commands(&GETSOCKOPT)], Never;
    SYS_setsockopt: Logged, [Commands(&SETSOCKOPT)], Never;
    SYS_shutdown: Logged, [], Never;
    SYS_sendto: Logged, [], Writable(0);
    SYS_recvfrom: Logged, [Returned(1), Sized { at: 4, len: 5 }], Readable(0);
    SYS_sendmsg: Logged, [], Writable(0);
    SYS_recvmsg: Logged, [Message(1)], Readable(0);
    SYS_sendmmsg: Logged, [Items { at: 1, count: 2, size: 64 }], Writable(0);
    SYS_recvmmsg: Logged, [Messages { at: 1, count: 2 }, Fixed(4, 16)], Readable(0);

    // System V and POSIX message queues, semaphores, shared memory.
    SYS_msgget: Logged, [], Never;
    SYS_msgctl: Logged, [Commands(&MSGCTL)], Never;
    SYS_msgsnd: Logged, [], InKernel;
    SYS_msgrcv: Logged, [Typed(1)], InKernel;
    SYS_semget: Logged, [], Never;
    SYS_semctl: Logged, [Commands(&SEMCTL)], Never;
    SYS_semop: Logged, [], InKernel;
    SYS_semtimedop: Logged, [], InKernel;
    SYS_shmget: Logged, [], Never;
    SYS_shmctl: Logged, [Commands(&SHMCTL)], Never;
    SYS_shmat: Performed(P::Attach), [], Never;
    SYS_shmdt: Performed(P::Detach), [], Never;
    SYS_mq_open: Logged, [], Never;
    SYS_mq_unlink: Logged, [], Never;
    SYS_mq_timedsend: Logged, [], InKernel;
    SYS_mq_timedreceive: Logged, [Returned(1), Fixed(3, 4)], InKernel;
    SYS_mq_notify: Logged, [], Never;
    SYS_mq_getsetattr: Logged, [Fixed(2, 64)], Never;

    // Memory.
    SYS_mmap: Performed(P::Map), [], Never, own;
    SYS_munmap: Performed(P::Repeat), [], Never, own;
    SYS_mprotect: Performed(P::Repeat), [], Never, own;
    SYS_mremap: Performed(P::Remap), [], Never, own;
    SYS_brk: Performed(P::Break), [], Never, own;
    SYS_madvise: Performed(P::Advise), [], Never, own;
    SYS_mincore: Logged, [PerPage { at: 2, len: 1 }], Never, own;
    SYS_msync: Logged, [], InKernel;
    SYS_mlock: Logged, [], Never, own;
    SYS_mlock2: Logged, [], Never, own;
    SYS_munlock: Logged, [], Never, own;
    SYS_mlockall: Logged, [], Never, own;
    SYS_munlockall: Logged, [], Never, own;
    SYS_mseal: Performed(P::Repeat), [], Never, own;
    SYS_pkey_mprotect: Performed(P::Repeat), [], Never, own;
    SYS_remap_file_pages: Unsupported, [], Never;
    SYS_mbind: Logged, [], Never, own;
    SYS_set_mempolicy: Logged, [], Never, own;
    SYS_set_mempolicy_home_node: Logged, [], Never, own;
    SYS_get_mempolicy: Logged, [Fixed(0, 4), Bits { at: 1, count: 2 }], Never, own;
    SYS_migrate_pages: Logged, [], Never, own;
    SYS_move_pages: Logged, [Array { at: 4, count: 1, size: 4 }], Never, own;
    SYS_process_madvise: Logged, [Commands(&PROCESS_MADVISE)], Never;
    SYS_process_mrelease: Logged, [], Never;
    SYS_process_vm_readv: Logged, [Iovec { at: 1, count: 2 }], Never;
    SYS_process_vm_writev: Logged, [], Never;
    SYS_ptrace: Logged, [Commands(&PTRACE)], Never;
    SYS_membarrier: Logged, [], Never, own;

    // Tasks.
    SYS_clone: Performed(P::Clone), [], Never;
    SYS_clone3: Performed(P::Clone), [], Never;
    SYS_fork: Performed(P::Clone), [], Never;
    SYS_vfork: Performed(P::Clone), [], Never;
    SYS_execve: Performed(P::Execute), [], Never;
    SYS_execveat: Performed(P::Execute), [], Never;
    SYS_wait4: Logged, [Fixed(1, 4), Fixed(3, 144)], Children;
    SYS_waitid: Logged, [Always(2, 28), Fixed(4, 144)], Children;
    SYS_exit: Performed(P::Exit), [], Never;
    SYS_exit_group: Performed(P::ExitGroup), [], Never;
    SYS_unshare: Logged, [Commands(&UNSHARE)], Never;
    SYS_kcmp: Logged, [], Never;
    SYS_set_tid_address: Performed(P::Same), [], Never, own;
    SYS_set_robust_list: Emulated(E::SetRobustList), [], Never, own;
    SYS_get_robust_list: Emulated(E::GetRobustList), [], Never;
    SYS_modify_ldt: Logged, [Commands(&MODIFY_LDT)], Never, own;
    SYS_arch_prctl: Performed(P::Same), [Commands(&ARCH_PRCTL)], Never, own;
    SYS_futex: Emulated(E::Futex), [], Never;
    SYS_futex_waitv: Unsupported, [], Never;
    SYS_sched_yield: Emulated(E::Yield), [], Never;
    SYS_gettid: Emulated(E::Identity), [], Never, own;
    SYS_getpid: Emulated(E::Identity), [], Never, own;
    SYS_getppid: Logged, [], Never, own;
    SYS_getpgrp: Logged, [], Never, own;
    SYS_getpgid: Logged, [], Never, own;
    SYS_setpgid: Logged, [], Never;
    SYS_getsid: Logged, [], Never, own;
    SYS_setsid: Logged, [], Never;
    SYS_getuid: Logged, [], Never, own;
    SYS_geteuid: Logged, [], Never, own;
    SYS_getgid: Logged, [], Never, own;
    SYS_getegid: Logged, [], Never, own;
    SYS_getresuid: Logged, [Fixed(0, 4), Fixed(1, 4), Fixed(2, 4)], Never, own;
    SYS_getresgid: Logged, [Fixed(0, 4), Fixed(1, 4), Fixed(2, 4)], Never, own;
    SYS_getgroups: Logged, [Items { at: 1, count: 0, size: 4 }], Never, own;
    SYS_setuid: Logged, [], Never;
    SYS_setgid: Logged, [], Never;
    SYS_setreuid: Logged, [], Never;
    SYS_setregid: Logged, [], Never;
    SYS_setresuid: Logged, [], Never;
    SYS_setresgid: Logged, [], Never;
    SYS_setfsuid: Logged, [], Never;
    SYS_setfsgid: Logged, [], Never;
    SYS_setgroups: Logged, [], Never;
    SYS_capget: Logged, [Commands(&CAPGET), Always(0, 4)], Never, own;
    SYS_capset: Logged, [], Never, own;
    SYS_personality: Emulated(E::Personality), [], Never, own;
    SYS_lsm_get_self_attr = 459: Logged, [Sized { at: 1, len: 2 }, Always(2, 4)], Never, own;
    SYS_lsm_set_self_attr = 460: Logged, [], Never, own;
    SYS_lsm_list_modules = 461: Logged, [Sized { at: 0, len: 1 }, Always(1, 4)], Never, own;
    SYS_prctl: Logged, [Commands(&PRCTL)], Never, own;
    SYS_getpriority: Logged, [], Never, own;
    SYS_setpriority: Logged, [], Never;
    SYS_sched_getaffinity: Emulated(E::GetAffinity), [Fixed(2, 8)], Never, own;
    SYS_sched_setaffinity: Emulated(E::SetAffinity), [], Never, own;
    SYS_sched_getscheduler: Logged, [], Never, own;
    SYS_sched_getparam: Logged, [Fixed(1, 4)], Never, own;
    SYS_sched_getattr: Logged, [Array { at: 1, count: 2, size: 1 }], Never, own;
    SYS_sched_setscheduler: Logged, [Commands(&SCHED_SETSCHEDULER)], Never, own;
    SYS_sched_setparam: Logged, [], Never, own;
    SYS_sched_setattr: Logged, [Commands(&SCHED_SETATTR), Always(1, 4)], Never, own;
    SYS_sched_rr_get_interval: Logged, [Fixed(1, 16)], Never, own;
    SYS_ioprio_get: Logged, [], Never, own;
    SYS_ioprio_set: Logged, [], Never, own;
    SYS_sched_get_priority_max: Logged, [], Never, own;
    SYS_sched_get_priority_min: Logged, [], Never, own;
    SYS_getcpu: Emulated(E::Getcpu), [], Never, own;

    // Signals.
    SYS_rt_sigaction: Logged, [Fixed(2, 32)], Never, own;
    SYS_rt_sigprocmask: Emulated(E::SignalMask), [Fixed(2, 8)], Never, own;
    SYS_rt_sigpending: Logged, [Array { at: 0, count: 1, size: 1 }], Never, own;
    SYS_rt_sigreturn: Performed(P::SignalReturn), [], Never, own;
    SYS_sigaltstack: Logged, [Fixed(1, 24)], Never, own;
    SYS_kill: Logged, [], Never;
    SYS_tkill: Logged, [], Never;
    SYS_tgkill: Logged, [], Never;
    SYS_rt_sigqueueinfo: Logged, [], Never;
    SYS_rt_tgsigqueueinfo: Logged, [], Never;
    SYS_pidfd_send_signal: Logged, [], Never;
    SYS_rt_sigsuspend: Logged, [], InKernel;
    SYS_rt_sigtimedwait: Logged, [Fixed(1, 128)], InKernel;
    SYS_pause: Logged, [], InKernel;
    SYS_restart_syscall: Unsupported, [], Never;

    // Time.
    SYS_clock_gettime: Emulated(E::ClockGettime), [Fixed(1, 16)], Never, own;
    SYS_clock_getres: Logged, [Fixed(1, 16)], Never, own;
    SYS_gettimeofday: Emulated(E::Gettimeofday), [Fixed(0, 16), Fixed(1, 8)], Never, own;
    SYS_time: Emulated(E::Time), [Fixed(0, 8)], Never, own;
    SYS_times: Logged, [Fixed(0, 32)], Never, own;
    SYS_nanosleep: Emulated(E::Nanosleep), [], Never;
    SYS_clock_nanosleep: Emulated(E::ClockNanosleep), [], Never;
    SYS_adjtimex: Logged, [Commands(&ADJTIMEX)], Never;
    SYS_clock_adjtime: Logged, [Commands(&CLOCK_ADJTIME)], Never;
    SYS_alarm: Logged, [], Never;
    SYS_getitimer: Logged, [Fixed(1, 32)], Never;
    SYS_setitimer: Logged, [Fixed(2, 32)], Never;
    SYS_timer_create: Logged, [Fixed(2, 4)], Never;
    SYS_timer_settime: Logged, [Fixed(3, 32)], Never;
    SYS_timer_gettime: Logged, [Fixed(1, 32)], Never;
    SYS_timer_getoverrun: Logged, [], Never;
    SYS_timer_delete: Logged, [], Never;

    // The system.
    SYS_uname: Logged, [Fixed(0, 390)], Never, own;
    SYS_sysinfo: Logged, [Fixed(0, 112)], Never, own;
    SYS_getrusage: Logged, [Fixed(1, 144)], Never, own;
    SYS_getrlimit: Logged, [Fixed(1, 16)], Never, own;
    SYS_setrlimit: Logged, [], Never;
    SYS_prlimit64: Logged, [Fixed(3, 16)], Never;
    SYS_getrandom: Emulated(E::Getrandom), [], Never, own;
    SYS_syslog: Logged, [Commands(&SYSLOG)], Never;

    // Calls that cannot be recorded and need not be: programs cope with kernels and sandboxes that lack them.
    SYS_rseq: Refused(libc::ENOSYS), [], Never, own;
    SYS_io_uring_setup: Refused(libc::ENOSYS), [], Never, own;
    SYS_io_uring_enter: Refused(libc::ENOSYS), [], Never;
    SYS_io_uring_register: Refused(libc::ENOSYS), [], Never;
    SYS_userfaultfd: Refused(libc::ENOSYS), [], Never, own;
    SYS_perf_event_open: Refused(libc::EACCES), [], Never, own;
    SYS_bpf: Refused(libc::EPERM), [], Never, own;
    SYS_seccomp: Refused(libc::EINVAL), [], Never, own;
    SYS_init_module: Refused(libc::EPERM), [], Never;
    SYS_finit_module: Refused(libc::EPERM), [], Never;
    SYS_delete_module: Refused(libc::EPERM), [], Never;
    SYS_kexec_load: Refused(libc::EPERM), [], Never;
    SYS_kexec_file_load: Refused(libc::EPERM), [], Never;
    SYS_reboot: Refused(libc::EPERM), [], Never;
    SYS_mount: Refused(libc::EPERM), [], Never;
    SYS_umount2: Refused(libc::EPERM), [], Never;
    SYS_swapon: Refused(libc::EPERM), [], Never;
    SYS_swapoff: Refused(libc::EPERM), [], Never;
    SYS_settimeofday: Emulated(E::SetClock), [], Never;
    SYS_clock_settime: Emulated(E::SetClock), [], Never;
    SYS_setns: Refused(libc::EPERM), [], Never;
    SYS_pivot_root: Refused(libc::EPERM), [], Never;
    SYS_move_mount: Refused(libc::EPERM), [], Never;
    SYS_mount_setattr: Refused(libc::EPERM), [], Never;
    SYS_open_tree: Refused(libc::EPERM), [], Never;
    SYS_open_tree_attr = 467: Refused(libc::EPERM), [], Never;
    SYS_fsopen: Refused(libc::EPERM), [], Never;
    SYS_fsconfig: Refused(libc::EPERM), [], Never;
    SYS_fsmount: Refused(libc::EPERM), [], Never;
    SYS_fspick: Refused(libc::EPERM), [], Never;
    SYS_fanotify_init: Refused(libc::EPERM), [], Never;
    SYS_fanotify_mark: Refused(libc::EPERM), [], Never;
    SYS_quotactl: Refused(libc::EPERM), [], Never;
    SYS_quotactl_fd: Refused(libc::EPERM), [], Never;
    SYS_add_key: Refused(libc::EPERM), [], Never;
    SYS_request_key: Refused(libc::EPERM), [], Never;
    SYS_keyctl: Refused(libc::EPERM), [], Never;
    SYS_acct: Refused(libc::EPERM), [], Never;
    SYS_sethostname: Refused(libc::EPERM), [], Never;
    SYS_setdomainname: Refused(libc::EPERM), [], Never;
    SYS_iopl: Refused(libc::EPERM), [], Never;
    SYS_ioperm: Refused(libc::EPERM), [], Never;
    SYS_vhangup: Refused(libc::EPERM), [], Never;

    // Calls that are newer than what programs rely on, or of no use to them.
    SYS_memfd_secret: Refused(libc::ENOSYS), [], Never;
    SYS_landlock_create_ruleset: Refused(libc::ENOSYS), [], Never;
    SYS_landlock_add_rule: Refused(libc::ENOSYS), [], Never;
    SYS_landlock_restrict_self: Refused(libc::ENOSYS), [], Never;
    SYS_io_setup: Refused(libc::ENOSYS), [], Never;
    SYS_io_destroy: Refused(libc::ENOSYS), [], Never;
    SYS_io_submit: Refused(libc::ENOSYS), [], Never;
    SYS_io_cancel: Refused(libc::ENOSYS), [], Never;
    SYS_io_getevents: Refused(libc::ENOSYS), [], Never;
    SYS_io_pgetevents = 333: Refused(libc::ENOSYS), [], Never;
    SYS_uretprobe = 335: Refused(libc::ENOSYS), [], Never;
    SYS_uprobe = 336: Refused(libc::ENOSYS), [], Never;
    SYS_map_shadow_stack = 453: Refused(libc::EOPNOTSUPP), [], Never;
    SYS_futex_wake = 454: Refused(libc::ENOSYS), [], Never;
    SYS_futex_wait = 455: Refused(libc::ENOSYS), [], Never;
    SYS_futex_requeue = 456: Refused(libc::ENOSYS), [], Never;
    SYS_pkey_alloc: Refused(libc::ENOSPC), [], Never;
    SYS_pkey_free: Refused(libc::EINVAL), [], Never;

    // Calls that x86-64 kernels no longer implement, or never did.
    SYS_uselib: Refused(libc::ENOSYS), [], Never;
    SYS_sysfs: Refused(libc::ENOSYS), [], Never;
    SYS__sysctl: Refused(libc::ENOSYS), [], Never;
    SYS_create_module = 174: Refused(libc::ENOSYS), [], Never;
    SYS_get_kernel_syms = 177: Refused(libc::ENOSYS), [], Never;
    SYS_query_module = 178: Refused(libc::ENOSYS), [], Never;
    SYS_nfsservctl: Refused(libc::ENOSYS), [], Never;
    SYS_getpmsg: Refused(libc::ENOSYS), [], Never;
    SYS_putpmsg: Refused(libc::ENOSYS), [], Never;
    SYS_afs_syscall: Refused(libc::ENOSYS), [], Never;
    SYS_tuxcall: Refused(libc::ENOSYS), [], Never;
    SYS_security: Refused(libc::ENOSYS), [], Never;
    SYS_set_thread_area: Refused(libc::ENOSYS), [], Never;
    SYS_get_thread_area: Refused(libc::ENOSYS), [], Never;
    SYS_lookup_dcookie: Refused(libc::ENOSYS), [], Never;
    SYS_epoll_ctl_old: Refused(libc::ENOSYS), [], Never;
    SYS_epoll_wait_old: Refused(libc::ENOSYS), [], Never;
    SYS_vserver: Refused(libc::ENOSYS), [], Never;
};
