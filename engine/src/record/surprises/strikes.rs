//! Notes on where surprises have struck, for the report if the program fails.
//!
//! A note has a copy of the top of the thread's stack. It is symbolized when the program is about to fail, while its
//! mappings can still be inspected. A passing attempt pays only for the copies.

use std::collections::BTreeMap;

use super::Surprises;
use crate::record::in_process::call_sites::CallSites;
use crate::record::tree::call::Call;
use crate::record::tree::spawned::symbols_of;
use crate::record::tree::task::{Hold, Task};
use crate::record::tree::tasks::Tasks;
use crate::schedule::surprise::Surprise;
use crate::strike::{Doing, Strike, Thread};
use crate::symbols::StackRegisters;
use crate::task::TaskId;
use crate::tracee::Registers;

/// Bytes of a stack that are copied: some thirty frames of unoptimised code.
const STACK: usize = 1 << 14;

/// Notes kept of an attempt at most.
const MOST: usize = 32;

/// Where a thread was.
#[derive(Clone, Debug)]
pub(in crate::record) struct Place {
    space: u32,
    registers: StackRegisters,
    stack: Vec<u8>,
}

impl Place {
    pub(in crate::record) fn registers(&self) -> StackRegisters {
        self.registers
    }

    pub(in crate::record) fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let from = address.checked_sub(self.registers.rsp).and_then(|from| usize::try_from(from).ok());
        let bytes = from.and_then(|from| self.stack.get(from..from.checked_add(buffer.len())?));
        bytes.is_some_and(|bytes| {
            buffer.copy_from_slice(bytes);
            true
        })
    }
}

/// A strike that has not been symbolized yet.
#[derive(Debug)]
pub(in crate::record) struct Note {
    pub(in crate::record) kind: Surprise,
    pub(in crate::record) task: TaskId,
    pub(in crate::record) doing: Doing,
    /// As in [`Strike`].
    pub(in crate::record) asked: u64,
    pub(in crate::record) more: u64,
    pub(in crate::record) times: u64,
    pub(in crate::record) shown: String,
    /// Tasks that could have run. Many get their names later.
    pub(in crate::record) others: Vec<TaskId>,
    pub(in crate::record) place: Option<Place>,
}

impl Note {
    /// Notes a strike of which nothing more is known yet.
    pub(in crate::record) fn new(kind: Surprise, task: TaskId, doing: Doing) -> Self {
        let (asked, more, times, shown) = (0, 0, 1, String::new());
        Self { kind, task, doing, asked, more, times, shown, others: Vec::new(), place: None }
    }
}

/// The notes of an attempt, and the strikes made from them.
#[derive(Debug, Default)]
pub(in crate::record) struct Strikes {
    notes: Vec<Note>,
    /// Those of surprises that the program has had from its beginning, and perhaps never noticed.
    unseen: Vec<Note>,
    explained: Vec<Strike>,
}

impl Strikes {
    /// Takes the symbolized strikes.
    pub(in crate::record) fn take(&mut self) -> Vec<Strike> {
        std::mem::take(&mut self.explained)
    }
}

impl CallSites {
    /// Captures where a task is that has reached a call with these registers.
    pub(in crate::record) fn place(&self, tasks: &Tasks, id: TaskId, registers: &Registers) -> Place {
        let space = &tasks[id].space;
        let registers = self.stack(&space.memory, registers);
        Place { space: space.number, registers, stack: space.memory.available(registers.rsp, STACK) }
    }

    /// Captures where a task is that does not run.
    pub(super) fn place_of(&self, tasks: &Tasks, id: TaskId) -> Option<Place> {
        let registers = match tasks[id].hold() {
            Hold::Ready(stopped) => stopped.registers().ok()?,
            Hold::Calling(_, call)
            | Hold::Again(_, call)
            | Hold::Woken(_, call, _)
            | Hold::Returned(_, call) => call.registers,
            _ => return None,
        };
        Some(self.place(tasks, id, &registers))
    }
}

impl Surprises {
    /// Adds a note.
    pub(in crate::record) fn note_strike(&mut self, note: Note) {
        if self.notes_strikes() {
            self.strikes.notes.push(note);
        }
    }

    /// Notes a strike that the program may never notice: it counts as one once it does ([`Self::is_seen`]).
    pub(in crate::record) fn note_unseen(&mut self, note: Note) {
        self.strikes.unseen.push(note);
    }

    /// Notes that a task notices a surprise by a call, if it was unseen so far.
    pub(in crate::record) fn is_seen(
        &mut self,
        tasks: &Tasks,
        call_sites: &CallSites,
        kind: Surprise,
        id: TaskId,
        call: &Call,
    ) {
        if let Some(at) = self.strikes.unseen.iter().position(|note| note.kind == kind) {
            let place = Some(call_sites.place(tasks, id, &call.registers));
            let unseen = self.strikes.unseen.remove(at);
            self.note_strike(Note { task: id, place, ..unseen });
        }
    }

    /// Notes a strike that speaks for itself, where a script is run to find out what a failure needs.
    pub(in crate::record) fn note_scripted(
        &mut self,
        tasks: &Tasks,
        call_sites: &CallSites,
        kind: Surprise,
        id: TaskId,
        call: &Call,
    ) {
        if self.injector.is_scripted() && self.notes_strikes() {
            let place = Some(call_sites.place(tasks, id, &call.registers));
            self.note_strike(Note { place, ..Note::new(kind, id, Doing::Runs) });
        }
    }

    /// Whether there is room for another note.
    pub(in crate::record) fn notes_strikes(&self) -> bool {
        self.strikes.notes.len() < MOST
    }

    /// Symbolizes all notes, as the program is about to fail and its mappings still exist.
    pub(in crate::record) fn explain_strikes(&mut self, tasks: &Tasks, call_sites: &CallSites) {
        self.end_stall(tasks, call_sites);
        let mut notes = std::mem::take(&mut self.strikes.notes);
        if self.injector.is_scripted() {
            // The script has little more than what the failure needs.
            notes.append(&mut self.strikes.unseen);
        }
        let mut symbols = BTreeMap::new();
        for Note { kind, task, doing, asked, more, times, shown, others, place } in notes {
            let frames = place.map(|place| {
                let in_space = |task: &&Task| task.space.number == place.space;
                let Some(task) = tasks.living().find(in_space) else { return Vec::new() };
                let symbols = symbols.entry(place.space).or_insert_with(|| symbols_of(task.tid));
                symbols.backtrace(place.registers, &mut |address, buffer| place.read(address, buffer))
            });
            let strike = Strike {
                kind,
                thread: tasks.thread(task),
                doing,
                asked,
                more,
                times,
                shown,
                others: others.into_iter().map(|other| tasks.thread(other)).collect(),
                frames: frames.unwrap_or_default(),
            };
            self.strikes.explained.push(strike);
        }
    }
}

impl Tasks {
    pub(in crate::record) fn thread(&self, task: TaskId) -> Thread {
        let name = self[task].name.clone();
        let ambiguous = self.iter().any(|other| other.id != task && other.name == name);
        Thread { task, name, ambiguous }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_what_was_on_the_stack() {
        let registers = StackRegisters { rip: 1, rsp: 100, rbp: 0 };
        let place = Place { space: 0, registers, stack: vec![1, 2, 3, 4] };
        let mut two = [0; 2];
        assert!(place.read(101, &mut two));
        assert_eq!(two, [2, 3]);
        for address in [0, 99, 103, u64::MAX] {
            assert!(!place.read(address, &mut two), "{address}");
        }
    }
}
