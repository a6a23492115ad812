//! Call sites that are patched to lead into the system-call buffer.
//!
//! A call site is patched when a task reaches it for the second time with a call that the buffer can make. Call sites
//! that earlier attempts of a test have reached are patched before the next attempt begins.

use std::collections::{BTreeMap, BTreeSet};

use nix::unistd::Pid;
use rrtest_preload::calls::{self, Buffering};
use rrtest_preload::layout::ENTRY;

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
use crate::trace::event::{Event, Patched, Position, Registers};
use crate::tracee::patch::{AROUND, Patch, Window, plan};
use crate::tracee::reads::MovedRead;
use crate::tracee::{Area, Memory, SYSCALL_LEN, Stopped, code_around};

/// How often a task must reach a call site before it is patched.
const HITS: u32 = 2;

/// A call site: number of the address space, and address of the `syscall` instruction.
pub(super) type Site = (u32, u64);

/// Stands in place of an address space's number for a stub that belongs to no call site.
const NO_CALL: u32 = u32::MAX;

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

    /// Notes that a signal handler has interrupted code that will go on at `ip`.
    pub(in crate::record) fn returns_to(&mut self, ip: u64) {
        self.returned_to.insert(ip);
    }

    /// Counts that a task has reached a call site. Returns whether to try to patch it now. After a failed attempt, the
    /// number of visits until the next one doubles: otherwise two tasks that take turns waiting there would prevent it
    /// each time, and trying costs more than a call.
    fn comes_to(&mut self, site: Site) -> bool {
        let hits = self.hits.entry(site).or_default();
        *hits = hits.saturating_add(1);
        *hits >= HITS && hits.is_power_of_two()
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
        let start = mapped.start.max(address.saturating_sub(AROUND));
        let end = mapped.end.min(address.saturating_add(AROUND));
        let code = memory.bytes(start, (end - start) as usize)?;
        let window = Window { address: start, bytes: &code };
        let patch = plan(&window, address, stub, ENTRY as u64).ok();
        // A site cannot be patched if a handler may return into the middle of what would be overwritten.
        Ok(patch.filter(|patch| !patch.interior().any(|ip| self.returned_to.contains(&ip))))
    }

    pub(super) fn next_stub(&self) -> Option<u64> {
        Area::stub(self.patched.len())
    }

    /// Gives the next stub to a moved instruction that is no call. Returns false if there is no room.
    pub(super) fn add_stub(&mut self, area: &Area, moved: &MovedRead) -> bool {
        let placed = self.next_stub().is_some_and(|stub| area.set_stub(stub, &moved.stub));
        if placed {
            self.patched.push((NO_CALL, moved.site));
        }
        placed
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
        if !self.comes_to(site) {
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
        let registers = &call.registers;
        let [rip, rsp, rbp] = [self.original(registers.ip()), registers.sp(), registers.bp()];
        let stack = tasks[id].space.memory.available(rsp, DEPTH);
        Box::new(Maker { registers: StackRegisters { rip, rsp, rbp }, stack })
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
