//! How processes, tasks and the program end.
//!
//! By themselves, killed, for want of anybody who could go on, or because the time is over. The room stands on the parts of the
//! recording only.

mod limits;
mod processes;
mod states;
