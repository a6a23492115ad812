//! What runs inside a recorded process: the clock that instrumented code ticks.
//!
//! The crate has two faces. [`layout`] is the memory and the calls that the recorder and the recorded process share;
//! the engine uses it as an ordinary library. With the feature `runtime` it also defines the entry points that
//! instrumented code calls; that form is compiled to a single object and linked into each recorded program.
#![no_std]

pub mod layout;
