//! Moving about in replays: by events, ticks, instructions, to breakpoints and watchpoints, several at a time.

#[path = "programs/made.rs"]
mod made;

use std::collections::BTreeSet;

use made::common::{GO_ON, PATIENCE, core};
use made::{compile, record, text};
use rrtest_engine::output::Output;
use rrtest_engine::record::Recording;
use rrtest_engine::replay::{Limit, Options, Point, Report, Session, Why};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::task::TaskId;
use rrtest_engine::trace::Source;
use rrtest_engine::trace::event::{Event, Registers, Stream};
use rrtest_preload::layout::{AREA, AREA_LEN};

/// What a program is recorded as, under a schedule in which threads hand over among themselves and under one in which
/// they do not.
fn recordings(name: &str, args: &[&str]) -> Vec<Recording> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile(name, directory.path());
    let kinds = [(StrategyName::Fair, 0), (StrategyName::Walk, 1)];
    kinds.map(|(strategy, seed)| record(&path, args, directory.path(), strategy, seed)).into()
}

/// How to replay, with the output going to `output`.
fn options<'a>(output: &'a mut dyn FnMut(Stream, &[u8])) -> Options<'a> {
    Options { core: core(), stop: &GO_ON, patience: PATIENCE, watch: &[], output }
}

/// Step through a replay, which must end as its recording. `next` says how to go on from what a session has reported.
fn walk(recording: &Recording, mut next: impl FnMut(&mut Session<'_>, Option<Report>) -> Limit) {
    let mut output = Output::default();
    let mut push = |stream: Stream, bytes: &[u8]| output.push(stream, bytes);
    let mut session = Session::start(&recording.log, options(&mut push)).expect("a session");
    let mut report = None;
    loop {
        let limit = next(&mut session, report);
        let now = session.step(limit).unwrap_or_else(|error| {
            let next = recording.log.events_from(report.map_or(0, |report: Report| report.event)).take(60);
            let next: Vec<_> =
                next.map(|event| event.expect("an event").describe(|_| None).to_string()).collect();
            panic!("{limit:?} after {report:?}: {error}\n{}", next.join("\n"))
        });
        report = Some(now);
        if now.why == Why::Ended {
            break;
        }
    }
    let (ending, stats) = session.ended().expect("an end");
    assert_eq!((ending, stats), (&recording.ending, recording.stats));
    drop(session);
    assert_eq!(output, recording.output);
}

/// All that a task shows at a moment.
fn registers(session: &mut Session<'_>) -> Option<Registers> {
    let current = session.state().current();
    session.registers(current).expect("registers")
}

/// The addresses of `work`, `word` and `call` that the program tells.
fn addresses(recording: &Recording) -> [u64; 3] {
    let text = text(&recording.output);
    let mut numbers =
        text.split_whitespace().map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16));
    std::array::from_fn(|_| numbers.next().expect("an address").expect("a number"))
}

fn is_ours(address: u64) -> bool {
    (AREA as u64..(AREA + AREA_LEN) as u64).contains(&address)
}

#[test]
fn by_events() {
    for recording in recordings("steps", &[]) {
        let mut events = 1;
        walk(&recording, |session, report| {
            if let Some(report) = report {
                assert_eq!((report.event, report.ticks, report.why), (events + 1, 0, Why::Event));
                events += 1;
                assert_eq!(session.cursor().position(), events);
            }
            Limit::Event
        });
        assert_eq!(events + 1, recording.log.count());
    }
}

/// Where the task is, and how many ticks there had been, at each `n`th tick.
fn at_ticks(recording: &Recording, n: u64) -> Vec<(TaskId, Option<Registers>)> {
    let (mut moments, mut ticks) = (Vec::new(), 0);
    walk(recording, |session, report| {
        if let Some(report) = report {
            assert_eq!(report.why, Why::Ticks);
            ticks += n;
            assert_eq!(session.ticks(), ticks, "{report:?}");
            moments.push((report.task, registers(session)));
        }
        Limit::Ticks(n)
    });
    moments
}

#[test]
fn by_ticks() {
    for recording in recordings("steps", &[]) {
        let all = at_ticks(&recording, 1);
        assert!(all.len() as u64 >= recording.stats.ticks - 1 && all.len() > 500, "{}", all.len());
        assert_eq!(at_ticks(&recording, 1), all);
        for n in [7, 100] {
            let every: Vec<_> = all.iter().skip(n - 1).step_by(n).cloned().collect();
            assert!(at_ticks(&recording, n as u64)[..] == every[..], "every {n} ticks");
        }
        assert!(all.iter().flat_map(|(_, registers)| registers).all(|it| !is_ours(it.ip())));
    }
}

#[test]
fn by_instructions() {
    for recording in recordings("steps", &[]) {
        let [work, _, call] = addresses(&recording);
        // From the first call of `call` on, whose call site is patched by and by.
        let (mut steps, mut calls, mut passed, mut ips) = (0, 0, 0, BTreeSet::new());
        let mut buffered = false;
        walk(&recording, |session, report| {
            let Some(report) = report else {
                assert!(session.stop_at(Point::Execute(call)));
                return Limit::End;
            };
            match report.why {
                Why::Breakpoint(at) => {
                    assert_eq!((at, registers(session).expect("registers").ip()), (call, call));
                    calls += 1;
                    if calls == 1 || calls == 31 {
                        steps = 150;
                        return Limit::Instruction;
                    }
                    Limit::End
                }
                Why::Instruction => {
                    let ip = registers(session).expect("registers").ip();
                    assert!(!is_ours(ip), "{ip:#x} after {report:?}");
                    ips.insert(ip);
                    passed += usize::from(ip == call);
                    buffered |= calls == 31;
                    steps -= 1;
                    if steps > 0 { Limit::Instruction } else { Limit::End }
                }
                other => panic!("{other:?}"),
            }
        });
        // And once more in the child.
        assert!(calls + passed == 61 && buffered, "{calls} + {passed}");
        assert!(ips.len() > 30 && ips.contains(&call), "{}", ips.len());
        assert!(!ips.contains(&work));
    }
}

/// Stepping and reporting do not change what is done: at the end of each event all is as if nobody had looked.
#[test]
fn what_is_stepped_over_is_done_as_it_was() {
    for recording in recordings("steps", &[]) {
        let [work, ..] = addresses(&recording);
        let mut plain = Vec::new();
        walk(&recording, |session, report| {
            plain.extend(report.map(|report| (report.event, registers(session))));
            Limit::Event
        });
        let events: Vec<Event> = recording.log.events().collect::<Result<_, _>>().expect("events");
        let (mut on, mut left, mut last, mut compared) = (false, 8000, 0, 0);
        walk(&recording, |session, report| {
            match report.map(|report| report.why) {
                None => assert!(session.stop_at(Point::Execute(work))),
                Some(Why::Breakpoint(_)) if !on => {
                    on = true;
                    last = session.state().event();
                    session.stop_no_more_at(Point::Execute(work));
                }
                _ => {}
            }
            let is_at_end =
                |event: u64| matches!(events[event as usize - 1], Event::Syscall(_) | Event::Tick(_));
            if let Some(report) = report.filter(|it| on && it.event != last && is_at_end(it.event)) {
                let moment = (report.event, registers(session));
                assert!(plain.contains(&moment), "{report:?}");
                (last, compared) = (report.event, compared + 1);
            }
            left -= u64::from(on);
            if !on || left == 0 { Limit::End } else { Limit::Instruction }
        });
        assert!(compared > 10, "{compared} moments at ends of events");
    }
}

#[test]
fn breakpoints_are_hit_each_time_with_the_arguments() {
    for recording in recordings("steps", &[]) {
        let [work, ..] = addresses(&recording);
        let mut arguments = Vec::new();
        walk(&recording, |session, report| {
            if let Some(report) = report {
                assert_eq!(report.why, Why::Breakpoint(work));
                let registers = registers(session).expect("registers");
                assert_eq!(registers.ip(), work);
                arguments.push(registers.args()[0]);
            } else {
                assert!(session.stop_at(Point::Execute(work)));
            }
            Limit::End
        });
        assert_eq!(arguments[..10], (0..10).collect::<Vec<_>>());
        assert_eq!(arguments.len(), 10 + 3 * 40 + 1);
        assert_eq!(arguments.last(), Some(&7));
        let taken_away = |limit: usize| {
            let mut hits = 0;
            walk(&recording, |session, report| {
                match report {
                    None => assert!(session.stop_at(Point::Execute(work))),
                    Some(_) => hits += 1,
                }
                if hits == limit {
                    assert!(session.stop_no_more_at(Point::Execute(work)));
                }
                Limit::End
            });
            hits
        };
        assert_eq!(taken_away(5), 5);
    }
}

#[test]
fn watchpoints_see_the_program_and_the_kernel_write() {
    for recording in recordings("steps", &[]) {
        let [_, word, _] = addresses(&recording);
        let point = Point::Write { address: word, len: 8 };
        let mut values = Vec::new();
        walk(&recording, |session, report| {
            if let Some(report) = report {
                assert_eq!(report.why, Why::Watchpoint(word));
                let bytes = session.read(report.task, word, 8).expect("memory");
                values.push(u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
            } else {
                assert!(session.stop_at(point));
            }
            Limit::End
        });
        let first: Vec<_> = (0..10).chain(100..103).collect();
        assert_eq!(values[..13], first);
        assert_eq!(values.len(), 13 + 3 * 40 + 1);
        assert!(values.iter().all(|value| *value < 200));
    }
}

#[test]
fn waiting_tasks_stand_at_their_calls_in_their_own_code() {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    for recording in recordings("steps", &[]) {
        let mut waiting = 0;
        walk(&recording, |session, report| {
            if report.is_some_and(|report| report.event % 5 == 0) {
                let living: Vec<_> = session.state().tasks().map(|(id, _)| id).collect();
                let current = session.state().current();
                for id in living.into_iter().filter(|id| *id != current) {
                    let registers = session.registers(id).expect("registers").expect("a task");
                    assert!(!is_ours(registers.ip()), "{id}: {:#x}", registers.ip());
                    assert_ne!(registers.0[21], 0, "thread-local storage");
                    let code = session.read(id, registers.ip() - 2, 2).expect("code");
                    waiting += usize::from(code == SYSCALL);
                }
            }
            Limit::Event
        });
        assert!(waiting > 3, "{waiting}");
    }
}

#[test]
fn patched_code_reads_as_it_was() {
    for recording in recordings("steps", &[]) {
        let sites = recording.log.events().filter_map(|event| match event.expect("an event") {
            Event::Patched(patched) => Some((patched.site, patched.code)),
            _ => None,
        });
        let sites: Vec<(u64, Vec<u8>)> = sites.collect();
        assert!(!sites.is_empty());
        walk(&recording, |session, report| {
            if report.is_some_and(|report| report.event + 2 > recording.log.count()) {
                for (site, code) in &sites {
                    let read = session.read(TaskId(0), *site, code.len()).expect("code");
                    assert!(read.starts_with(&[0x0f, 0x05]) && read != *code, "{site:#x}: {read:x?}");
                }
            }
            Limit::Event
        });
    }
}

#[test]
fn several_go_on_by_turns_on_one_thread() {
    let kinds = [("steps", &[][..]), ("forks", &[]), ("turns", &[]), ("signals", &[])];
    let recordings: Vec<Recording> =
        kinds.into_iter().flat_map(|(name, args)| recordings(name, args)).collect();
    let mut outputs: Vec<Output> = recordings.iter().map(|_| Output::default()).collect();
    let mut pushes: Vec<_> = outputs
        .iter_mut()
        .map(|output| move |stream: Stream, bytes: &[u8]| output.push(stream, bytes))
        .collect();
    let mut sessions: Vec<Option<Session<'_>>> = recordings
        .iter()
        .zip(&mut pushes)
        .map(|(recording, push)| Some(Session::start(&recording.log, options(push)).expect("a session")))
        .collect();
    let limits = [Limit::Event, Limit::Ticks(3), Limit::Event, Limit::Instruction, Limit::Event];
    let mut round = 0;
    while sessions.iter().any(Option::is_some) {
        for (at, (place, recording)) in sessions.iter_mut().zip(&recordings).enumerate() {
            let Some(session) = place else { continue };
            let report = session.step(limits[(round + at) % limits.len()]);
            let report = report.unwrap_or_else(|error| panic!("{at} in round {round}: {error}"));
            if report.why == Why::Ended {
                let (ending, stats) = session.ended().expect("an end");
                assert_eq!((ending, stats), (&recording.ending, recording.stats));
                *place = None;
            }
            // One is given up in the middle of its work, which is nothing to the others.
            if at == 1 && round == 40 {
                *place = None;
            }
        }
        round += 1;
    }
    drop(sessions);
    drop(pushes);
    for (at, (output, recording)) in outputs.iter().zip(&recordings).enumerate() {
        assert!(at == 1 || *output == recording.output, "{at}");
    }
}

#[test]
fn a_cursor_is_put_at_any_event() {
    for recording in recordings("steps", &[]) {
        let events: Vec<Event> = recording.log.events().collect::<Result<_, _>>().expect("events");
        walk(&recording, |session, report| {
            let at = report.map_or(1, |report| report.event);
            let mut cursor = session.cursor().clone();
            assert_eq!(cursor.take().expect("an event"), events.get(at as usize).cloned());
            let other = (at * 7919) % events.len() as u64;
            cursor.seek(other);
            assert_eq!(cursor.peek().expect("an event"), events.get(other as usize));
            assert_eq!(session.cursor().position(), at, "the session's own stays");
            Limit::Event
        });
    }
}

/// Programs of all kinds, stepped by whatever comes: the end is as it was.
#[test]
fn any_way_through_comes_to_the_same_end() {
    for (name, args) in [
        ("forks", &[][..]),
        ("signals", &[]),
        ("reads", &[]),
        ("turns", &[]),
        ("spins", &["tight"]),
        ("jit", &[]),
    ] {
        for (round, recording) in recordings(name, args).iter().enumerate() {
            let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_add(round as u64);
            let mut steps = 0;
            walk(recording, |session, _| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                steps += 1;
                let _ = registers(session);
                match random % 8 {
                    // Long ways are gone fast, after a while.
                    _ if steps > 3000 => Limit::End,
                    0 => Limit::Ticks(random >> 8 & 15),
                    1 | 2 => Limit::Instruction,
                    _ => Limit::Event,
                }
            });
        }
    }
}
