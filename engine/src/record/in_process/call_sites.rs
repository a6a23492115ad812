//! Call sites that lead into the system-call buffer.
//!
//! One is patched when a task comes to it for the second time with a call that the buffer can make. Those that earlier attempts
//! of a test have come to are patched before a further one begins.

use std::collections::{BTreeMap, BTreeSet};

use nix::unistd::Pid;
use rrtest_preload::calls::{self, Way};
use rrtest_preload::layout::ENTRY;

use crate::error::Error;
use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::record::tree::tasks::Hold;
use crate::task::TaskId;
use crate::trace::event::{Event, Patched, Position, Registers};
use crate::tracee::patch::{AROUND, Patch, Window, plan};
use crate::tracee::reads::MovedRead;
use crate::tracee::{Area, Memory, SYSCALL_LEN, Stopped, code_around, os};

/// How often a task comes to a call site before it is patched.
const HITS: u32 = 2;

/// A call site: the number of its address space, and the address of the `syscall` instruction.
pub(super) type Site = (u32, u64);

/// In place of the number of an address space: it is no call site.
const NO_CALL: u32 = u32::MAX;

/// What is known of call sites.
#[derive(Clone, Debug, Default)]
pub(in crate::record) struct CallSites {
    /// How often tasks have come to them.
    hits: BTreeMap<Site, u32>,
    /// Those that lead to the stubs, by the stubs' numbers.
    patched: Vec<Site>,
    /// Where handlers of signals have interrupted something, and return to.
    returned_to: BTreeSet<u64>,
}

impl CallSites {
    /// Those that have been patched.
    pub(in crate::record) fn patched(&self) -> &[Site] {
        &self.patched
    }

    /// The address in the program's code that one in a stub stands for, roughly.
    pub(in crate::record) fn original(&self, ip: u64) -> u64 {
        let site = Area::stub_at(ip).and_then(|stub| self.patched.get(stub));
        site.map_or(ip, |(_, address)| address + SYSCALL_LEN)
    }

    /// A handler has interrupted something that goes on at `ip` later.
    pub(in crate::record) fn returns_to(&mut self, ip: u64) {
        self.returned_to.insert(ip);
    }

    /// A task comes to a call site. Whether that is to be patched now. Where it could not be, it is looked at again after
    /// twice as many times: two tasks that wait at the same place in turn would else be in each other's way for ever, and
    /// looking costs more than a call.
    fn comes_to(&mut self, site: Site) -> bool {
        let hits = self.hits.entry(site).or_default();
        *hits = hits.saturating_add(1);
        *hits >= HITS && hits.is_power_of_two()
    }

    /// How a call site of a process can be patched, if it can.
    ///
    /// # Errors
    /// If the process cannot be looked at.
    pub(in crate::record) fn plan(
        &self,
        pid: Pid,
        memory: &Memory,
        address: u64,
    ) -> Result<Option<Patch>, Error> {
        let Some(stub) = self.next_stub() else { return Ok(None) };
        // Code that the program writes, or that others see, is left alone.
        let Some(mapped) = code_around(pid, address)? else { return Ok(None) };
        let start = mapped.start.max(address.saturating_sub(AROUND));
        let end = mapped.end.min(address.saturating_add(AROUND));
        let code = memory.bytes(start, (end - start) as usize)?;
        let window = Window { address: start, bytes: &code };
        let patch = plan(&window, address, stub, ENTRY as u64).ok();
        // Where a handler returns to the middle of what is overwritten, it stays.
        Ok(patch.filter(|patch| !patch.interior().any(|ip| self.returned_to.contains(&ip))))
    }

    pub(super) fn next_stub(&self) -> Option<u64> {
        Area::stub(self.patched.len())
    }

    /// The next stub is that of an instruction of another kind. False if there is no room for it.
    pub(super) fn add_stub(&mut self, area: &Area, moved: &MovedRead) -> bool {
        let placed = self.next_stub().is_some_and(|stub| area.set_stub(stub, &moved.stub));
        if placed {
            self.patched.push((NO_CALL, moved.site));
        }
        placed
    }

    /// Patch a call site as was planned last. These tasks stand there.
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
            return Err(os("place a stub")(std::io::ErrorKind::InvalidInput.into()));
        }
        memory.write(site, &code)?;
        self.patched.push((space, site));
        Ok(Patched { site, code, stub, stub_code, here, traced, places })
    }
}

impl Recorder<'_> {
    /// A task has come to a call. If its call site can be made to lead into the buffer, it does from now on, and the
    /// task stands in the stub.
    pub(in crate::record) fn patch(
        &mut self,
        id: TaskId,
        stopped: &Stopped,
        registers: &mut Registers,
    ) -> Flow<()> {
        if calls::call(registers.number()).way == Way::Stop || Area::is_buffer(registers.ip()) {
            return Ok(());
        }
        let space = self.space(id);
        let site = (space.number, registers.ip().wrapping_sub(SYSCALL_LEN));
        if !self.call_sites.comes_to(site) {
            return Ok(());
        }
        let Some(patch) = self.call_sites.plan(stopped.tid(), &space.memory, site.1)? else { return Ok(()) };
        // Perhaps nobody is in the way another time.
        let Some(mut here) = self.waiting_at(id, &patch) else { return Ok(()) };
        registers.set_ip(patch.traced);
        stopped.set_registers(registers)?;
        for waiting in &here {
            self.move_to(*waiting, patch.traced)?;
        }
        here.insert(0, id);
        let patched = self.call_sites.apply(self.clock.area(), &space.memory, space.number, patch, here)?;
        self.log.push(Event::Patched(patched));
        Ok(())
    }

    /// Those but this one that stand at the entry of a call at the site: they can make it in the stub as well. None if
    /// somebody would go on in the middle of what is overwritten.
    fn waiting_at(&self, id: TaskId, patch: &Patch) -> Option<Vec<TaskId>> {
        let interior: Vec<u64> = patch.interior().collect();
        let (space, entry) = (self.tasks[id].space.number, patch.site.wrapping_add(SYSCALL_LEN));
        let mut waiting = Vec::new();
        for task in self.tasks.living().filter(|t| t.id != id && t.space.number == space) {
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
                // Where it goes on is not known.
                Hold::Suspended(_, None) => false,
                // Where it goes on is in a stub.
                Hold::Parked(_) | Hold::Unparked(_) => true,
                Hold::Running | Hold::Gone => true,
            };
            if !free {
                return None;
            }
        }
        Some(waiting)
    }

    /// A task that stands at the entry of a call stands at the same one elsewhere.
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
