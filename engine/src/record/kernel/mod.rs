//! What the kernel reports about the program's descriptors: what they refer to, and who has the other end.
//!
//! The sources are `/proc`, netlink, and copies of descriptors. The room knows no task and no recorder: it takes
//! process ids and descriptor numbers, and returns facts. It stands on [`crate::tracee`] alone.

pub(super) mod call_in_progress;
pub(super) mod fds;
pub(super) mod ipc;
pub(super) mod peers;
pub(super) mod quota;
pub(super) mod terminals;
pub(super) mod unix_sockets;
