//! Descriptors: what a process's refer to, what the kernel tells about them, copies of them, locks on their files.

mod fd;
mod fd_copies;
mod fd_info;
mod locks;
mod mounts;

pub use fd::{Fd, fds, named_fds, socket_inode};
pub use fd_copies::FdCopies;
pub use fd_info::{FdInfo, Timer};
pub use locks::{FileLock, LockKind, LockedFile, file_locks};
pub use mounts::mounted_device;
