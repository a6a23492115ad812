//! Call sites that are patched to lead into the system-call buffer.
//!
//! A call site is patched when a task reaches it for the second time with a call that the buffer can make. Call sites
//! that earlier attempts of a test have reached are patched before the next attempt begins, and those of a file that
//! processes have reached are patched when the file is mapped again ([`super::known_code`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::rc::Rc;
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::unistd::Pid;
use rrtest_preload::calls::{self, Buffering};
use rrtest_preload::layout::ENTRY;

use super::known_code::Mapped;
use crate::clock::Clock;
use crate::error::Error;
use crate::record::journal::Journal;
use crate::record::step::Flow;
use crate::record::tree::call::Call;
use crate::record::tree::spawned::Maker;
use crate::record::tree::task::Hold;
use crate::record::tree::tasks::Tasks;
use crate::symbols::StackRegisters;
use crate::task::TaskId;
use crate::trace::event::{Event, MovedRead, Patched, Position, Registers};
use crate::tracee::patch::{AROUND, Patch, STUB_LEN, Window, plan};
use crate::tracee::{
    Area, FileState, Memory, Originals, Replaced, SYSCALL_LEN, Stopped, at_operation, code_around,
};

/// How often a task must reach a call site before it is patched.
const HITS: u32 = 2;

/// The number of the address space of the program's first process, until it executes another program.
const FIRST_SPACE: u32 = 0;

/// A call site: number of the address space, and address of the `syscall` instruction.
pub(super) type Site = (u32, u64);

/// Stands in place of an address space's number for a stub that belongs to no call site, or to one of each address
/// space that maps a file.
const NO_CALL: u32 = u32::MAX;

/// At most so many call sites of a file are patched ahead.
const AHEAD_MOST: usize = 512;

/// Plans of call sites that are patched ahead, by stub, file and address; `None` for those that cannot be. With the
/// code for which they were made. The next recording needs the same plans.
static PLANS: LazyLock<Mutex<Plans>> = LazyLock::new(Mutex::default);

type Plans = HashMap<(u64, FileState, u64), (Vec<u8>, Option<MovedRead>)>;

/// For how many call sites plans are kept.
const PLANS_MOST: usize = 4096;

/// How much code behind a call site a plan depends on most.
const BEHIND: usize = 32;

/// Bytes of the stack between clone(2) and the function that wanted a thread, in the unoptimised code of most
/// libraries.
const DEPTH: usize = 12 << 10;

/// What is known of call sites.
#[derive(Clone, Debug, Default)]
pub(in crate::record) struct CallSites {
    /// How often tasks have reached each.
    hits: BTreeMap<Site, u32>,
    /// Patched call sites, by the number of their stub.
    patched: Vec<Site>,
    /// Addresses at which signal handlers have interrupted code, and to which they return.
    returned_to: BTreeSet<u64>,
    /// Offsets of the call sites of files that processes, except for the first, have reached, in that order.
    reached: BTreeMap<FileState, Rc<Vec<u64>>>,
    /// Those that have been patched ahead, by address; `None` for those that cannot be.
    ahead: BTreeMap<(FileState, u64), Option<MovedRead>>,
    /// The addresses of those that cannot be.
    refused: BTreeSet<u64>,
    /// What stood where jumps to stubs stand now.
    originals: Rc<Originals>,
}

impl CallSites {
    /// Returns the patched call sites.
    pub(in crate::record) fn patched(&self) -> &[Site] {
        &self.patched
    }

    /// Returns the program address for which an address in a stub stands, roughly.
    pub(in crate::record) fn original(&self, ip: u64) -> u64 {
        let site = Area::stub_at(ip).and_then(|stub| self.patched.get(stub));
        site.map_or(ip, |(_, address)| address + SYSCALL_LEN)
    }

    /// Returns the registers at which the stack of a task begins that has stopped, as far as code of ours allows.
    pub(in crate::record) fn stack(&self, memory: &Memory, registers: &Registers) -> StackRegisters {
        let registers = at_operation(memory, registers).unwrap_or(*registers);
        StackRegisters { rip: self.original(registers.ip()), rsp: registers.sp(), rbp: registers.bp() }
    }

    /// Notes that a signal handler has interrupted code that will go on at `ip`.
    pub(in crate::record) fn returns_to(&mut self, ip: u64) {
        self.returned_to.insert(ip);
    }

    /// Counts that a task has reached a call site. Returns how often that has happened.
    fn comes_to(&mut self, site: Site) -> u32 {
        let hits = self.hits.entry(site).or_default();
        *hits = hits.saturating_add(1);
        *hits
    }

    /// Returns the offsets of a file's call sites that processes have reached.
    pub(super) fn reached(&self, file: &FileState) -> &[u64] {
        self.reached.get(file).map_or(&[], |sites| sites.as_slice())
    }

    /// Takes over which call sites a copy of the process, and what it has started, have reached.
    pub(in crate::record) fn learn_reached(&mut self, copy: &Self) {
        self.reached.clone_from(&copy.reached);
    }

    /// Notes that a process has reached a call site, if it is in a file's code.
    fn note_reached(&mut self, journal: &Journal, pid: Pid, address: u64) -> Result<(), Error> {
        /// For how many files this is known.
        const FILES_MOST: usize = 256;
        let Some(line) = code_around(pid, address)? else { return Ok(()) };
        let Some(file) = journal.log.mapped((line.dev, line.inode)) else { return Ok(()) };
        let Ok(file) = FileState::of(file) else { return Ok(()) };
        if self.reached.len() >= FILES_MOST && !self.reached.contains_key(&file) {
            return Ok(());
        }
        let sites = Rc::make_mut(self.reached.entry(file).or_default());
        let offset = line.offset + (address - line.start);
        if sites.len() < AHEAD_MOST && !sites.contains(&offset) {
            sites.push(offset);
        }
        Ok(())
    }

    /// Patches the call sites that processes have reached in code that has been mapped and that nobody has executed
    /// yet.
    pub(super) fn patch_ahead(
        &mut self,
        area: &Area,
        memory: &Memory,
        file: &FileState,
        mapped: &Mapped<'_>,
    ) -> Result<Vec<MovedRead>, Error> {
        let Some(reached) = self.reached.get(file).map(Rc::clone) else { return Ok(Vec::new()) };
        let within = mapped.within();
        let mut all = Vec::new();
        for offset in reached.iter().filter(|offset| within.contains(offset)) {
            let site = mapped.address(*offset);
            let patch = match self.ahead.get(&(*file, site)) {
                // Its stub is in place.
                Some(known) => known.clone().map(|known| MovedRead { stub_code: Vec::new(), ..known }),
                None => self.plan_ahead(area, memory, file, mapped, site),
            };
            if let Some(patch) = patch {
                memory.write(patch.site, &patch.code)?;
                all.push(patch);
            } else {
                self.refused.insert(site);
            }
        }
        Ok(all)
    }

    /// Plans how to patch a call site ahead, and gives it a stub. Returns `None` if it cannot be patched.
    fn plan_ahead(
        &mut self,
        area: &Area,
        memory: &Memory,
        file: &FileState,
        mapped: &Mapped<'_>,
        site: u64,
    ) -> Option<MovedRead> {
        let stub = self.next_stub()?;
        let plans = || PLANS.lock().unwrap_or_else(PoisonError::into_inner);
        let end = mapped.start + mapped.len;
        let here = memory.available(site, BEHIND.min(end.saturating_sub(site) as usize));
        let known = plans().get(&(stub, *file, site)).filter(|(code, _)| *code == here).cloned();
        let patch = match known {
            Some((_, patch)) => patch,
            None => {
                let patch = self.plan_in(memory, mapped.start..end, site, stub).map(|patch| {
                    let places = patch.places();
                    MovedRead { site, code: patch.new, stub, stub_code: patch.stub, places }
                });
                let mut plans = plans();
                if plans.len() >= PLANS_MOST {
                    plans.clear();
                }
                plans.insert((stub, *file, site), (here, patch.clone()));
                patch
            }
        };
        let placed = patch.filter(|patch| area.set_stub(stub, &patch.stub_code));
        if placed.is_some() {
            self.patched.push((NO_CALL, site));
        }
        self.ahead.insert((*file, site), placed.clone());
        placed
    }

    /// Plans how to patch a call site of a process. Returns `None` if it cannot be patched.
    ///
    /// # Errors
    /// If the process cannot be inspected.
    pub(in crate::record) fn plan(
        &self,
        pid: Pid,
        memory: &Memory,
        address: u64,
    ) -> Result<Option<Patch>, Error> {
        let Some(stub) = self.next_stub() else { return Ok(None) };
        // Code that the program writes, or shares with others, is left alone.
        let Some(mapped) = code_around(pid, address)? else { return Ok(None) };
        let patch = self.plan_in(memory, mapped.start..mapped.end, address, stub);
        // A site cannot be patched if a handler may return into the middle of what would be overwritten.
        Ok(patch.filter(|patch| !patch.interior().any(|ip| self.returned_to.contains(&ip))))
    }

    /// Plans how to patch a call site in code of a process. Returns `None` if it cannot be patched.
    fn plan_in(&self, memory: &Memory, code: Range<u64>, site: u64, stub: u64) -> Option<Patch> {
        let start = code.start.max(site.saturating_sub(AROUND));
        let end = code.end.min(site.saturating_add(AROUND));
        // A mapping can go on behind the end of its file, where there is nothing to read.
        let mut bytes = memory.available(start, (end - start) as usize);
        // Branches that were moved to stubs still lead here.
        self.originals.put_back(start, &mut bytes);
        let patch = plan(&Window { address: start, bytes: &bytes }, site, stub, ENTRY as u64).ok()?;
        (!self.originals.overlap(&patch.range())).then_some(patch)
    }

    pub(super) fn next_stub(&self) -> Option<u64> {
        Area::stub(self.patched.len())
    }

    /// Gives the next stub, or two of them, to a moved instruction at `site` that is no call. Returns false if there is
    /// no room.
    pub(super) fn add_stub(&mut self, area: &Area, site: u64, code: &[u8]) -> bool {
        let placed = self.next_stub().is_some_and(|stub| area.set_stub(stub, code));
        if placed {
            let count = code.len().div_ceil(STUB_LEN);
            self.patched.extend(std::iter::repeat_n((NO_CALL, site), count));
        }
        placed
    }

    /// Notes that code of the program has been replaced.
    pub(super) fn has_replaced(&mut self, replaced: Replaced) {
        Rc::make_mut(&mut self.originals).add(replaced);
    }

    /// Patches a call site as planned last. The tasks `here` stand at it.
    ///
    /// # Errors
    /// If the code cannot be written.
    pub(in crate::record) fn apply(
        &mut self,
        area: &Area,
        memory: &Memory,
        space: u32,
        patch: Patch,
        here: Vec<TaskId>,
    ) -> Result<Patched, Error> {
        let places = patch.places();
        let Patch { site, new: code, stub: stub_code, traced, .. } = patch;
        let stub = self.next_stub().unwrap_or_default();
        if !area.set_stub(stub, &stub_code) {
            return Err(Error::Bug { what: format!("there is no room for stub {stub} of {site:#x}") });
        }
        memory.write(site, &code)?;
        self.patched.push((space, site));
        Ok(Patched { site, code, stub, stub_code, here, traced, places })
    }
}

impl CallSites {
    /// Patches the call site of a call that a task has reached, if possible. The task stands in the stub then.
    pub(in crate::record) fn patch(
        &mut self,
        tasks: &mut Tasks,
        clock: &Clock,
        journal: &mut Journal,
        id: TaskId,
        stopped: &Stopped,
        registers: &mut Registers,
    ) -> Flow<()> {
        if calls::call(registers.number()).way == Buffering::Stop || Area::is_buffer(registers.ip()) {
            return Ok(());
        }
        let space = tasks.space(id);
        let site = (space.number, registers.ip().wrapping_sub(SYSCALL_LEN));
        let hits = self.comes_to(site);
        // A program that starts no other gains nothing from what is known of its call sites.
        if hits == 1 && space.number != FIRST_SPACE && !self.refused.contains(&site.1) {
            self.note_reached(journal, stopped.tid(), site.1)?;
        }
        // After a failed attempt, the number of visits until the next one doubles: otherwise two tasks that take turns
        // waiting there would prevent it each time, and trying costs more than a call.
        if hits < HITS || !hits.is_power_of_two() {
            return Ok(());
        }
        let Some(patch) = self.plan(stopped.tid(), &space.memory, site.1)? else { return Ok(()) };
        // Another task is in the way; next time there may be none.
        let Some(mut here) = tasks.waiting_at(id, &patch) else { return Ok(()) };
        registers.set_ip(patch.traced);
        stopped.set_registers(registers)?;
        for waiting in &here {
            tasks.move_to(*waiting, patch.traced)?;
        }
        here.insert(0, id);
        let patched = self.apply(clock.area(), &space.memory, space.number, patch, here)?;
        journal.log.push(Event::Patched(patched));
        Ok(())
    }

    /// Saves the stack of a task that is about to create a thread.
    pub(in crate::record) fn maker(&self, tasks: &Tasks, id: TaskId, call: &Call) -> Box<Maker> {
        let memory = &tasks[id].space.memory;
        let registers = self.stack(memory, &call.registers);
        Box::new(Maker { registers, stack: memory.available(registers.rsp, DEPTH) })
    }
}

impl Tasks {
    /// Returns the other tasks that stand at the entry of a call at this site: they can make it in the stub as well.
    /// Returns `None` if a task would go on in the middle of what is overwritten.
    fn waiting_at(&self, id: TaskId, patch: &Patch) -> Option<Vec<TaskId>> {
        let interior: Vec<u64> = patch.interior().collect();
        let (space, entry) = (self[id].space.number, patch.site.wrapping_add(SYSCALL_LEN));
        let mut waiting = Vec::new();
        for task in self.living().filter(|t| t.id != id && t.space.number == space) {
            let free = match task.hold() {
                Hold::Ready(stopped) | Hold::Lent(stopped, _) => {
                    stopped.registers().is_ok_and(|registers| !interior.contains(&registers.ip()))
                }
                Hold::Calling(_, call) | Hold::Waiting(_, call) | Hold::Woken(_, call, _)
                    if call.registers.ip() == entry && call.entered =>
                {
                    waiting.push(task.id);
                    true
                }
                Hold::Calling(_, call)
                | Hold::Again(_, call)
                | Hold::Waiting(_, call)
                | Hold::Woken(_, call, _)
                | Hold::InKernel(_, call)
                | Hold::Returned(_, call)
                | Hold::Suspended(_, Some(call)) => !interior.contains(&call.registers.ip()),
                // Where it goes on is unknown.
                Hold::Suspended(_, None) => false,
                // It goes on in a stub.
                Hold::Parked(_) | Hold::Unparked(_) => true,
                Hold::Running | Hold::Gone => true,
            };
            if !free {
                return None;
            }
        }
        Some(waiting)
    }

    /// Moves a task from the entry of a call to the entry of the same call at `ip`.
    fn move_to(&mut self, id: TaskId, ip: u64) -> Flow<()> {
        let task = self.task(id);
        let left = task.boundary.left;
        if let Some((stopped, call)) = task.at_entry() {
            call.registers.set_ip(ip);
            stopped.set_registers(&call.registers)?;
            task.boundary = Position::of(left, &call.registers);
        }
        Ok(())
    }
}
