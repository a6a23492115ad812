//! Who runs next. Pure: the room knows no process, so every rule can be tested alone.
//!
//! A [`Strategy`] decides which task runs and for how long; a [`Plan`] says which one, with which seed ([`portfolio`]
//! makes plans, [`explore`] enumerates them, a [`script`] is a schedule written out). What the strategies have to
//! choose from is here too: queues of futexes and deadlines, which the recorder keeps for the kernel, and
//! [`surprise`]s, which it may inject ([`injector`]). Below this room there are only task numbers.

pub mod deadline;
pub mod explore;
pub mod futex;
pub mod injector;
mod names;
pub mod portfolio;
mod random;
pub mod script;
#[cfg(test)]
mod simulation;
mod strategies;
pub mod strategy;
pub mod surprise;

pub use names::{StrategyName, UnknownStrategy};
pub use strategies::build;
pub use strategy::{
    AccessWatch, Branch, Choice, Decided, Deviation, Hits, Operation, Plan, Point, Strategy, Why,
};

#[cfg(test)]
mod tests {
    use super::portfolio::Measured;
    use super::script::{Noted, Script, Spot};
    use super::simulation::{Outcome, Program, Run, programs, run};
    use super::*;
    use crate::task::TaskId;

    /// How attempts are scheduled: by this strategy, or by the portfolio.
    type Way = Option<StrategyName>;

    /// All strategies that draw their schedules, and the portfolio.
    fn ways() -> Vec<Way> {
        use StrategyName::{Fair, Guided, Systematic};
        let drawn = StrategyName::ALL.into_iter().filter(|it| ![Fair, Guided, Systematic].contains(it));
        drawn.map(Some).chain([None]).collect()
    }

    fn name(way: Way) -> &'static str {
        way.map_or("portfolio", StrategyName::as_str)
    }

    /// Makes a plan for an attempt, from its number and what the first attempt measured.
    fn plan_of(way: Way, attempt: u64, measured: &Measured) -> Plan {
        match way {
            Some(strategy) => plan(attempt, &[strategy], measured),
            None => plan(1 + attempt, &[], measured),
        }
    }

    fn plan(attempt: u64, allowed: &[StrategyName], measured: &Measured) -> Plan {
        let strategy = portfolio::strategy(attempt, allowed);
        portfolio::plan(portfolio::seed(allowed.len() as u128, attempt, strategy, measured), &[])
    }

    /// How many of 100 fair schedules may fail.
    const FAIR_FAILURES: usize = 10;

    fn fair(program: &Program) -> Run {
        fair_with(0, program)
    }

    fn fair_with(seed: u64, program: &Program) -> Run {
        run(program, &mut *build(&Plan::new(StrategyName::Fair, seed)))
    }

    fn attempts(program: &Program, way: Way, count: u64) -> Vec<Run> {
        let measured = fair(program).measured;
        (0..count).map(|attempt| run(program, &mut *build(&plan_of(way, attempt, &measured)))).collect()
    }

    fn failures(runs: &[Run]) -> usize {
        runs.iter().filter(|run| matches!(run.outcome, Outcome::Failed | Outcome::Deadlocked)).count()
    }

    /// Prints the median number of attempts up to a failure (from the rate: ln 2 / rate), and the decisions of an
    /// attempt.
    #[test]
    #[ignore = "a measurement, not a test"]
    fn compare() {
        const ATTEMPTS: u64 = 2000;
        println!(
            "median attempts up to a failure, decisions of an attempt; {}",
            ways().into_iter().map(name).collect::<Vec<_>>().join(", ")
        );
        for (name, program) in programs::buggy() {
            print!("{name:22} {:5} ticks", fair(&program).measured.ticks);
            for way in ways() {
                let runs = attempts(&program, way, ATTEMPTS);
                let median = match failures(&runs) {
                    0 => "never".to_owned(),
                    count => format!("{:.0}", (ATTEMPTS as f64 / count as f64 * 2_f64.ln()).max(1.0)),
                };
                print!(" | {median:>6} {:5}", runs.iter().map(|run| run.decisions).sum::<u64>() / ATTEMPTS);
            }
            println!();
        }
    }

    #[test]
    fn bugs_hardly_show_by_themselves() {
        // The fair order is not quite regular, so sometimes it is a bad one.
        for (name, program) in programs::buggy() {
            let failed =
                (0..100).filter(|seed| fair_with(*seed, &program).outcome != Outcome::Passed).count();
            assert!(failed <= FAIR_FAILURES, "{name}: {failed} of 100");
        }
    }

    #[test]
    fn the_portfolio_finds_the_bugs_of_programs_narrow_and_wide() {
        let found = [
            "lost update",
            "lock order",
            "missed wait",
            "check then act, wide",
            "stolen wakeup",
            "reorder 10",
        ];
        for (name, program) in programs::buggy().into_iter().filter(|(name, _)| found.contains(name)) {
            let runs = attempts(&program, None, 1000);
            assert!(failures(&runs) > 0, "{name} never failed");
        }
    }

    #[test]
    fn sound_programs_pass_whoever_schedules_them() {
        for (name, program) in programs::sound() {
            assert_eq!(fair(&program).outcome, Outcome::Passed, "{name}, fair");
            for way in ways() {
                let way_name = self::name(way);
                for (attempt, run) in attempts(&program, way, 60).iter().enumerate() {
                    assert_eq!(run.outcome, Outcome::Passed, "{name}, {way_name}, attempt {attempt}");
                }
            }
        }
    }

    /// The paper's guarantee: a bug of depth 2 shows with a probability of at least 1 / (n · k).
    #[test]
    fn pct_keeps_its_promise() {
        let program = programs::buggy().swap_remove(0).1;
        let (tasks, ticks) = (4, fair(&program).measured.ticks);
        let attempts = 4 * tasks * ticks;
        let found = failures(&self::attempts(&program, Some(StrategyName::Pct), attempts));
        assert!(found >= 4, "{found} of {attempts}");
    }

    /// Who began to run where. When the last one ended is not the strategy's business.
    fn began(noted: Noted) -> Vec<(TaskId, u64)> {
        noted.turns.iter().map(|turn| (turn.task, turn.from)).collect()
    }

    /// A schedule that was noted comes about again as a script, whatever strategy it was.
    #[test]
    fn what_was_noted_runs_again() {
        for (name, program) in programs::buggy() {
            for way in ways() {
                let way_name = self::name(way);
                let measured = fair(&program).measured;
                for attempt in 0..40 {
                    let mut strategy = build(&plan_of(way, attempt, &measured));
                    let first = run(&program, &mut *strategy);
                    let noted = strategy.noted();
                    let mut scripted = build(&Plan::scripted(noted.script.clone(), 0));
                    let again = run(&program, &mut *scripted);
                    assert_eq!(first.outcome, again.outcome, "{name}, {way_name}, attempt {attempt}");
                    assert_eq!(
                        began(noted),
                        began(scripted.noted()),
                        "{name}, {way_name}, attempt {attempt}"
                    );
                }
            }
        }
    }

    /// Marks stop a task, and change nothing.
    #[test]
    fn marks_change_nothing() {
        let (name, program) = programs::buggy().swap_remove(0);
        let mut strategy = build(&Plan::new(StrategyName::Walk, 3));
        let first = run(&program, &mut *strategy);
        let noted = strategy.noted();
        let turns = noted.turns.len();
        let marks = (1..200).map(|ticks| Spot { task: TaskId(1), ticks }).collect();
        let mut marked = build(&Plan::scripted(Script { marks, ..noted.script }, 0));
        assert_eq!(run(&program, &mut *marked).outcome, first.outcome, "{name}");
        assert_eq!(began(marked.noted()).len(), turns);
    }

    #[test]
    fn equal_plans_run_equally() {
        for (name, program) in programs::buggy() {
            for way in ways() {
                assert_eq!(attempts(&program, way, 3), attempts(&program, way, 3), "{name}");
            }
        }
    }
}
