//! The table.

use super::describe::{
    Block::{Children, Epoll, Inside, Never, Poll, Ppoll, Readable, Writable},
    Class::{Emulated, Logged, Performed, Refused},
    Description, Emulation as E,
    Out::{ArchPrctl, Array, Fcntl, Fixed, Ioctl, Iovec, Items, Message, PerPage, Prctl, Returned, Sized},
    Performance as P,
};

macro_rules! calls {
    ($($constant:ident: $class:expr, [$($out:expr),*], $block:expr $(, $own:ident)?;)*) => {
        &[$(Description {
            number: libc::$constant as u64,
            constant: stringify!($constant),
            class: $class,
            outs: &[$($out),*],
            block: $block,
            own: calls!(@own $($own)?),
        }),*]
    };
    (@own own) => { true };
    (@own) => { false };
}

/// Every call that can be recorded. `own` marks those that concern the calling task alone. Structure sizes are those of the kernel's x86-64 ABI.
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
    SYS_sendfile: Logged, [Fixed(2, 8)], Writable(0);
    SYS_copy_file_range: Logged, [Fixed(1, 8), Fixed(3, 8)], Never;
    SYS_lseek: Logged, [], Never;

    // Opening and closing.
    SYS_open: Logged, [], Inside;
    SYS_openat: Logged, [], Inside;
    SYS_openat2: Logged, [], Inside;
    SYS_creat: Logged, [], Inside;
    SYS_close: Logged, [], Inside;
    SYS_close_range: Logged, [], Never;
    SYS_dup: Logged, [], Never;
    SYS_dup2: Logged, [], Never;
    SYS_dup3: Logged, [], Never;
    SYS_pipe: Logged, [Fixed(0, 8)], Never;
    SYS_pipe2: Logged, [Fixed(0, 8)], Never;
    SYS_eventfd: Logged, [], Never;
    SYS_eventfd2: Logged, [], Never;
    SYS_memfd_create: Logged, [], Never;
    SYS_fcntl: Logged, [Fcntl], Inside;
    SYS_flock: Logged, [], Inside;
    SYS_ioctl: Logged, [Ioctl], Never;

    // Files and directories.
    SYS_stat: Logged, [Fixed(1, 144)], Never;
    SYS_fstat: Logged, [Fixed(1, 144)], Never;
    SYS_lstat: Logged, [Fixed(1, 144)], Never;
    SYS_newfstatat: Logged, [Fixed(2, 144)], Never;
    SYS_statx: Logged, [Fixed(4, 256)], Never;
    SYS_statfs: Logged, [Fixed(1, 120)], Never;
    SYS_fstatfs: Logged, [Fixed(1, 120)], Never;
    SYS_access: Logged, [], Never;
    SYS_faccessat: Logged, [], Never;
    SYS_faccessat2: Logged, [], Never;
    SYS_getdents: Logged, [Returned(1)], Never;
    SYS_getdents64: Logged, [Returned(1)], Never;
    SYS_getcwd: Logged, [Returned(0)], Never;
    SYS_chdir: Logged, [], Never;
    SYS_fchdir: Logged, [], Never;
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
    SYS_sync: Logged, [], Never;
    SYS_syncfs: Logged, [], Never;
    SYS_fsync: Logged, [], Never;
    SYS_fdatasync: Logged, [], Never;
    SYS_sync_file_range: Logged, [], Never;
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

    // Waiting for descriptors.
    SYS_poll: Logged, [Array { at: 0, count: 1, size: 8 }], Poll;
    SYS_ppoll: Logged, [Array { at: 0, count: 1, size: 8 }, Fixed(2, 16)], Ppoll;
    SYS_epoll_create: Logged, [], Never;
    SYS_epoll_create1: Logged, [], Never;
    SYS_epoll_ctl: Logged, [], Never;
    SYS_epoll_wait: Logged, [Items { at: 1, count: 2, size: 12 }], Epoll;
    SYS_epoll_pwait: Logged, [Items { at: 1, count: 2, size: 12 }], Epoll;
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
    SYS_connect: Logged, [], Inside;
    SYS_getsockname: Logged, [Sized { at: 1, len: 2 }], Never;
    SYS_getpeername: Logged, [Sized { at: 1, len: 2 }], Never;
    SYS_getsockopt: Logged, [Sized { at: 3, len: 4 }], Never;
    SYS_setsockopt: Logged, [], Never;
    SYS_shutdown: Logged, [], Never;
    SYS_sendto: Logged, [], Writable(0);
    SYS_recvfrom: Logged, [Returned(1), Sized { at: 4, len: 5 }], Readable(0);
    SYS_sendmsg: Logged, [], Writable(0);
    SYS_recvmsg: Logged, [Message(1)], Readable(0);

    // Memory.
    SYS_mmap: Performed(P::Map), [], Never, own;
    SYS_munmap: Performed(P::Repeat), [], Never, own;
    SYS_mprotect: Performed(P::Repeat), [], Never, own;
    SYS_mremap: Performed(P::Remap), [], Never, own;
    SYS_brk: Performed(P::Break), [], Never, own;
    SYS_madvise: Performed(P::Advise), [], Never, own;
    SYS_mincore: Logged, [PerPage { at: 2, len: 1 }], Never, own;
    SYS_msync: Logged, [], Never;
    SYS_mlock: Logged, [], Never, own;
    SYS_mlock2: Logged, [], Never, own;
    SYS_munlock: Logged, [], Never, own;
    SYS_membarrier: Logged, [], Never, own;

    // Tasks.
    SYS_clone: Performed(P::Clone), [], Never;
    SYS_clone3: Performed(P::Clone), [], Never;
    SYS_fork: Performed(P::Clone), [], Never;
    SYS_vfork: Performed(P::Clone), [], Never;
    SYS_execve: Performed(P::Execute), [], Never;
    SYS_execveat: Performed(P::Execute), [], Never;
    SYS_wait4: Logged, [Fixed(1, 4), Fixed(3, 144)], Children;
    SYS_waitid: Logged, [Fixed(2, 128), Fixed(4, 144)], Children;
    SYS_exit: Performed(P::Exit), [], Never;
    SYS_exit_group: Performed(P::ExitGroup), [], Never;
    SYS_set_tid_address: Performed(P::Same), [], Never, own;
    SYS_set_robust_list: Performed(P::Repeat), [], Never, own;
    SYS_arch_prctl: Performed(P::Same), [ArchPrctl], Never, own;
    SYS_futex: Emulated(E::Futex), [], Never;
    SYS_sched_yield: Emulated(E::Yield), [], Never;
    SYS_gettid: Emulated(E::Identity), [], Never, own;
    SYS_getpid: Emulated(E::Identity), [], Never, own;
    SYS_getppid: Logged, [], Never, own;
    SYS_getpgrp: Logged, [], Never, own;
    SYS_getpgid: Logged, [], Never, own;
    SYS_setpgid: Logged, [], Never;
    SYS_getsid: Logged, [], Never, own;
    SYS_getuid: Logged, [], Never, own;
    SYS_geteuid: Logged, [], Never, own;
    SYS_getgid: Logged, [], Never, own;
    SYS_getegid: Logged, [], Never, own;
    SYS_getresuid: Logged, [Fixed(0, 4), Fixed(1, 4), Fixed(2, 4)], Never, own;
    SYS_getresgid: Logged, [Fixed(0, 4), Fixed(1, 4), Fixed(2, 4)], Never, own;
    SYS_getgroups: Logged, [Items { at: 1, count: 0, size: 4 }], Never, own;
    SYS_prctl: Logged, [Prctl], Never, own;
    SYS_getpriority: Logged, [], Never, own;
    SYS_setpriority: Logged, [], Never;
    SYS_sched_getaffinity: Emulated(E::GetAffinity), [], Never, own;
    SYS_sched_setaffinity: Emulated(E::Nothing), [], Never, own;
    SYS_sched_getscheduler: Logged, [], Never, own;
    SYS_sched_getparam: Logged, [Fixed(1, 4)], Never, own;
    SYS_sched_get_priority_max: Logged, [], Never, own;
    SYS_sched_get_priority_min: Logged, [], Never, own;
    SYS_getcpu: Emulated(E::Getcpu), [], Never, own;

    // Signals.
    SYS_rt_sigaction: Logged, [Fixed(2, 32)], Never, own;
    SYS_rt_sigprocmask: Emulated(E::SignalMask), [], Never, own;
    SYS_rt_sigpending: Logged, [Fixed(0, 8)], Never, own;
    SYS_rt_sigreturn: Performed(P::SignalReturn), [], Never, own;
    SYS_sigaltstack: Logged, [Fixed(1, 24)], Never, own;
    SYS_kill: Logged, [], Never;
    SYS_tkill: Logged, [], Never;
    SYS_tgkill: Logged, [], Never;

    // Time.
    SYS_clock_gettime: Emulated(E::ClockGettime), [Fixed(1, 16)], Never, own;
    SYS_clock_getres: Logged, [Fixed(1, 16)], Never, own;
    SYS_gettimeofday: Emulated(E::Gettimeofday), [], Never, own;
    SYS_time: Emulated(E::Time), [], Never, own;
    SYS_times: Logged, [Fixed(0, 32)], Never, own;
    SYS_nanosleep: Emulated(E::Nanosleep), [], Never;
    SYS_clock_nanosleep: Emulated(E::ClockNanosleep), [], Never;

    // The system.
    SYS_uname: Logged, [Fixed(0, 390)], Never, own;
    SYS_sysinfo: Logged, [Fixed(0, 112)], Never, own;
    SYS_getrusage: Logged, [Fixed(1, 144)], Never, own;
    SYS_getrlimit: Logged, [Fixed(1, 16)], Never, own;
    SYS_setrlimit: Logged, [], Never;
    SYS_prlimit64: Logged, [Fixed(3, 16)], Never;
    SYS_getrandom: Emulated(E::Getrandom), [], Never, own;

    // What cannot be recorded and need not be: programs cope with kernels and sandboxes that lack it.
    SYS_rseq: Refused(libc::ENOSYS), [], Never, own;
    SYS_io_uring_setup: Refused(libc::ENOSYS), [], Never, own;
    SYS_io_uring_enter: Refused(libc::ENOSYS), [], Never;
    SYS_io_uring_register: Refused(libc::ENOSYS), [], Never;
    SYS_splice: Refused(libc::EINVAL), [], Never;
    SYS_tee: Refused(libc::EINVAL), [], Never;
    SYS_vmsplice: Refused(libc::EINVAL), [], Never;
    SYS_userfaultfd: Refused(libc::ENOSYS), [], Never, own;
    SYS_perf_event_open: Refused(libc::EACCES), [], Never, own;
    SYS_bpf: Refused(libc::EPERM), [], Never, own;
    SYS_seccomp: Refused(libc::EINVAL), [], Never, own;
    SYS_ptrace: Refused(libc::EPERM), [], Never;
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
    SYS_settimeofday: Refused(libc::EPERM), [], Never;
    SYS_clock_settime: Refused(libc::EPERM), [], Never;
};

/// Names of calls that programs make but that are not described, for messages.
pub(super) fn undescribed(number: u64) -> Option<&'static str> {
    macro_rules! names {
        ($($constant:ident)*) => { &[$((libc::$constant as u64, stringify!($constant))),*] };
    }
    const NAMES: &[(u64, &str)] = names! {
        SYS_select SYS_pselect6 SYS_epoll_pwait2
        SYS_shmget SYS_shmat SYS_shmctl SYS_shmdt SYS_semget SYS_semop SYS_semctl SYS_semtimedop SYS_msgget SYS_msgsnd
        SYS_msgrcv SYS_msgctl SYS_mq_open SYS_mq_unlink SYS_mq_timedsend SYS_mq_timedreceive SYS_mq_notify
        SYS_mq_getsetattr SYS_pause SYS_alarm SYS_getitimer SYS_setitimer SYS_timer_create SYS_timer_settime
        SYS_timer_gettime SYS_timer_delete SYS_timer_getoverrun SYS_signalfd SYS_signalfd4 SYS_rt_sigsuspend
        SYS_rt_sigtimedwait SYS_rt_sigqueueinfo SYS_rt_tgsigqueueinfo SYS_pidfd_open SYS_pidfd_getfd
        SYS_pidfd_send_signal SYS_process_vm_readv SYS_process_vm_writev SYS_process_madvise SYS_recvmmsg SYS_sendmmsg
        SYS_setsid SYS_setuid SYS_setgid SYS_setreuid SYS_setregid
        SYS_setresuid SYS_setresgid SYS_setgroups SYS_capget SYS_capset SYS_unshare SYS_setns SYS_chroot
        SYS_pivot_root SYS_mbind SYS_set_mempolicy SYS_get_mempolicy SYS_move_pages
        SYS_migrate_pages SYS_mlockall SYS_munlockall SYS_remap_file_pages SYS_pkey_mprotect SYS_pkey_alloc
        SYS_pkey_free SYS_get_robust_list SYS_futex_waitv SYS_sched_setscheduler SYS_sched_setparam SYS_sched_setattr
        SYS_sched_getattr SYS_sched_rr_get_interval SYS_fanotify_init SYS_fanotify_mark SYS_name_to_handle_at
        SYS_open_by_handle_at SYS_fsopen SYS_fsmount SYS_open_tree SYS_move_mount SYS_mount_setattr SYS_memfd_secret
        SYS_landlock_create_ruleset SYS_landlock_add_rule SYS_landlock_restrict_self SYS_add_key SYS_request_key
        SYS_keyctl SYS_acct SYS_quotactl SYS_sethostname SYS_setdomainname SYS_iopl SYS_ioperm SYS_modify_ldt
        SYS_personality SYS_ustat SYS_sysfs SYS_vhangup SYS_syslog SYS_io_setup SYS_io_destroy SYS_io_submit
        SYS_io_cancel SYS_io_getevents SYS_ioprio_set SYS_ioprio_get SYS_kcmp SYS_restart_syscall SYS_adjtimex
        SYS_clock_adjtime SYS_lookup_dcookie SYS_process_mrelease SYS_fchmodat2
    };
    NAMES.iter().find(|(n, _)| *n == number).and_then(|(_, name)| name.strip_prefix("SYS_"))
}
