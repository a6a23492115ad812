//! A machine for tests of strategies: it runs small programs, whose every step is a tick, and tells how they end.

pub(super) mod programs;
mod simulator;

pub(super) use simulator::{Outcome, Program, Run, run};
