//! Calls that are many: a command among their arguments says what they write, or whether ordinary users may make
//! them. Each file has the commands of one call, or of a family; the [table](super::TABLE) refers to them. The room
//! stands on the words of [`describe`](super::describe).

pub(super) mod fcntl;
pub(super) mod ioctl;
pub(super) mod ipc;
pub(super) mod prctl;
pub(super) mod restricted;
pub(super) mod sockopt;
