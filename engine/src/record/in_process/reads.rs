//! Instructions that read what the program cannot determine: time-stamp counter, random numbers, processor identity.
//!
//! Nothing stops at them: some cannot be trapped on any processor, and the signal that others raise when trapped would
//! affect the program's signal mask and handlers. So they are moved to stubs before they are first executed
//! ([`crate::tracee::reads`]): those of the program and its dynamic linker at execve(2), those of libraries when they
//! are mapped. The buffer logs what they read. An instruction that cannot be moved becomes a trap.
//!
//! The counter is ahead of the machine's by as much as the program's clocks. Random numbers come from the seed, as
//! those of getrandom(2) do. Code that the program itself generates is not searched: what it reads is not recorded,
//! which shows when the trace is verified.

use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, Mutex, PoisonError};

use rrtest_preload::processor::{machine_cpuid, machine_xgetbv};
use rrtest_preload::reads::{Read, What, shown};

use super::call_sites::CallSites;
use super::known_code::Mapped;
use crate::clock::Clock;
use crate::error::Error;
use crate::record::scheduler::Scheduler;
use crate::record::tree::task::Deaf;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::trace::event::{MovedRead, Registers};
use crate::tracee::patch::{AROUND, Window};
use crate::tracee::reads::{MovedRead as Plan, plan_read};
use crate::tracee::{Memory, ReadSite, SignalSet, Stopped, ignore_again, read_sites, signals};

/// What is known of these instructions.
#[derive(Clone, Debug, Default)]
pub(in crate::record) struct Reads {
    /// Moved instructions. A program that is executed again, or a library that is mapped again, at the same place finds
    /// its stubs there.
    moved: BTreeMap<Place, MovedRead>,
    /// Instructions replaced by a trap because they could not be moved, by address.
    pub(in crate::record) traps: BTreeMap<u64, Trapped>,
}

/// An instruction that a trap has replaced.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Trapped {
    pub(in crate::record) what: What,
    pub(in crate::record) len: u8,
}

/// Plans by stub and place; `None` for what cannot be moved. The next recording of the program needs the same plans,
/// and making one takes as long as several calls do.
static PLANS: LazyLock<Mutex<Plans>> = LazyLock::new(Mutex::default);

type Plans = HashMap<(u64, Place), Option<Plan>>;

/// Where an instruction stands, with the code around it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    site: u64,
    what: u32,
    code: Vec<u8>,
}

impl Place {
    /// How far code that is moved with an instruction can be from it.
    const BEFORE: u64 = 112;
    const BEHIND: u64 = 32;
}

/// int3
const TRAP: u8 = 0xcc;

impl Reads {
    /// Moves the instructions in code that has been mapped and that nobody has executed yet.
    pub(super) fn move_reads(
        &mut self,
        clock: &Clock,
        call_sites: &mut CallSites,
        memory: &Memory,
        mapped: &Mapped<'_>,
    ) -> Result<Vec<MovedRead>, Error> {
        // A file that cannot be parsed is no program.
        let Ok(sites) = read_sites(mapped.file) else { return Ok(Vec::new()) };
        let within = mapped.within();
        let mut all = Vec::new();
        for site in sites.iter().filter(|site| within.contains(&site.at)) {
            let moved = self.move_read(clock, call_sites, memory, mapped, site)?;
            memory.write(moved.site, &moved.code)?;
            all.push(moved);
        }
        Ok(all)
    }

    fn move_read(
        &mut self,
        clock: &Clock,
        call_sites: &mut CallSites,
        memory: &Memory,
        mapped: &Mapped<'_>,
        found: &ReadSite,
    ) -> Result<MovedRead, Error> {
        let (site, what) = (mapped.address(found.at), What { linker: mapped.linker, ..found.what });
        let end = mapped.start + mapped.len;
        let code = |before: u64, behind: u64| {
            let start = site.saturating_sub(before).max(mapped.start);
            let bytes = memory.bytes(start, (site.saturating_add(behind).min(end) - start) as usize)?;
            Ok::<_, Error>((start, bytes))
        };
        let place = Place { site, what: what.word(), code: code(Place::BEFORE, Place::BEHIND)?.1 };
        if let Some(moved) = self.moved.get(&place) {
            // Its stub is in place.
            return Ok(MovedRead { stub_code: Vec::new(), ..moved.clone() });
        }
        let stub = call_sites.next_stub().unwrap_or_default();
        let plans = || PLANS.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (stub, place.clone());
        let known = plans().get(&key).cloned();
        let plan = match known {
            Some(plan) => plan,
            None => {
                let (start, bytes) = code(AROUND.max(found.at - found.function), AROUND)?;
                let window = Window { address: start, bytes: &bytes };
                let plan = plan_read(&window, mapped.address(found.function), site, what, stub).ok();
                plans().insert(key, plan.clone());
                plan
            }
        };
        let moved = match plan {
            Some(plan) if call_sites.add_stub(clock.area(), &plan) => {
                MovedRead { site: plan.site, code: plan.new, stub, stub_code: plan.stub, places: plan.places }
            }
            _ => {
                self.traps.insert(site, Trapped { what, len: found.len });
                return Ok(MovedRead {
                    site,
                    code: vec![TRAP],
                    stub: 0,
                    stub_code: Vec::new(),
                    places: Vec::new(),
                });
            }
        };
        self.moved.insert(place, moved.clone());
        Ok(moved)
    }

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
