//! A simulator of small threaded programs, to test and compare strategies.
//!
//! It asks a strategy what the recorder asks it. Like the recorder, it stops a task before the operation whose tick
//! used up the slice.

use std::cell::Cell;
use std::fmt::Debug;
use std::ops::{Index, IndexMut};

use rrtest_preload::layout::{AccessKind, OBJECTS, Object, Watch};
use rrtest_preload::objects::{Objects, place};

use crate::schedule::futex::{ANY, FutexKey, FutexTable};
use crate::schedule::portfolio::Measured;
use crate::schedule::strategy::{AccessWatch, Hits, Operation, Point, Strategy, Why};
use crate::task::TaskId;

/// The shared variables, and the registers of the running task.
#[derive(Clone, Debug, Default)]
pub(in crate::schedule) struct Memory {
    pub(in crate::schedule) shared: Variables,
    pub(in crate::schedule) registers: [i64; 4],
}

/// The shared variables. They remember the last access, and whether it was a write.
#[derive(Clone, Debug, Default)]
pub(in crate::schedule) struct Variables {
    values: [i64; 4],
    accessed: Cell<Option<(usize, bool)>>,
}

impl Index<usize> for Variables {
    type Output = i64;

    fn index(&self, index: usize) -> &i64 {
        self.accessed.set(Some((index, false)));
        &self.values[index]
    }
}

impl IndexMut<usize> for Variables {
    fn index_mut(&mut self, index: usize) -> &mut i64 {
        self.accessed.set(Some((index, true)));
        &mut self.values[index]
    }
}

/// One step of a thread.
#[derive(Clone, Copy)]
pub(in crate::schedule) enum Op {
    /// This many ticks that concern nobody else.
    Work(u64),
    /// One access to memory, one tick.
    Do(fn(&mut Memory)),
    /// No tick: if the condition is false, the program has failed.
    Expect(fn(&Memory) -> bool),
    /// No tick: if the condition is false, the thread ends.
    Only(fn(&Memory) -> bool),
    /// A mutex like std's: whoever comes first gets it, woken or not.
    Lock(u64),
    Unlock(u64),
    /// A condition variable (its number must differ from those of mutexes) and its mutex.
    Wait(u64, u64),
    NotifyOne(u64),
    /// Thread by index.
    Spawn(usize),
    Join(usize),
    /// A loop with a tick per round, without and with sched_yield(2).
    SpinUntil(fn(&Memory) -> bool),
    YieldUntil(fn(&Memory) -> bool),
}

impl Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Op")
    }
}

/// Threads by index; the first one starts. Others run when spawned.
#[derive(Clone, Debug)]
pub(in crate::schedule) struct Program(pub(in crate::schedule) Vec<Vec<Op>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::schedule) enum Outcome {
    Passed,
    Failed,
    Deadlocked,
    /// It ran for too many ticks.
    Hung,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::schedule) struct Run {
    pub(in crate::schedule) outcome: Outcome,
    pub(in crate::schedule) measured: Measured,
    pub(in crate::schedule) decisions: u64,
}

#[derive(Debug)]
struct Thread {
    ops: Vec<Op>,
    at: usize,
    /// Completed rounds of the current [`Op::Work`].
    worked: u64,
    /// Whether the current operation has ticked already.
    ticked: bool,
    /// Whether the condition variable has been waited for; the mutex is to be locked again.
    notified: bool,
    registers: [i64; 4],
    spawned: bool,
    ended: bool,
}

struct Simulator<'a> {
    threads: Vec<Thread>,
    /// Thread index of each task, in order of task number.
    tasks: Vec<usize>,
    futexes: FutexTable,
    locked: Vec<u64>,
    memory: Memory,
    strategy: &'a mut dyn Strategy,
    run: Run,
    objects: Box<Objects>,
    watch: Watch,
}

/// Keys of joins, distinct from those of mutexes and condition variables.
const JOIN: u64 = 1 << 32;

const MOST_TICKS: u64 = 2_000_000;

/// The result of a task's step.
enum Step {
    On,
    Woke,
    Yielded,
    Blocked,
    Ended,
    Failed,
}

fn key(address: u64) -> FutexKey {
    FutexKey { space: 0, address }
}

/// Runs `program` once under `strategy`.
pub(in crate::schedule) fn run(program: &Program, strategy: &mut dyn Strategy) -> Run {
    let threads = program
        .0
        .iter()
        .map(|ops| Thread {
            ops: ops.clone(),
            at: 0,
            worked: 0,
            ticked: false,
            notified: false,
            registers: [0; 4],
            spawned: false,
            ended: false,
        })
        .collect();
    let run = Run { outcome: Outcome::Passed, measured: Measured::default(), decisions: 0 };
    let mut simulator = Simulator {
        threads,
        tasks: Vec::new(),
        futexes: FutexTable::default(),
        locked: Vec::new(),
        memory: Memory::default(),
        strategy,
        run,
        objects: vec![Object::default(); OBJECTS].try_into().expect("so many"),
        watch: Watch::default(),
    };
    simulator.spawn(0);
    simulator.run.outcome = simulator.drive();
    simulator.run
}

impl Simulator<'_> {
    fn drive(&mut self) -> Outcome {
        let mut point =
            Point { current: None, why: Why::Start, ran: 0, next: None, found: Default::default() };
        loop {
            let runnable = self.runnable();
            if runnable.is_empty() {
                let all_ended = self.tasks.iter().all(|thread| self.threads[*thread].ended);
                return if all_ended { Outcome::Passed } else { Outcome::Deadlocked };
            }
            let choice = self.strategy.decide(point, &runnable);
            self.run.decisions += 1;
            assert!(runnable.contains(&choice.task) && choice.slice >= 1, "{choice:?} of {runnable:?}");
            let mut left = choice.slice;
            let (before, mut next) = (self.watch.events, None);
            let Watch { events, fresh, .. } = self.watch;
            let watch = choice.access_watch.unwrap_or(AccessWatch::MEASURE).watch(choice.task);
            self.watch = Watch { events, fresh, ..watch };
            let why = loop {
                if !self.threads[self.tasks[choice.task.0 as usize]].ticked && self.ticks(choice.task) {
                    self.thread(choice.task).ticked = true;
                    self.run.measured.ticks += 1;
                    left -= 1;
                    let (address, kind) = self.coming(choice.task);
                    let writes = kind != AccessKind::AtomicLoad;
                    next = Some(Operation::Memory { address, writes });
                    if left == 0 {
                        break Why::SliceOver;
                    }
                    if self.watch.on != 0
                        && self.watch.stops(&mut self.objects[place(address)], address, kind as u64)
                    {
                        break Why::Met;
                    }
                    next = None;
                }
                match self.step(choice.task) {
                    Step::On => {}
                    Step::Woke => break Why::Woken,
                    Step::Yielded => break Why::Yielded,
                    Step::Blocked => break Why::Blocked,
                    Step::Ended => break Why::Exited,
                    Step::Failed => return Outcome::Failed,
                }
            };
            if self.run.measured.ticks > MOST_TICKS {
                return Outcome::Hung;
            }
            self.run.measured.count(choice.task, self.watch.events - before);
            let found = Hits { events: self.watch.events - before, drawn: self.watch.drawn };
            point = Point { current: Some(choice.task), why, ran: choice.slice - left, next, found };
        }
    }

    fn runnable(&self) -> Vec<TaskId> {
        (0..self.tasks.len())
            .filter(|task| !self.threads[self.tasks[*task]].ended)
            .map(|task| TaskId(u32::try_from(task).expect("few tasks")))
            .filter(|task| self.futexes.waiting(*task).is_none())
            .collect()
    }

    fn thread(&mut self, task: TaskId) -> &mut Thread {
        &mut self.threads[self.tasks[task.0 as usize]]
    }

    fn ticks(&mut self, task: TaskId) -> bool {
        let thread = self.thread(task);
        !matches!(thread.ops.get(thread.at), None | Some(Op::Expect(_) | Op::Only(_)))
    }

    /// Returns what the current operation accesses.
    fn coming(&self, task: TaskId) -> (u64, AccessKind) {
        const VARIABLES: u64 = 0x1000;
        const LOCKS: u64 = 0x2000;
        const THREADS: u64 = 0x3000;
        const OWN: u64 = 0x1_0000;
        let index = self.tasks[task.0 as usize];
        let thread = &self.threads[index];
        let end = (THREADS + 8 * index as u64, AccessKind::AtomicUpdate);
        let Some(op) = thread.ops.get(thread.at) else { return end };
        let mut memory = self.memory.clone();
        memory.registers = thread.registers;
        memory.shared.accessed.set(None);
        match *op {
            Op::Do(action) => action(&mut memory),
            Op::SpinUntil(condition) | Op::YieldUntil(condition) => {
                condition(&memory);
            }
            Op::Lock(lock) | Op::Unlock(lock) | Op::Wait(_, lock) => {
                return (LOCKS + 8 * lock, AccessKind::AtomicUpdate);
            }
            Op::NotifyOne(condvar) => return (LOCKS + 8 * condvar, AccessKind::AtomicUpdate),
            Op::Spawn(other) => return (THREADS + 8 * other as u64, AccessKind::AtomicStore),
            Op::Join(other) => return (THREADS + 8 * other as u64, AccessKind::AtomicLoad),
            Op::Work(_) | Op::Expect(_) | Op::Only(_) => {}
        }
        match memory.shared.accessed.get() {
            Some((variable, writes)) => (
                VARIABLES + 8 * variable as u64,
                if writes { AccessKind::AtomicUpdate } else { AccessKind::AtomicLoad },
            ),
            // An object of the thread's own, now and then a new one.
            None => (OWN * (1 + index as u64) + 8 * (thread.worked / 8), AccessKind::AtomicUpdate),
        }
    }

    fn spawn(&mut self, thread: usize) {
        let task = TaskId(u32::try_from(self.tasks.len()).expect("few tasks"));
        self.tasks.push(thread);
        self.threads[thread].spawned = true;
        self.strategy.spawned(task);
    }

    fn wake(&mut self, address: u64, count: u32) -> Step {
        let strategy = &mut self.strategy;
        let woken = self.futexes.wake(key(address), count, ANY, &mut |waiters| strategy.wake(waiters));
        if woken.is_empty() { Step::On } else { Step::Woke }
    }

    fn block(&mut self, task: TaskId, address: u64) -> Step {
        self.futexes.wait(key(address), task, ANY);
        Step::Blocked
    }

    fn look(&mut self, task: TaskId, condition: fn(&Memory) -> bool) -> bool {
        self.memory.registers = self.thread(task).registers;
        condition(&self.memory)
    }

    /// Executes the current operation of `task`.
    fn step(&mut self, task: TaskId) -> Step {
        let thread = self.thread(task);
        thread.ticked = false;
        let Some(op) = thread.ops.get(thread.at).copied() else {
            thread.ended = true;
            let index = self.tasks[task.0 as usize];
            self.wake(JOIN + index as u64, u32::MAX);
            self.strategy.exited(task);
            return Step::Ended;
        };
        thread.at += 1;
        match op {
            Op::Work(ticks) => {
                thread.worked += 1;
                if thread.worked < ticks {
                    thread.at -= 1;
                } else {
                    thread.worked = 0;
                }
                Step::On
            }
            Op::Do(action) => {
                self.memory.registers = self.thread(task).registers;
                action(&mut self.memory);
                self.thread(task).registers = self.memory.registers;
                Step::On
            }
            Op::Expect(condition) => {
                if self.look(task, condition) {
                    Step::On
                } else {
                    Step::Failed
                }
            }
            Op::Only(condition) => {
                if !self.look(task, condition) {
                    let thread = self.thread(task);
                    thread.at = thread.ops.len();
                }
                Step::On
            }
            Op::Lock(mutex) => self.lock(task, mutex),
            Op::Unlock(mutex) => {
                self.locked.retain(|locked| *locked != mutex);
                self.wake(mutex, 1)
            }
            Op::Wait(condvar, mutex) => {
                if self.thread(task).notified {
                    let step = self.lock(task, mutex);
                    self.thread(task).notified = matches!(step, Step::Blocked);
                    return step;
                }
                let thread = self.thread(task);
                thread.notified = true;
                thread.at -= 1;
                self.locked.retain(|locked| *locked != mutex);
                self.wake(mutex, 1);
                self.block(task, condvar)
            }
            Op::NotifyOne(condvar) => self.wake(condvar, 1),
            Op::Spawn(thread) => {
                self.spawn(thread);
                Step::Woke
            }
            Op::Join(other) => {
                assert!(self.threads[other].spawned, "joins a thread never spawned");
                if self.threads[other].ended {
                    return Step::On;
                }
                self.thread(task).at -= 1;
                self.block(task, JOIN + other as u64)
            }
            Op::SpinUntil(condition) => {
                if !self.look(task, condition) {
                    self.thread(task).at -= 1;
                }
                Step::On
            }
            Op::YieldUntil(condition) => {
                if self.look(task, condition) {
                    return Step::On;
                }
                self.thread(task).at -= 1;
                Step::Yielded
            }
        }
    }

    fn lock(&mut self, task: TaskId, mutex: u64) -> Step {
        if self.locked.contains(&mutex) {
            self.thread(task).at -= 1;
            return self.block(task, mutex);
        }
        self.locked.push(mutex);
        Step::On
    }
}
