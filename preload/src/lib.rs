//! What runs inside a recorded process: the clock that instrumented code ticks.
//!
//! The crate has two faces. As an ordinary library it is constants: [`layout`] is the memory and the calls that the recorder
//! and the recorded process share, [`flags`] is how both sides of the clock are compiled. With the feature `runtime` it also
//! defines the entry points that instrumented code calls; that form is compiled to a single object and linked into
//! each recorded program.
#![no_std]
// The runtime must not call libc: without this, the compiler may turn its loops into calls of memcpy and memset.
#![cfg_attr(feature = "runtime", no_builtins)]

pub mod flags;
pub mod layout;
#[cfg(feature = "runtime")]
mod runtime;
