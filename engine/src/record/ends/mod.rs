//! The ends of tasks, processes and the program.
//!
//! They end by themselves, are killed, are deadlocked, or run out of time. The room stands on the parts of the
//! recording only.

mod limits;
mod processes;
mod states;
