//! The build of the tests, with the clock compiled in.
//!
//! [`cargo`] builds what the user's [`selection`] and [`config`] ask for, in one `cargo test`. [`instrument`] and [`c_code`] say how compilers put
//! the clock in, [`wrapper`] passes that on to rustc, and [`toolchain`] tells whether rustc can. [`front_end`] has others call cargo.
//!
//! This room stands on [`discover`](crate::discover), which gets each test binary from that command, and on [`base`](crate::base).

mod c_code;
pub(crate) mod cargo;
pub(crate) mod config;
pub(crate) mod front_end;
pub(crate) mod instrument;
pub(crate) mod jobs;
pub(crate) mod selection;
pub(crate) mod toolchain;
pub(crate) mod wrapper;
