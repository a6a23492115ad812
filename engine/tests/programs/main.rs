//! C programs that do what is hard to record: each is recorded under several seeds and replayed from memory.

mod calls;
#[path = "../common/mod.rs"]
mod common;
mod harness;
mod instructions;
mod memory;
mod peers;
mod processes;
mod signals;
mod spins;
mod starts;
mod surprises;
mod times;
mod turns;
mod waiting;
