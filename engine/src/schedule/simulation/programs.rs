//! Small programs with one bug each, and sound ones, for [`super::simulator`].

use super::simulator::{Op, Program};
use Op::{Do, Expect, Join, Lock, NotifyOne, Only, Spawn, SpinUntil, Unlock, Wait, Work, YieldUntil};

/// Approximate ticks of std's thread start and thread spawn.
const PROLOGUE: u64 = 15;
const SPAWNING: u64 = 10;

/// A test as libtest runs it: the first thread spawns and joins the test's thread, which spawns and joins these.
fn test(threads: Vec<Vec<Op>>) -> Program {
    let indices = 2..2 + threads.len();
    let mut body = vec![Work(PROLOGUE)];
    body.extend(indices.clone().flat_map(|index| [Work(SPAWNING), Spawn(index)]));
    body.extend(indices.map(Join));
    let mut program = vec![vec![Spawn(1), Join(1)], body];
    program.extend(threads.into_iter().map(|ops| [vec![Work(PROLOGUE)], ops].concat()));
    Program(program)
}

/// Two threads add 1 to a counter by load and store, with much other work `before` and `after`.
fn lost_update(before: u64, after: u64) -> Program {
    let add = vec![
        Work(before),
        Do(|m| m.registers[0] = m.shared[0]),
        Do(|m| m.shared[0] = m.registers[0] + 1),
        Do(|m| m.shared[1] += 1),
        Expect(|m| m.shared[1] < 2 || m.shared[0] == 2),
        Work(after),
    ];
    test(vec![add.clone(), add])
}

/// Two mutexes taken in opposite order, once.
fn lock_order(work: u64) -> Program {
    let take = |first, second| {
        vec![
            Work(work),
            Lock(first),
            Work(2),
            Lock(second),
            Work(2),
            Unlock(second),
            Unlock(first),
            Work(work),
        ]
    };
    test(vec![take(1, 2), take(2, 1)])
}

/// Data is passed without waiting: the producer takes little time, the consumer comes late.
fn missed_wait(work: u64) -> Program {
    test(vec![
        vec![Work(20), Do(|m| m.shared[0] = 1)],
        vec![Work(work), Do(|m| m.registers[0] = m.shared[0]), Expect(|m| m.registers[0] == 1)],
    ])
}

/// SCTBench's reorder: a checker must see the first of two stores of some setter, but not the second.
fn reorder(setters: usize) -> Program {
    let set = vec![Do(|m| m.shared[0] = 1), Do(|m| m.shared[1] = -1)];
    let check = vec![
        Do(|m| m.registers[0] = m.shared[0]),
        Do(|m| m.registers[1] = m.shared[1]),
        Expect(|m| matches!(m.registers[..2], [0, 0] | [1, -1] | [0, -1])),
    ];
    let mut threads = vec![set; setters];
    threads.push(check);
    test(threads)
}

/// SCTBench's twostage: two related values, each under its own mutex.
fn two_stage(pairs: usize) -> Program {
    let write =
        vec![Lock(1), Do(|m| m.shared[0] = 1), Unlock(1), Lock(2), Do(|m| m.shared[1] = 2), Unlock(2)];
    let read = vec![
        Lock(1),
        Do(|m| m.registers[0] = m.shared[0]),
        Unlock(1),
        Only(|m| m.registers[0] == 1),
        Lock(2),
        Do(|m| m.registers[1] = m.shared[1]),
        Unlock(2),
        Expect(|m| m.registers[1] == 2),
    ];
    let mut threads = vec![write; pairs];
    threads.extend(vec![read; pairs]);
    test(threads)
}

/// A balance is checked in one critical section and reduced in another.
fn check_then_act(threads: usize, work: u64) -> Program {
    let withdraw = vec![
        Work(work),
        Lock(1),
        Do(|m| m.registers[0] = m.shared[0]),
        Unlock(1),
        Only(|m| m.registers[0] == 0),
        Lock(1),
        Do(|m| m.shared[0] += 1),
        Expect(|m| m.shared[0] == 1),
        Unlock(1),
        Work(work),
    ];
    test(vec![withdraw; threads])
}

/// A flag is checked outside the mutex; if notified in between, the waiter waits forever.
fn lost_wakeup(work: u64) -> Program {
    test(vec![
        vec![
            Work(work),
            Do(|m| m.registers[0] = m.shared[0]),
            Only(|m| m.registers[0] == 0),
            Lock(1),
            Wait(9, 1),
            Unlock(1),
        ],
        vec![Work(2 * work), Do(|m| m.shared[0] = 1), NotifyOne(9)],
    ])
}

/// Consumers that check with `if` instead of `while`: a third one takes the item of which a woken one was notified.
fn stolen_wakeup() -> Program {
    let waiting = vec![
        Lock(1),
        Do(|m| m.shared[1] = 1),
        Wait(9, 1),
        Do(|m| m.shared[0] -= 1),
        Expect(|m| m.shared[0] >= 0),
        Unlock(1),
    ];
    let passing = vec![
        Work(40),
        Lock(1),
        Do(|m| m.registers[0] = m.shared[0]),
        Do(|m| m.shared[0] -= (m.shared[0] > 0) as i64),
        Unlock(1),
    ];
    let produce =
        vec![YieldUntil(|m| m.shared[1] == 1), Lock(1), Do(|m| m.shared[0] += 1), NotifyOne(9), Unlock(1)];
    test(vec![waiting, passing, produce])
}

/// One thread must be stopped in one window, and the other thread in another.
fn two_windows(work: u64) -> Program {
    test(vec![
        vec![Work(work), Do(|m| m.shared[0] = 1), Do(|m| m.shared[0] = 0), Work(work)],
        vec![
            Work(work),
            Do(|m| m.registers[0] = m.shared[0]),
            Do(|m| m.registers[1] = m.shared[0]),
            Expect(|m| m.registers[..2] != [1, 0]),
            Work(work),
        ],
    ])
}

/// A pop from a stack whose top is taken off and put back in between (ABA): one thread stands still while the other
/// does three things.
fn aba(work: u64) -> Program {
    test(vec![
        vec![
            Work(work),
            Do(|m| m.registers[0] = m.shared[0]),
            Do(|m| m.registers[1] = m.shared[1]),
            Do(|m| m.registers[2] = m.shared[0]),
            Expect(|m| m.registers[0] != m.registers[2] || m.registers[1] == m.shared[1]),
            Work(work),
        ],
        vec![
            Work(work),
            Do(|m| m.shared[0] = 1),
            Work(3),
            Do(|m| m.shared[1] = 5),
            Work(3),
            Do(|m| m.shared[0] = 0),
            Work(work),
        ],
    ])
}

/// Ten threads, one of which must run to its end before the nine that were created earlier have run at all.
fn last_first() -> Program {
    let early = vec![Do(|m| m.shared[0] += 1)];
    let late = vec![Do(|m| m.registers[0] = m.shared[0]), Expect(|m| m.registers[0] > 0)];
    let mut threads = vec![early; 9];
    threads.push(late);
    test(threads)
}

/// Returns the buggy programs by name.
pub(in crate::schedule) fn buggy() -> Vec<(&'static str, Program)> {
    vec![
        ("lost update", lost_update(50, 50)),
        ("lost update, long", lost_update(1000, 1000)),
        ("lost update, uneven", lost_update(20, 5000)),
        ("lock order", lock_order(50)),
        ("lock order, long", lock_order(500)),
        ("missed wait", missed_wait(300)),
        ("missed wait, long", missed_wait(5000)),
        ("check then act", check_then_act(2, 100)),
        ("check then act, wide", check_then_act(10, 100)),
        ("lost wakeup", lost_wakeup(100)),
        ("stolen wakeup", stolen_wakeup()),
        ("two windows", two_windows(20)),
        ("two windows, long", two_windows(300)),
        ("aba", aba(50)),
        ("aba, long", aba(500)),
        ("last first", last_first()),
        ("reorder 3", reorder(2)),
        ("reorder 10", reorder(9)),
        ("reorder 20", reorder(19)),
        ("two stage 10", two_stage(5)),
        ("two stage 20", two_stage(10)),
    ]
}

/// Returns programs without a bug that wait in loops.
pub(in crate::schedule) fn sound() -> Vec<(&'static str, Program)> {
    let spin = vec![SpinUntil(|m| m.shared[0] == 1), Do(|m| m.shared[1] += 1)];
    let give_way = vec![YieldUntil(|m| m.shared[0] == 1), Do(|m| m.shared[1] += 1)];
    let set = vec![Work(500), Do(|m| m.shared[0] = 1), SpinUntil(|m| m.shared[1] == 2)];
    let ping = vec![
        SpinUntil(|m| m.shared[0] == 0),
        Do(|m| m.shared[0] = 1),
        SpinUntil(|m| m.shared[0] == 0),
        Do(|m| m.shared[0] = 1),
    ];
    let pong = vec![
        SpinUntil(|m| m.shared[0] == 1),
        Do(|m| m.shared[0] = 0),
        SpinUntil(|m| m.shared[0] == 1),
        Do(|m| m.shared[0] = 0),
    ];
    let spin_lock = vec![
        Work(10),
        SpinUntil(|m| m.shared[0] == 0),
        Lock(1),
        Do(|m| m.shared[0] = 1),
        Work(20),
        Do(|m| m.shared[0] = 0),
        Unlock(1),
    ];
    // Two threads that wake each other again and again, until a third one ends it.
    let relay = |mine: u64, other: u64| {
        let mut ops = Vec::new();
        for _ in 0..50 {
            ops.extend([Lock(mine), Work(100), Unlock(mine), Lock(other), Work(100), Unlock(other)]);
        }
        ops.push(SpinUntil(|m| m.shared[0] == 1));
        ops
    };
    vec![
        ("spin", test(vec![spin.clone(), spin, set.clone()])),
        ("yield", test(vec![give_way.clone(), give_way, set])),
        ("ping pong", test(vec![ping, pong])),
        ("spin lock", test(vec![spin_lock; 3])),
        ("relay", test(vec![relay(1, 2), relay(2, 1), vec![Do(|m| m.shared[0] = 1)]])),
    ]
}
