//! Describes what each task was doing when a program ended in a way that needs explaining.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Clock;
use crate::ending::{Frame, TaskState};
use crate::record::futex::Futexes;
use crate::record::in_process::call_sites::CallSites;
use crate::record::options::Options;
use crate::record::outside::locks::Takers;
use crate::record::poller::Poller;
use crate::record::tree::call::Call;
use crate::record::tree::spawned::{KnownSymbols, symbols_of};
use crate::record::tree::task::{Hold, Task};
use crate::record::tree::tasks::Tasks;
use crate::symbols::StackRegisters;
use crate::task::TaskId;

/// The parts that show what tasks do and wait for.
pub(in crate::record) struct Observer<'a> {
    pub(in crate::record) options: &'a Options<'a>,
    pub(in crate::record) clock: &'a Clock,
    pub(in crate::record) tasks: &'a Tasks,
    pub(in crate::record) futexes: &'a Futexes,
    pub(in crate::record) poller: &'a Poller,
    pub(in crate::record) takers: &'a Takers,
    pub(in crate::record) call_sites: &'a CallSites,
}

impl Observer<'_> {
    /// Describes what each living task is doing, beginning with `first`.
    pub(in crate::record) fn states(&self, first: Option<TaskId>) -> Vec<TaskState> {
        let mut living: Vec<&Task> = self.tasks.living().collect();
        // A harness that only waits for the others comes last: it says least.
        let harness = |t: &Task| self.options.watchdog_main && t.id == TaskId(0);
        living.sort_by_key(|t| (Some(t.id) != first, harness(t), t.id));
        let shared = shared_names(&living);
        let mut symbols = BTreeMap::new();
        living
            .into_iter()
            .map(|t| {
                let symbols = symbols.entry(t.space.number).or_insert_with(|| symbols_of(t.tid));
                let frames = self.frames(t, symbols);
                let drives = |name: &String| name.contains("block_on");
                let awaits = match frames.iter().filter_map(|frame| frame.function.as_ref()).any(drives) {
                    true => self.awaits(t, symbols),
                    false => Vec::new(),
                };
                let wait = self.wait_of(t, &frames);
                let spawned = spawned(t, &shared, symbols);
                TaskState {
                    task: t.id,
                    name: t.name.clone(),
                    doing: self.doing(t),
                    wait,
                    spawned,
                    awaits,
                    frames,
                }
            })
            .collect()
    }
}

impl Observer<'_> {
    fn frames(&self, task: &Task, symbols: &mut KnownSymbols) -> Vec<Frame> {
        let Some(registers) = self.stack(task) else { return Vec::new() };
        symbols.backtrace(registers, &mut |address, buffer| task.space.memory.read(address, buffer).is_ok())
    }

    fn awaits(&self, task: &Task, symbols: &mut KnownSymbols) -> Vec<Frame> {
        let Some(registers) = self.stack(task) else { return Vec::new() };
        symbols.awaited(registers, &mut |address, buffer| task.space.memory.read(address, buffer).is_ok())
    }

    /// Returns the registers at which a task's stack begins.
    fn stack(&self, task: &Task) -> Option<StackRegisters> {
        match (task.hold(), task.slot()) {
            (Hold::Parked(_) | Hold::Unparked(_), Some(slot)) => {
                let [rip, rsp, rbp] = self.clock.area().parked_frame(slot);
                Some(StackRegisters { rip: self.call_sites.original(rip), rsp, rbp })
            }
            _ => task.registers().map(|registers| self.call_sites.stack(&task.space.memory, &registers)),
        }
    }
}

impl Observer<'_> {
    fn doing(&self, task: &Task) -> String {
        let call = |call: &Call| crate::syscalls::name(call.number());
        match task.hold() {
            Hold::InKernel(_, c) => format!("waits in {}, {}", call(c), blocking_on(c)),
            Hold::Waiting(_, c) if self.poller.has(task.id) => {
                format!("waits in {}, {}", call(c), blocking_on(c))
            }
            Hold::Waiting(..) | Hold::Parked(_) => {
                match (self.futexes.table.waiting(task.id), self.tasks.deadlines.contains(task.id)) {
                    (Some(key), false) => format!("waits on futex {:#x}", key.address),
                    (Some(key), true) => format!("waits on futex {:#x} with a time limit", key.address),
                    (None, _) => "sleeps".into(),
                }
            }
            Hold::Calling(_, c) | Hold::Again(_, c) | Hold::Woken(_, c, _) => {
                format!("is about to call {}", call(c))
            }
            Hold::Returned(_, c) => format!("comes back from {}", call(c)),
            Hold::Unparked(_) => format!("comes back from {}", crate::syscalls::name(libc::SYS_futex as u64)),
            Hold::Lent(_, to) => format!("waits until {to} has executed a program"),
            Hold::Suspended(..) => "is stopped by a signal".into(),
            Hold::Ready(_) => "can run".into(),
            Hold::Running => "runs".into(),
            Hold::Gone => "has ended".into(),
        }
    }
}

fn blocking_on(call: &Call) -> String {
    match call.number() as i64 {
        libc::SYS_poll | libc::SYS_ppoll => format!("for {} descriptors", call.args()[1]),
        _ => format!("on descriptor {}", call.args()[0]),
    }
}

/// Returns where a task was spawned, if another task has the same name.
fn spawned(task: &Task, shared: &BTreeSet<&str>, symbols: &mut KnownSymbols) -> Option<(String, u32)> {
    let maker = task.maker.as_ref().filter(|_| shared.contains(&*task.name))?;
    maker.place(symbols)
}

/// Returns the names that several of these tasks have.
fn shared_names<'a>(tasks: &[&'a Task]) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    tasks.iter().map(|task| &*task.name).filter(|name| !seen.insert(*name)).collect()
}
