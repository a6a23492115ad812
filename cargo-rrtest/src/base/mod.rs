//! What every other room uses: exit codes and errors, Ctrl-C, process groups, what `/proc` says, cores, the home
//! directory, colours, words, a hash, and files that are written as a whole.
//!
//! This room stands on no other one.

pub(crate) mod cores;
pub(crate) mod exit;
pub(crate) mod group;
pub(crate) mod hash;
pub(crate) mod home;
pub(crate) mod interrupt;
pub(crate) mod proc;
pub(crate) mod terminal;
pub(crate) mod whole;
pub(crate) mod words;
