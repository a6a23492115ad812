//! Whether what a failure depends on is a data race.

use rrtest_engine::explain::Lab;
use rrtest_engine::explain::race::{Verdict, race, turns_meanwhile};
use rrtest_engine::explain::window::Window;
use rrtest_engine::mark::Mark;
use rrtest_engine::schedule::script::{Script, Spot, When};

use super::bench::Bench;
use super::places::{MOST_MARKS, Places};
use crate::build::instrument::Level;
use crate::ending::explanation::{Party, Race, RaceKind};

/// Finds out what the accesses are that a script's preemptions come between. The windows are those of its preemptions.
/// `None` where that is not certain, and where plain accesses do not tick.
pub(super) fn told(bench: &mut Bench<'_>, script: &Script, windows: &[Window]) -> Option<Race> {
    if bench.case.job.level != Level::Memory || script.preemptions() != windows.len() {
        return None;
    }
    let preemptions = (0..script.switches.len()).filter(|at| script.switches[*at].preempts());
    let races: Vec<_> = preemptions.zip(windows).map(|(at, window)| of(bench, script, at, window)).collect();
    let is = |race: &Option<Race>, kind| race.as_ref().is_some_and(|race| race.kind == kind);
    // One data race is enough; that there is none takes all of them.
    let data_race = races.iter().position(|race| is(race, RaceKind::DataRace));
    let all_atomic = races.iter().all(|race| is(race, RaceKind::RaceCondition));
    let told = data_race.or(all_atomic.then_some(0))?;
    races.into_iter().nth(told).flatten()
}

/// Holds the task of a preemption before the operation that it must not have done, and looks at all operations meanwhile.
fn of(bench: &mut Bench<'_>, script: &Script, at: usize, window: &Window) -> Option<Race> {
    let held = Spot { task: window.task, ticks: window.before? };
    let mut script = script.clone();
    let switch = &mut script.switches[at];
    if switch.when != When::Before || switch.at.task != held.task {
        return None;
    }
    switch.at = held;
    let tried = bench.run(&script).filter(|tried| tried.same)?;
    let meanwhile = turns_meanwhile(&tried.noted.turns, held);
    let spots = meanwhile
        .iter()
        .flat_map(|turn| (turn.from + 1..turn.to).map(|ticks| Spot { task: turn.task, ticks }));
    script.marks = spots.take(MOST_MARKS as usize).chain([held]).collect();
    let recording = bench.record(&script)?;
    if !bench.is_same(&recording) {
        return None;
    }
    let meanwhile = turns_meanwhile(&recording.noted.turns, held);
    let found = race(&recording.marks, held, meanwhile)?;
    let mut places = Places::default();
    places.add(&recording.marks);
    let party = |mark: &Mark| Some(Party { thread: mark.thread.to_string(), place: places.of(mark.spot)? });
    let kind = match found.verdict {
        Verdict::DataRace => RaceKind::DataRace,
        Verdict::RaceCondition => RaceKind::RaceCondition,
    };
    Some(Race { kind, held: party(found.held)?, meanwhile: party(found.meanwhile)? })
}
