//! The questions that are put to a failure, one after the other.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rrtest_engine::explain::minimise::{minimise, size};
use rrtest_engine::explain::window::{Window, window};
use rrtest_engine::explain::{Lab, Tried};
use rrtest_engine::record::Recording;
use rrtest_engine::schedule::explore::Explorer;
use rrtest_engine::schedule::portfolio::{self, Measured};
use rrtest_engine::schedule::script::{Script, Spot, When};
use rrtest_engine::schedule::{Plan, StrategyName};
use rrtest_engine::strike::Thread;
use rrtest_engine::task::TaskId;

use super::bench::Bench;
use super::case::Case;
use super::places::{MOST_MARKS, Places};
use super::{race, trace};
use crate::attempt::events::{Explained, Kept};
use crate::attempt::record::Setting;
use crate::base::words;
use crate::ending::explanation::{Explanation, Fewer, Needs, Rate, Told};
use crate::ending::strikes;

/// How often the first schedule is run before it counts as one that does not fail again.
const TRIES: usize = 3;

/// Runs with and without what a failure needs, to measure its effect.
const MEASURED: u64 = 50;

/// Other schedules under which a failure that needs no preemption is tried.
const OTHERS: u64 = 20;

/// An attempt that takes more than this part of the time is not explained.
const LEAST_RUNS: u32 = 20;

/// What is found out of a case in so much time.
pub(crate) struct Answer {
    pub(crate) explained: Explained,
    /// What the user should know.
    pub(crate) warning: Option<String>,
}

/// Explains a failure.
///
/// # Errors
/// Why it is not explained: there is no time for it, or it cannot be recorded any more.
pub(crate) fn explain(
    setting: &Setting<'_>,
    case: &Case,
    core: usize,
    stop: &AtomicBool,
    time: Duration,
    keep_original: bool,
) -> Result<Answer, String> {
    let not = |why: &str| format!("{} is not explained: {why}", case.job.test.id());
    if case.noted.cut {
        return Err(not("the attempt has had more switches and surprises than can be tried one by one"));
    }
    let start = Instant::now();
    let until =
        start.checked_add(time).ok_or_else(|| not("the time for that goes beyond what clocks count"))?;
    let mut bench = Bench::new(setting, case, core, stop, until);
    let before = case.noted.script.clone();
    let longest = time / LEAST_RUNS;
    // The attempt may have spent most of its time on a backtrace, which experiments leave out.
    if case.wall > longest && bench.wall(&before, time / 4).is_none_or(|wall| wall > longest) {
        return Err(not(&too_long(case.wall, time)));
    }
    let explanation = |bench: &Bench<'_>, needs: Needs, script: &Script| Explanation {
        needs,
        preemptions: Fewer { before: case.preemptions, after: script.preemptions() as u64 },
        surprises: Fewer { before: before.surprises() as u64, after: script.surprises() as u64 },
        windows: Vec::new(),
        race: None,
        besides: Vec::new(),
        with: Rate::default(),
        without: Rate::default(),
        experiments: bench.runs,
        seconds: start.elapsed().as_secs_f64(),
        script: script.clone(),
        preempt: case.job.level.name().to_owned(),
        seed: case.job.seed.to_string(),
    };
    let told = |explanation, trace: Option<Kept>, warning| {
        let explained = Explained {
            test: case.job.test.clone(),
            number: case.job.number,
            pinned: case.job.pinned.clone(),
            explanation,
            replaced: trace.is_some(),
            trace: trace.unwrap_or_else(|| case.trace.clone()),
        };
        Ok(Answer { explained, warning })
    };
    let broken = |bench: &Bench<'_>| bench.error.as_ref().map(|error| not(&error.to_string()));
    let Some(again) = fails_again(&mut bench) else {
        if let Some(why) = broken(&bench) {
            return Err(why);
        }
        if bench.is_over() {
            let time = words::rounded(time);
            return Err(not(&format!(
                "it did not fail again within {time}\n  --explain DURATION gives it more time"
            )));
        }
        return told(explanation(&bench, Needs::Unknown, &before), None, None);
    };
    let smallest = smallest(&mut bench, &again);
    let Some(needs) = needs(&mut bench, &smallest) else {
        return Err(broken(&bench).unwrap_or_else(|| {
            let time = words::rounded(time);
            not(&format!(
                "other schedules were not tried within {time}\n  --explain DURATION gives it more time"
            ))
        }));
    };
    let mut found = explanation(&bench, needs.0, &smallest);
    found.without = needs.1;
    let recording = tell(&mut bench, smallest, &mut found);
    if let Some(why) = broken(&bench) {
        return Err(why);
    }
    found.experiments = bench.runs;
    found.seconds = start.elapsed().as_secs_f64();
    // What fails under any schedule is as well shown by the first trace. All else is to be found in the trace, even if its
    // schedule was the smallest one from the beginning.
    let Some(recording) = recording.filter(|_| found.needs != Needs::Nothing) else {
        return told(found, None, None);
    };
    match trace::replace(setting, case, &recording, &found, core, keep_original) {
        Ok(path) => told(found, Some(Kept { path, ..case.trace.clone() }), None),
        Err(why) => {
            let warning = format!(
                "the smallest schedule of {} fails, but its trace could not be kept; the first one is\n  {why}",
                case.job.test.id()
            );
            told(found, None, Some(warning))
        }
    }
}

/// Says that an attempt takes too long to be made again and again in this time.
fn too_long(wall: Duration, time: Duration) -> String {
    let enough = (wall * LEAST_RUNS * 2).as_secs() + 1;
    let (wall, time) = (words::rounded(wall), words::rounded(time));
    format!(
        "an attempt takes {wall}, and there are {time} left for experiments\n  --explain {enough}s gives them more"
    )
}

/// Returns a script that fails: the attempt's own, or what its seed leads to now.
fn fails_again(bench: &mut Bench<'_>) -> Option<Script> {
    let script = bench.case.noted.script.clone();
    for _ in 0..TRIES {
        if bench.fails(&script) {
            return Some(script);
        }
    }
    for _ in 0..TRIES {
        let recording = bench.record_plan(bench.case.plan.clone())?;
        if bench.is_same(&recording) && bench.fails(&recording.noted.script) {
            return Some(recording.noted.script);
        }
    }
    None
}

/// Returns the smallest script that can be found: the smallest part of this one, or one with fewer preemptions that
/// going through all such schedules comes upon.
fn smallest(bench: &mut Bench<'_>, script: &Script) -> Script {
    let mut best = minimise(bench, script);
    while size(&best).0 > 0 && size(&best).1 > 1 && !bench.is_over() {
        let Some(bound) = bound(&best) else { break };
        // What follows needs some of the time as well.
        let left = bench.until.saturating_duration_since(Instant::now());
        let Some(other) = explore(bench, bound.min(2), Instant::now() + left / 2) else { break };
        let other = minimise(bench, &other);
        if size(&other) >= size(&best) {
            break;
        }
        best = other;
    }
    best
}

/// Returns how many preemptions a smaller script can have at most: as many, if this one has more besides what a reader
/// has to understand. None if it cannot have fewer.
fn bound(script: &Script) -> Option<usize> {
    let (preemptions, (needed, all)) = (script.preemptions(), size(script));
    if all > needed { Some(preemptions) } else { preemptions.checked_sub(1) }
}

/// Goes through the schedules with few preemptions until one fails in the same way.
pub(super) fn explore(bench: &mut Bench<'_>, bound: usize, until: Instant) -> Option<Script> {
    let mut explorer = Explorer::new(bound);
    while let Some(schedule) = explorer.take() {
        if Instant::now() >= until {
            return None;
        }
        let plan = Plan {
            strategy: StrategyName::Systematic,
            deviations: schedule.deviations.clone(),
            at_once: schedule.at_once,
            script: Script::default(),
            ..bench.case.plan.clone()
        };
        let recording = bench.record_plan(plan)?;
        if bench.is_same(&recording) && bench.fails(&recording.noted.script) {
            return Some(recording.noted.script);
        }
        explorer.ended(&schedule, &recording.decided);
    }
    None
}

/// Returns what a smallest script means; for one that needs neither preemption nor surprise, how often others fail. None
/// if there was no time to try one of them.
fn needs(bench: &mut Bench<'_>, script: &Script) -> Option<(Needs, Rate)> {
    if script.preemptions() > 0 {
        return Some((Needs::Preemptions, Rate::default()));
    }
    if script.surprises() > 0 {
        return Some((Needs::Surprises, Rate::default()));
    }
    let mut others = Rate::default();
    for number in 0..OTHERS {
        let strategy = portfolio::strategy(number, &[]);
        let seed = portfolio::seed(bench.case.job.seed.0, number, strategy, &Measured::default());
        let Some(recording) = bench.record_plan(portfolio::plan(seed, &[strategy])) else { break };
        others.runs += 1;
        others.failed += u64::from(bench.is_same(&recording));
    }
    let needs = if others.failed == others.runs { Needs::Nothing } else { Needs::Order };
    (others.runs > 0).then_some((needs, others))
}

/// Finds the windows of a script's preemptions and the effect of all, and puts them into words. Returns the recording that
/// is to be kept.
fn tell(bench: &mut Bench<'_>, script: Script, found: &mut Explanation) -> Option<Recording> {
    let (script, windows) = windows(bench, script);
    found.script = script.clone();
    found.windows = describe(bench, &script, &windows);
    found.race = race::told(bench, &script, &windows);
    let needs_any = script.preemptions() + script.surprises() > 0;
    found.with = rate(bench, if needs_any { MEASURED } else { OTHERS }, |_| script.clone());
    if needs_any {
        let without: Vec<Script> = each_missing(&script).collect();
        found.without = rate(bench, MEASURED, |number| without[number as usize % without.len()].clone());
    }
    found.besides = orders(bench, &script);
    // What is kept is recorded even if the time is over.
    let recording = bench.record_to_keep(&script)?;
    found.besides.splice(0..0, strikes::sentences(&recording.strikes));
    bench.is_same(&recording).then_some(recording)
}

/// The script without one of what it needs.
fn each_missing(script: &Script) -> impl Iterator<Item = Script> {
    let switches = (0..script.switches.len()).filter(|at| script.switches[*at].preempts()).map(|at| {
        let mut less = script.clone();
        less.switches.remove(at);
        less
    });
    let strokes = (0..script.strokes.len()).map(|at| {
        let mut less = script.clone();
        less.strokes.remove(at);
        less
    });
    let picks = (0..script.picks.len()).map(|at| {
        let mut less = script.clone();
        less.picks.remove(at);
        less
    });
    switches.chain(strokes).chain(picks)
}

/// Runs scripts so many times, as long as there is time.
pub(super) fn rate(bench: &mut Bench<'_>, runs: u64, script: impl Fn(u64) -> Script) -> Rate {
    let mut rate = Rate::default();
    for number in 0..runs {
        let Some(Tried { same, .. }) = bench.run(&script(number)) else { break };
        rate.runs += 1;
        rate.failed += u64::from(same);
    }
    rate
}

/// Finds the window of each preemption.
fn windows(bench: &mut Bench<'_>, mut script: Script) -> (Script, Vec<Window>) {
    let mut windows = Vec::new();
    for at in 0..script.switches.len() {
        if !script.switches[at].preempts() {
            continue;
        }
        if let Some((window, simpler)) = window(bench, &script, at) {
            windows.push(window);
            script = simpler;
        }
    }
    (script, windows)
}

/// Puts windows into source lines.
fn describe(bench: &mut Bench<'_>, script: &Script, windows: &[Window]) -> Vec<Told> {
    let spots: Vec<Spot> = windows.iter().flat_map(spots).collect();
    let (mut places, mut threads) = (Places::default(), Vec::new());
    // Where the program does not get that far once it fails, it may without failing.
    for marked in [script.clone(), Script::default()] {
        if let Some(recording) = bench.record(&Script { marks: up_to(&spots), ..marked }) {
            places.add(&recording.marks);
            threads.extend(recording.threads);
        }
        if spots.iter().all(|spot| places.of(*spot).is_some()) {
            break;
        }
    }
    windows.iter().map(|window| told(window, &places, &threads)).collect()
}

/// All operations of the same tasks up to these, to count how often they come to the same lines; or only these, if there
/// are too many.
fn up_to(spots: &[Spot]) -> Vec<Spot> {
    let mut all = spots.to_vec();
    for spot in spots {
        all.extend((1..spot.ticks.min(MOST_MARKS)).map(|ticks| Spot { ticks, ..*spot }));
    }
    all.sort_unstable();
    all.dedup();
    if all.len() as u64 > MOST_MARKS { spots.to_vec() } else { all }
}

/// Where the tasks of a window are to be looked at.
fn spots(window: &Window) -> impl Iterator<Item = Spot> {
    let Window { task, after, before, other, up_to } = *window;
    let of = |task, ticks: Option<u64>| ticks.map(|ticks| Spot { task, ticks });
    [of(task, after), of(task, before), of(other, up_to)].into_iter().flatten()
}

fn told(window: &Window, places: &Places, threads: &[Thread]) -> Told {
    let Window { task, after, before, other, up_to } = *window;
    let place = |task: TaskId, ticks: Option<u64>| places.of(Spot { task, ticks: ticks? });
    let name = |task: TaskId| {
        let of = threads.iter().find(|thread| thread.task == task);
        of.map_or_else(|| task.to_string(), ToString::to_string)
    };
    Told {
        thread: name(task),
        after: place(task, after),
        before: place(task, before),
        other: name(other),
        up_to: place(other, up_to),
    }
}

/// What a script says besides its preemptions: who runs next where a thread cannot go on, and whom a wake wakes.
fn orders(bench: &mut Bench<'_>, script: &Script) -> Vec<String> {
    let spots: Vec<Spot> = script.switches.iter().filter(|it| !it.preempts()).map(|it| it.at).collect();
    let marked = Script { marks: spots.clone(), ..script.clone() };
    let Some(recording) = bench.record(&marked) else { return Vec::new() };
    let name = |task: TaskId| {
        let of = recording.threads.iter().find(|thread| thread.task == task);
        of.map_or_else(|| task.to_string(), ToString::to_string)
    };
    let mut places = Places::default();
    places.add(&recording.marks);
    let switches = script.switches.iter().filter(|switch| !switch.preempts()).map(|switch| {
        let at = places.of(switch.at).map(|place| format!(" at {}:{}", place.file, place.line));
        let what = if switch.when == When::Yields { "yields" } else { "cannot go on" };
        format!(
            "where {} {what}{}, {} runs next",
            name(switch.at.task),
            at.unwrap_or_default(),
            name(switch.to)
        )
    });
    let first = script.first.map(|task| format!("{} runs first", name(task)));
    let picks = script.picks.iter().map(|pick| {
        format!(
            "wake {} by {} wakes {}, not the one that has waited longest",
            pick.wake,
            name(pick.by),
            name(pick.woken)
        )
    });
    let mut told: Vec<(String, u64)> = Vec::new();
    for line in first.into_iter().chain(switches).chain(picks) {
        match told.iter_mut().find(|(other, _)| *other == line) {
            Some((_, times)) => *times += 1,
            None => told.push((line, 1)),
        }
    }
    let often = |(line, times)| if times == 1 { line } else { format!("{line} ({times} times)") };
    told.into_iter().map(often).collect()
}

#[cfg(test)]
mod tests {
    use rrtest_engine::schedule::injector::Stroke;
    use rrtest_engine::schedule::script::{Switch, When};
    use rrtest_engine::schedule::surprise::Surprise;
    use rrtest_engine::task::TaskId;

    use super::*;

    #[test]
    fn a_smaller_script_has_fewer_preemptions_or_less_besides() {
        let [one, other] = [0, 1].map(TaskId);
        let switch = |when| Switch { at: Spot { task: one, ticks: 5 }, when, to: other };
        let stroke = Stroke { kind: Surprise::Early, task: one, occasion: 1, draws: Vec::new() };
        let bound = |switches: &[When], strokes: usize| {
            let switches = switches.iter().map(|when| switch(*when)).collect();
            super::bound(&Script { switches, strokes: vec![stroke.clone(); strokes], ..Script::default() })
        };
        assert_eq!(bound(&[When::Before, When::Before], 0), Some(1));
        assert_eq!(bound(&[When::Before, When::Ends], 0), Some(1), "without the other switch");
        assert_eq!(bound(&[], 2), None, "it needs nothing but surprises");
    }
}
