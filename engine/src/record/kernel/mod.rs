//! What the kernel tells of the program's descriptors: of what they are, and who has the other end.
//!
//! It is asked in `/proc`, over netlink, or by a copy of a descriptor. The room knows no task and no recorder: it is given
//! ids of processes and numbers of descriptors, and gives facts. It stands on [`crate::tracee`] alone.

pub(super) mod call_in_progress;
pub(super) mod fds;
pub(super) mod ipc;
pub(super) mod peers;
pub(super) mod terminals;
pub(super) mod unix_sockets;
