//! Instructions that read what the program cannot determine: time-stamp counter, random numbers, processor identity.
//!
//! Nothing stops at them: some cannot be trapped on any processor, and the signal that others raise when trapped would
//! affect the program's signal mask and handlers. So they are moved to stubs before they are first executed
//! ([`super::moved`]), and the buffer logs what they read. An instruction that cannot be moved becomes a trap.
//!
//! The counter is ahead of the machine's by as much as the program's clocks. Random numbers come from the seed, as
//! those of getrandom(2) do. Code that the program itself generates is not searched: what it reads is not recorded,
//! which shows when the trace is verified.

use std::collections::BTreeMap;

use rrtest_preload::processor::{machine_cpuid, machine_xgetbv};
use rrtest_preload::reads::{Read, What, shown};

use crate::clock::Clock;
use crate::error::Error;
use crate::record::scheduler::Scheduler;
use crate::record::tree::task::Deaf;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::trace::event::Registers;
use crate::tracee::{SignalSet, Stopped, ignore_again, signals};

/// What is known of these instructions.
#[derive(Clone, Debug, Default)]
pub(in crate::record) struct Reads {
    /// Instructions replaced by a trap because they could not be moved, by address.
    pub(in crate::record) traps: BTreeMap<u64, Trapped>,
}

/// An instruction that a trap has replaced.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Trapped {
    pub(in crate::record) what: What,
    pub(in crate::record) len: u8,
}

impl Reads {
    /// Prepares for a task to go on: while the program starts up, reads that vary from run to run must stop; and if
    /// there are traps, the task's settings for their signal must be known.
    pub(in crate::record) fn prepare_reads(
        &self,
        tasks: &mut Tasks,
        clock: &Clock,
        scheduler: &Scheduler,
        id: TaskId,
    ) -> Result<(), Error> {
        let traps = !self.traps.is_empty();
        clock.area().set_starting(scheduler.start_up.is_some());
        clock.area().set_masked(traps);
        if traps {
            let says = signals(tasks[id].tid)?;
            let has = |set: SignalSet| set.has(libc::SIGTRAP);
            tasks.task(id).deaf = Deaf { blocks: has(says.blocked), ignores: has(says.ignored) };
        }
        Ok(())
    }
}

impl Tasks {
    /// Reads as the buffer's code does.
    pub(in crate::record) fn read(
        &self,
        clock: &Clock,
        id: TaskId,
        what: What,
        registers: &Registers,
    ) -> (u64, [u32; 4]) {
        let area = clock.area();
        let core = self[id].affinity.trailing_zeros() & 63;
        match what.read {
            Read::Counter | Read::CounterAndCore => (area.counter(), [core, 0, 0, 0]),
            Read::Random => (area.draw_random(), [0; 4]),
            Read::Core => (core.into(), [0; 4]),
            Read::Processor => {
                let leaf = registers.result() as u32;
                let subleaf = registers.rcx() as u32;
                (0, shown(area.processor(), leaf, subleaf, machine_cpuid(leaf, subleaf)))
            }
            Read::States => (area.processor().xgetbv(machine_xgetbv(registers.rcx() as u32)), [0; 4]),
        }
    }

    /// Makes a task block and ignore the trap's signal again, after the signal has been raised.
    pub(in crate::record) fn deafen(&self, id: TaskId, stopped: Stopped) -> Result<Stopped, Error> {
        let Deaf { blocks, ignores } = self[id].deaf;
        let stopped = match ignores {
            true => ignore_again(stopped, &self[id].space.memory, libc::SIGTRAP)?,
            false => stopped,
        };
        if blocks {
            stopped.set_signal_mask(stopped.signal_mask()? | SignalSet::of(&[libc::SIGTRAP]).0)?;
        }
        Ok(stopped)
    }
}
