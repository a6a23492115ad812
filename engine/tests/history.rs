//! What happens in a run, told by a replay of it: the recorder has counted the same.

#[path = "programs/made.rs"]
mod made;

use made::common::{GO_ON, PATIENCE, core};
use made::{compile, record, text};
use rrtest_engine::history::{History, How, Lost, turns};
use rrtest_engine::record::Recording;
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::trace::Source;
use rrtest_engine::trace::event::Event;

fn of(recording: &Recording) -> History {
    let how = How { core: core(), stop: &GO_ON, patience: PATIENCE };
    turns(&recording.log, how).expect("a history")
}

#[test]
fn a_history_has_all_that_was_recorded() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, args) in [("relay", &[][..]), ("pipes", &[]), ("turns", &[]), ("forks", &[]), ("signals", &[])]
    {
        let path = compile(name, directory.path());
        for (strategy, seed) in [(StrategyName::Fair, 0), (StrategyName::Walk, 1), (StrategyName::Walk, 2)] {
            let recording = record(&path, args, directory.path(), strategy, seed);
            let history = of(&recording);
            let told = format!("{name}, {strategy:?} {seed}");
            assert_eq!(text(&history.output), text(&recording.output), "{told}");
            assert_eq!(history.end.ticks, recording.stats.ticks, "{told}");
            // Calls that never return are counted, and are no events.
            assert!(history.calls.len() as u64 <= recording.stats.syscalls, "{told}");
            let events = recording.log.events().map(|event| event.expect("an event"));
            let stopped = events.filter(|event| matches!(event, Event::Syscall(_))).count();
            assert_eq!(history.calls.iter().filter(|call| call.args.is_some()).count(), stopped, "{told}");
            assert_eq!(history.threads.len(), recording.stats.tasks as usize, "{told}");
            let preempted = history.turns.iter().filter(|turn| turn.why == Lost::Preempted).count() as u64;
            assert_eq!(preempted, recording.stats.preemptions, "{told}");
            // One task runs at a time, from the start to the end, and what it calls is within its turn.
            assert!(
                history.turns.windows(2).all(|two| two[0].to == two[1].from && two[0].task != two[1].task)
            );
            assert!(history.turns.iter().all(|turn| turn.from <= turn.to), "{told}");
            assert_eq!(
                history.turns.last().map(|turn| (turn.to, turn.why)),
                Some((history.end, Lost::Ended))
            );
            let mut calls = history.calls.iter().peekable();
            for turn in &history.turns {
                while let Some(call) = calls.next_if(|call| call.at.calls < turn.to.calls) {
                    assert_eq!(call.task, turn.task, "{told}: {call:?} in {turn:?}");
                    assert!(
                        turn.from.ticks <= call.at.ticks && call.at.ticks <= turn.to.ticks,
                        "{told}: {call:?}"
                    );
                }
            }
            assert!(calls.next().is_none() && history.events.is_sorted(), "{told}");
        }
    }
}
