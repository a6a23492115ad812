//! What runs inside a recorded process: the clock that instrumented code ticks, and the system-call buffer.
//!
//! The crate is compiled in three ways. As an ordinary library it provides constants: [`layout`] is the memory and the
//! calls that recorder and recorded process share, [`calls`] says which calls are made without a stop, [`flags`] says
//! how the other two forms are compiled, and [`BUFFER`] is the last of them, ready to be loaded into a process. With
//! the feature `runtime` it defines the entry points that instrumented code calls; that form is compiled to a single
//! object and linked into each recorded program. With the feature `buffer` it is the code of the system-call buffer,
//! which the recorder maps into every process, instrumented or not, always at the same address.
#![cfg_attr(not(test), no_std)]
// Code inside a program must not call libc: otherwise the compiler may turn its loops into calls to memcpy and memset.
#![cfg_attr(any(feature = "runtime", feature = "buffer"), no_builtins)]
#![cfg_attr(all(rrtest_image, feature = "buffer"), no_main)]

#[cfg(feature = "buffer")]
mod buffer;
pub mod calls;
pub mod flags;
pub mod layout;
#[cfg(any(feature = "buffer", not(rrtest_image)))]
pub mod objects;
#[cfg(any(feature = "buffer", not(rrtest_image)))]
pub mod processor;
#[cfg(any(feature = "buffer", not(rrtest_image)))]
pub mod random;
#[cfg(any(feature = "buffer", not(rrtest_image)))]
pub mod reads;
#[cfg(feature = "runtime")]
mod runtime;
#[cfg(any(feature = "buffer", not(rrtest_image)))]
pub mod turns;

/// The system-call buffer's code, for [`layout::BUFFER`].
#[cfg(not(rrtest_image))]
pub const BUFFER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/buffer"));
