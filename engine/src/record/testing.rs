//! Tasks without processes, for the unit tests of the parts.
//!
//! Nothing runs: a task's tokens stand for threads that do not exist, so a test may move them about, but not resume
//! them. Their memory is the test's own.

use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use nix::unistd::Pid;

use super::options::{Options, Outsiders, Ticks, Time};
use super::tree::call::Call;
use super::tree::children::Children;
use super::tree::natively::Natively;
use super::tree::task::{Hold, Origin, Space, Task};
use super::tree::tasks::Tasks;
use crate::patience::Limit;
use crate::schedule::surprise::Surprises;
use crate::schedule::{Plan, StrategyName};
use crate::task::TaskId;
use crate::trace::event::{Position, Registers};
use crate::tracee::{KillOnDrop, Memory, Running, Stdin, Stopped};

/// Options without limits and surprises.
pub(super) fn options() -> Options<'static> {
    static NEVER: AtomicBool = AtomicBool::new(false);
    Options {
        plan: Plan::new(StrategyName::Fair, 1),
        measure: false,
        time: Time::Virtual,
        processor: super::Processor::default(),
        surprises: Surprises::NONE,
        faults: &[],
        core: 0,
        ticks: Ticks::default(),
        pretend_cores: 4,
        limit: Limit::Never,
        until: None,
        stdin: Stdin::Null,
        listener: None,
        watchdog_main: false,
        outsiders: Outsiders::MayCome,
        wakes_stop: false,
        calls_stop: false,
        end: None,
        stop: &NEVER,
    }
}

/// The thread id of a task. No thread has it: ids end at 2^22 (proc_sys_kernel(5), `pid_max`).
pub(super) fn tid(id: u32) -> Pid {
    Pid::from_raw(1_000_000_000 + id as i32)
}

pub(super) fn stopped(id: u32) -> Stopped {
    Stopped::in_test(tid(id))
}

pub(super) fn running(id: u32) -> Running {
    Running::known_to_run(tid(id))
}

/// A call with these arguments.
pub(super) fn call(number: i64, args: [u64; 6]) -> Call {
    let mut registers = Registers([0; 27]);
    registers.set_number(number.cast_unsigned());
    registers.set_args(args);
    Call::new(registers)
}

/// A task that is ready to run, of a process of its own. Its slot has its number.
pub(super) fn task(tasks: &mut Tasks) -> Task {
    let id = tasks.next();
    let memory = Memory::open(Pid::this()).expect("own memory");
    let origin = Origin {
        pid: tid(id.0),
        space: Rc::new(Space::new(id.0, memory)),
        name: format!("task {}", id.0),
        clear_tid: 0,
        affinity: 1,
        natively: Natively::started(),
    };
    let scratch = tasks.slots.take();
    Task::new(
        id,
        tid(id.0),
        Hold::Ready(stopped(id.0)),
        origin,
        scratch,
        Position { left: 0, registers: Registers([0; 27]) },
    )
}

/// So many tasks as [`task`] makes them.
pub(super) fn tasks(count: u32) -> Tasks {
    let mut tasks = Tasks::new(Children::new(KillOnDrop::new(tid(0))).expect("a timer"));
    for _ in 0..count {
        let new = task(&mut tasks);
        tasks.add(new);
    }
    tasks
}

/// Lets a task wait in front of a call.
pub(super) fn wait(tasks: &mut Tasks, id: TaskId, call: Call) {
    tasks.hold(id, Hold::Waiting(stopped(id.0), call));
}
