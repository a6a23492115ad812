//! What gdb has asked for and is told, apart from how it asks.
//!
//! Each file has one thing that a debugger remembers, or that it answers with. None of them knows the
//! [`Debugger`](super::Debugger).

pub(super) mod action;
pub(super) mod answers;
pub(super) mod breakpoints;
pub(super) mod files;
pub(super) mod registers;
pub(super) mod threads;
