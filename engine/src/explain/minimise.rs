//! The smallest part of a script that still fails, by delta debugging.
//!
//! After Zeller & Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (IEEE TSE 28(2), 2002), and Choi &
//! Zeller, "Isolating Failure-Inducing Thread Schedules" (ISSTA 2002). Preemptions and surprises go first: those are
//! what a reader has to understand. Then switches of tasks that cannot go on, and wakes, become what they would be
//! without the script.

use super::Lab;
use crate::schedule::script::Script;

/// A part that a script can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Switch(usize),
    Pick(usize),
    Stroke(usize),
    First,
}

/// Returns the smallest script found that fails in the same way. Each part of it is needed, unless time has run out.
pub fn minimise(lab: &mut impl Lab, script: &Script) -> Script {
    let nothing = Script::default();
    if lab.fails(&nothing) {
        return nothing;
    }
    let mut script = script.clone();
    loop {
        let before = size(&script);
        for kind in [preemptions, surprises, others] {
            script = reduce(lab, &script, &kind(&script));
        }
        // What is needed may change with what else is there.
        if size(&script) == before || before.0 == 0 {
            return script;
        }
    }
}

/// Returns what is to be small: first of all what a reader has to understand.
pub fn size(script: &Script) -> (usize, usize) {
    let all = script.switches.len() + script.picks.len() + script.strokes.len();
    (script.preemptions() + script.surprises(), all + usize::from(script.first.is_some()))
}

fn preemptions(script: &Script) -> Vec<Part> {
    (0..script.switches.len()).filter(|at| script.switches[*at].preempts()).map(Part::Switch).collect()
}

fn surprises(script: &Script) -> Vec<Part> {
    let strokes = (0..script.strokes.len()).map(Part::Stroke);
    strokes.chain((0..script.picks.len()).map(Part::Pick)).collect()
}

fn others(script: &Script) -> Vec<Part> {
    let switches = (0..script.switches.len()).filter(|at| !script.switches[*at].preempts());
    script.first.map(|_| Part::First).into_iter().chain(switches.map(Part::Switch)).collect()
}

/// Leaves out as many of these parts as possible.
fn reduce(lab: &mut impl Lab, script: &Script, parts: &[Part]) -> Script {
    let mut kept = parts.to_vec();
    let with = |kept: &[Part]| without(script, parts, kept);
    let mut chunk = kept.len();
    while chunk > 0 {
        let mut at = 0;
        while at < kept.len() {
            let end = (at + chunk).min(kept.len());
            let fewer = [&kept[..at], &kept[end..]].concat();
            match lab.run(&with(&fewer)) {
                None => return with(&kept),
                Some(tried) if tried.same => kept = fewer,
                Some(_) => at = end,
            }
        }
        chunk /= 2;
    }
    with(&kept)
}

/// Returns a script without those of `parts` that are not in `kept`.
fn without(script: &Script, parts: &[Part], kept: &[Part]) -> Script {
    let is_left = |part: Part| !parts.contains(&part) || kept.contains(&part);
    fn left<T: Clone>(all: &[T], is_left: impl Fn(usize) -> bool) -> Vec<T> {
        all.iter().enumerate().filter(|(at, _)| is_left(*at)).map(|(_, it)| it.clone()).collect()
    }
    Script {
        first: script.first.filter(|_| is_left(Part::First)),
        switches: left(&script.switches, |at| is_left(Part::Switch(at))),
        picks: left(&script.picks, |at| is_left(Part::Pick(at))),
        strokes: left(&script.strokes, |at| is_left(Part::Stroke(at))),
        marks: script.marks.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::testing::{Fake, script};

    #[test]
    fn what_is_not_needed_goes() {
        let all: Vec<u64> = (1..=100).collect();
        for needed in [&[17][..], &[3, 90], &[1, 50, 100]] {
            let mut lab = Fake::that(|it: &Script| {
                needed.iter().all(|ticks| it.switches.iter().any(|switch| switch.at.ticks == *ticks))
            });
            assert_eq!(minimise(&mut lab, &script(&all)), script(needed));
            assert!(lab.runs < 120, "{needed:?}: {} experiments", lab.runs);
        }
    }

    #[test]
    fn what_always_fails_needs_nothing() {
        let mut lab = Fake::that(|_: &Script| true);
        assert_eq!(minimise(&mut lab, &script(&[1, 2, 3])), Script::default());
        assert_eq!(lab.runs, 1);
    }

    #[test]
    fn one_preemption_of_two_that_will_each_do_is_left() {
        let has = |it: &Script, ticks| it.switches.iter().any(|switch| switch.at.ticks == ticks);
        let mut lab = Fake::that(|it: &Script| has(it, 2) || has(it, 5));
        assert_eq!(minimise(&mut lab, &script(&[1, 2, 3, 4, 5, 6])).preemptions(), 1);
    }

    #[test]
    fn when_time_runs_out_what_was_found_still_fails() {
        let all: Vec<u64> = (1..=100).collect();
        let fails = |it: &Script| it.switches.iter().any(|switch| switch.at.ticks == 70);
        for most in 0..12 {
            let mut lab = Fake::that(fails);
            lab.most = most;
            assert!(fails(&minimise(&mut lab, &script(&all))));
        }
    }
}
