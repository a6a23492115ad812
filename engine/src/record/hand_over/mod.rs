//! Tasks that give each other the core without a stop.
//!
//! Before a task goes on the process is told what it may decide itself ([`prepare`]); when one stops, it may be another than the one
//! that went on ([`stops`]). What they have done meanwhile is taken over in [`follow`](super::follow). The room stands on
//! [`wait`](super::wait).

mod prepare;
mod stops;
