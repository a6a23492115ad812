//! Letting the running task go on while something else than events is stopped for: ticks, instructions, breakpoints,
//! watchpoints.
//!
//! The code of the system-call buffer and its stubs is not the program's: a task that stops within goes on until it
//! is where the program could be. Tasks hand the core over by us and not among themselves, so that the debug
//! registers of who runs are set, and traps stand in its code.

use rrtest_preload::layout::{Entry, HandOver, SYS_READ, SYS_TICK};

use super::apply::async_stop::Sought;
use super::planted::Planted;
use super::state::At;
use super::step::{Arrival, Flow, Step, Unfinished};
use super::stops::Why;
use crate::error::Error;
use crate::task::TaskId;
use crate::tracee::{
    Area, DebugRegisters, Memory, Point, Registers, Resume, SYSCALL_LEN, Stop, Stopped, at_operation,
    debug_status, patch,
};

/// What has been set up for the running task to go on with.
struct Leg {
    how: Resume,
    /// By how much the countdown is less than it should be.
    less: u64,
    /// Where a task in code of ours comes out of it, of which it is one.
    out: Vec<u64>,
    /// The traps in the task's code.
    planted: Planted,
    /// Whether the instruction to be stepped over pushes the flags.
    pushes_flags: bool,
}

/// Where a step of an instruction has begun.
#[derive(Clone, Copy)]
struct From {
    /// Where that is in the program.
    start: Option<u64>,
    /// Where the task was last in a stub.
    stub: Option<u64>,
}

/// What a stop means.
enum Verdict {
    GoesOn,
    Arrived,
    Halted(Why),
    HandsOver,
}

/// Codes of SIGTRAP (sigaction(2), and `user_single_step_report` of the kernel for the end of a call).
const TRAP: i32 = 0x80;
const STEP: i32 = 2;
const STEP_AFTER_CALL: i32 = 1;
const HARDWARE: i32 = 4;

impl Step<'_, '_> {
    /// As [`Self::advance`]; what is `sought` is a moment in the middle of user code.
    pub(super) fn advance_watched(&mut self, sought: Option<&Sought<'_>>) -> Flow<Arrival> {
        let mut stopped = self.take_ready()?;
        let mut before = stopped.registers()?;
        if let Some(sought) = sought
            && sought.is_here(&stopped, before, &self.memory())?
        {
            return Ok(Arrival { stopped, stop: Stop::Signal(libc::SIGTRAP), registers: before });
        }
        let start = self.visible(self.state.current, &before).map(|registers| registers.ip());
        let mut from = From { start, stub: None };
        loop {
            from.stub = Area::is_buffer(before.ip()).then_some(from.stub).flatten();
            from.stub = Area::stub_at(before.ip()).map(|_| before.ip()).or(from.stub);
            let passes = self.stops.told.take() == Some(before.ip());
            if let Some(at) = self.breakpoint_at(&before)
                && !passes
            {
                return self.halted(stopped, Why::Breakpoint(at));
            }
            let mut leg = self.prepare(&stopped, &before, sought, from)?;
            let memory = self.memory();
            let stop;
            self.stops.has_run = true;
            (stopped, stop) = self.resume(stopped, leg.how)?;
            let mut registers = stopped.registers()?;
            leg.planted.take_out(&memory);
            let mut came_to = None;
            if stop == Stop::Signal(libc::SIGTRAP)
                && let Some(place) = leg.planted.stopped_at(registers.ip())
                && stopped.signal_info()?.si_code == TRAP
            {
                registers.set_ip(place);
                stopped.set_registers(&registers)?;
                came_to = Some(place);
            }
            let area = &self.live.area;
            let counted = area.countdown();
            area.set_countdown(counted.saturating_add(leg.less));
            if leg.pushes_flags && registers.ip() != before.ip() {
                hide_stepping(&self.memory(), registers.sp())?;
            }
            let verdict = match stop {
                Stop::Signal(libc::SIGTRAP) => {
                    self.trapped(&stopped, (&before, &registers, came_to), &leg, sought, from)?
                }
                Stop::Seccomp => self.called(&stopped, registers, &leg, counted)?,
                Stop::Event => Verdict::GoesOn,
                _ => Verdict::Arrived,
            };
            match verdict {
                Verdict::GoesOn => before = stopped.registers()?,
                Verdict::Arrived => return self.arrived(stopped, stop, registers),
                Verdict::Halted(why) => return self.halted(stopped, why),
                Verdict::HandsOver => {
                    self.hand_over(stopped, &registers)?;
                    stopped = self.take_ready()?;
                    if self.stops.instruction {
                        return self.halted(stopped, Why::Instruction);
                    }
                    if self.stops.until.is_some_and(|until| self.total() >= until) {
                        return self.halted(stopped, Why::Ticks);
                    }
                    before = stopped.registers()?;
                    from = From { start: None, stub: None };
                }
            }
        }
    }

    fn halted(&mut self, stopped: Stopped, why: Why) -> Flow<Arrival> {
        self.stops.pending = None;
        self.stops.told = Some(stopped.registers()?.ip());
        self.ready(stopped);
        Err(Unfinished::Halted(why))
    }

    /// Ticks of all tasks so far.
    pub(super) fn total(&self) -> u64 {
        self.state.count.total(self.live.area.countdown())
    }

    /// Returns the breakpoint at which the running task stands, as an address of the program's.
    fn breakpoint_at(&self, registers: &Registers) -> Option<u64> {
        if self.stops.breakpoints.is_empty() {
            return None;
        }
        let address = self.visible(self.state.current, registers)?.ip();
        let originals = &self.state.spaces[self.state.running().space].originals;
        // A task that has been given its turn and has not taken it stands elsewhere.
        let stands = originals.place_of(address) == registers.ip();
        (stands && self.stops.breakpoints.contains(&address)).then_some(address)
    }

    /// Have the running task stop where it is to stop.
    fn prepare(
        &mut self,
        stopped: &Stopped,
        before: &Registers,
        sought: Option<&Sought<'_>>,
        from: From,
    ) -> Result<Leg, Error> {
        let area = &self.live.area;
        area.set_log_end(self.next_hand_over().unwrap_or(self.state.log.len));
        let left = area.countdown();
        let most = self.stops.until.map(|until| until.saturating_sub(self.total()).max(1));
        // Where what is sought comes first, the countdown is as it was, which may be looked at.
        let sought = sought.filter(|sought| {
            let ticks = left.saturating_sub(sought.left());
            self.next_hand_over().is_none() && most.is_none_or(|most| ticks < most)
        });
        let less = match (most, sought) {
            (Some(most), None) => left.saturating_sub(most),
            _ => 0,
        };
        area.set_countdown(left - less);
        let originals = &self.state.spaces[self.state.running().space].originals;
        let mut places: Vec<u64> =
            self.stops.breakpoints.iter().map(|address| originals.place_of(*address)).collect();
        places.extend((less > 0).then(Area::tick_code));
        places.extend(sought.and_then(Sought::breakpoint));
        // A task that stands at a trap's place gets past it by a step.
        let is_at_one = places.contains(&before.ip());
        let hidden = self.visible(self.state.current, before).is_none();
        let hidden = hidden || self.is_in_turn(self.state.current, before).is_some();
        let out = if hidden && (self.stops.instruction || self.stops.pending.is_some()) {
            self.way_out(before, from)
        } else {
            Vec::new()
        };
        places.extend(&out);
        let steps = self.stops.instruction || is_at_one;
        let code = if steps { self.memory().available(before.ip(), 2) } else { Vec::new() };
        // At a call it stops anyway, and its flags are in a register then. In code of ours it goes on to where it
        // comes out, which is an event if nothing else is known.
        let goes_on = code == [0x0f, 0x05] || hidden;
        let how = if steps && !goes_on { Resume::Step } else { Resume::Freely };
        let watched = self.stops.watched;
        self.live.handle(self.state.current).watch(stopped, &watched)?;
        // One instruction comes to no trap but that in front of it.
        let places = if how == Resume::Step { Vec::new() } else { places };
        let places = places.into_iter().filter(|place| *place != before.ip()).collect();
        let planted = Planted::plant(&self.memory(), places);
        let pushes_flags = how == Resume::Step && pushes_flags(&code);
        Ok(Leg { how, less, out, planted, pushes_flags })
    }

    /// Where in the log the next hand-over is, up to which the buffer may go.
    fn next_hand_over(&self) -> Option<u64> {
        let entry = Entry::size(size_of::<HandOver>()) as u64;
        self.state.log.hand_overs.front().map(|(end, _)| end.saturating_sub(entry))
    }

    /// The task has stopped at a call.
    fn called(
        &mut self,
        stopped: &Stopped,
        mut registers: Registers,
        leg: &Leg,
        counted: u64,
    ) -> Flow<Verdict> {
        let (area, number) = (&self.live.area, registers.number());
        if self.is_passed(stopped, Stop::Seccomp, registers)? {
            return Ok(Verdict::GoesOn);
        }
        if number == SYS_TICK as u64 || number == SYS_READ as u64 {
            return Ok(Verdict::Arrived);
        }
        let stub = registers.ip().wrapping_sub(patch::DONE);
        let is_in_stub = Area::stub_at(stub).and_then(Area::stub) == Some(stub);
        let left_to_take = self.next_hand_over().unwrap_or(self.state.log.len).saturating_sub(area.cursor());
        if is_in_stub && left_to_take == 0 && self.next_hand_over().is_some() {
            return Ok(Verdict::HandsOver);
        }
        // The buffer has stopped short of the countdown's end: the call is still to come to it.
        if is_in_stub && left_to_take > 0 && leg.less > 0 && counted == 1 {
            registers.set_ip(stub + patch::ENTRY);
            registers.set_result(number.cast_signed());
            registers.set_number(u64::MAX);
            stopped.set_registers(&registers)?;
            self.stops.ahead = 1;
            return Ok(Verdict::Halted(Why::Ticks));
        }
        Ok(Verdict::Arrived)
    }

    /// The task has stopped with SIGTRAP.
    fn trapped(
        &mut self,
        stopped: &Stopped,
        (before, registers, came_to): (&Registers, &Registers, Option<u64>),
        leg: &Leg,
        sought: Option<&Sought<'_>>,
        from: From,
    ) -> Flow<Verdict> {
        let memory = self.memory();
        if let Some(sought) = sought
            && sought.is_hit(registers)
        {
            if sought.is_here(stopped, *registers, &memory)? {
                return Ok(Verdict::Arrived);
            }
            if !self.stops.instruction {
                return Ok(Verdict::GoesOn);
            }
        }
        let code = stopped.signal_info()?.si_code;
        if came_to.is_none() && !matches!(code, STEP | STEP_AFTER_CALL | HARDWARE) {
            return Ok(Verdict::Arrived);
        }
        let set = self.live.handle(self.state.current).debug;
        let hit: Vec<Point> = set.hit(debug_status(stopped)?).collect();
        if leg.less > 0 && came_to == Some(Area::tick_code()) {
            let mut registers = *registers;
            let area = &self.live.area;
            registers.count_on(registers.result().cast_unsigned(), area.kept(), area.countdown());
            stopped.set_registers(&registers)?;
            return Ok(Verdict::Halted(Why::Ticks));
        }
        let visible = self.visible(self.state.current, registers).map(|visible| visible.ip());
        if let Some(why) = self.met(&memory, &hit, came_to, visible) {
            if visible.is_some() {
                return Ok(Verdict::Halted(why));
            }
            self.stops.pending = Some(why);
        }
        if let Some(why) = self.stops.pending.filter(|_| visible.is_some()) {
            return Ok(Verdict::Halted(why));
        }
        let comes_out = came_to.is_some_and(|place| leg.out.contains(&place));
        if !self.stops.instruction || code != STEP && code != STEP_AFTER_CALL && !comes_out {
            return Ok(Verdict::GoesOn);
        }
        let stays = code == STEP_AFTER_CALL && registers.ip() == before.ip();
        let is_ours = Area::is_buffer(before.ip()) || Area::is_buffer(registers.ip());
        let progress = visible.is_some() && !stays && !(is_ours && visible == from.start);
        Ok(if progress { Verdict::Halted(Why::Instruction) } else { Verdict::GoesOn })
    }

    /// What of that was asked for.
    fn met(
        &mut self,
        memory: &Memory,
        hit: &[Point],
        came_to: Option<u64>,
        visible: Option<u64>,
    ) -> Option<Why> {
        if let Some(watched) = self.stops.watched.points().filter(|point| hit.contains(point)).last() {
            hit.iter().for_each(|point| self.stops.note(memory, *point));
            return Some(Why::Watchpoint(watched.address()));
        }
        let originals = &self.state.spaces[self.state.running().space].originals;
        let is_hit = |address: &&u64| came_to == Some(originals.place_of(**address));
        let address = self.stops.breakpoints.iter().find(is_hit)?;
        Some(Why::Breakpoint(visible.unwrap_or(*address)))
    }

    /// The registers of a stopped task as they would be without the code of ours in its process; none if it is where
    /// the program could not be.
    pub(super) fn visible(&self, id: TaskId, registers: &Registers) -> Option<Registers> {
        let mut visible = self.is_in_turn(id, registers).unwrap_or(*registers);
        if Area::is_buffer(visible.ip()) {
            let space = self.state.tasks[id.0 as usize].space;
            visible = at_operation(&self.live.memories[space], &visible).unwrap_or(visible);
            visible.set_ip(self.state.spaces[space].originals.original(visible.ip())?);
        }
        Some(visible)
    }

    /// The registers with which a task goes on that has been given its turn and has not taken it yet.
    fn is_in_turn(&self, id: TaskId, registers: &Registers) -> Option<Registers> {
        let task = &self.state.tasks[id.0 as usize];
        let slot =
            task.slot.filter(|slot| matches!(task.at, At::Ready) && Area::is_parked(*slot, registers))?;
        let mut registers = self.live.area.parked_registers(slot, registers);
        registers.set_number(u64::MAX);
        Some(registers)
    }

    /// Where a task comes by that is in code of ours, once it is where the program could be, or as good as there: one of
    /// these places. None if it is not known.
    fn way_out(&self, registers: &Registers, from: From) -> Vec<u64> {
        // A tick that has used up the countdown makes the call of the runtime's, or comes back behind that.
        if registers.ip() == Area::tick_code() {
            let call = registers.result().cast_unsigned();
            return vec![call, call.wrapping_add(SYSCALL_LEN)];
        }
        let task = self.state.running();
        if let Some(slot) = task.slot.filter(|slot| Area::is_parked(*slot, registers)) {
            return vec![self.live.area.parked_frame(slot)[0]];
        }
        let hooked = || self.live.area.hooked_stub().map(|stub| stub.wrapping_add(patch::ENTRY));
        let stub = from.stub.or_else(hooked);
        let out = stub.and_then(|stub| self.state.spaces[task.space].originals.next_place(stub));
        Vec::from_iter(out)
    }

    /// The running task, which stands at its call, hands the core over as the log tells next.
    fn hand_over(&mut self, stopped: Stopped, registers: &Registers) -> Flow<()> {
        let Some((end, handed)) = self.state.log.hand_overs.pop_front() else {
            return Err(self.unlogged(registers).into());
        };
        self.count_call(registers.number());
        let left = self.live.area.countdown();
        if registers.number() != libc::SYS_futex as u64
            || left as u32 != handed.left
            || registers.sp() as u32 != handed.sp
        {
            return Err(self.unlogged(registers).into());
        }
        self.live.area.skip_log(end);
        self.park_in(stopped, registers, handed.from.into())?;
        self.state.count.handed_over(left, handed.slice);
        self.live.area.set_countdown(handed.slice);
        self.state.current = TaskId(handed.task);
        match self.state.running().at {
            At::Parked(slot) if slot == u32::from(handed.to) => Ok(self.give_turn()?),
            ref other => {
                let expected = format!("a task that waits in slot {}", handed.to);
                Err(self.misplaced(&expected, &other.to_string()).into())
            }
        }
    }

    /// A task is going to wait for its turn, and may get it from others.
    pub(super) fn park_in(
        &mut self,
        stopped: Stopped,
        registers: &Registers,
        slot: u32,
    ) -> Result<(), Error> {
        let id = self.state.current;
        self.live.handle(id).watch(&stopped, &DebugRegisters::default())?;
        let running = self.live.area.park(stopped, registers, slot)?;
        self.waits_for_turn(id, slot);
        self.live.handle(id).held = Some(super::live::Held::Running(running));
        Ok(())
    }
}

/// Whether code begins with an instruction that pushes the flags.
fn pushes_flags(code: &[u8]) -> bool {
    const PUSHF: u8 = 0x9c;
    const OPERAND_SIZE: u8 = 0x66;
    matches!(code, [PUSHF, ..] | [OPERAND_SIZE, PUSHF])
}

/// The flags at the top of the stack were pushed while the task was stepped, which they say.
fn hide_stepping(memory: &Memory, sp: u64) -> Result<(), Error> {
    /// The trap flag is bit 8.
    const TRAP: u8 = 1;
    let high = sp.wrapping_add(1);
    let flags = memory.bytes(high, 1)?;
    memory.write(high, &[flags.first().copied().unwrap_or_default() & !TRAP])
}

const _: () = assert!(patch::DONE == patch::TRACED + SYSCALL_LEN);
