//! Who runs next. Pure: it knows no process, so that every rule here can be tested alone.

pub mod deadline;
mod fair;
pub mod futex;
mod newborns;
mod pct;
#[cfg(test)]
mod programs;
mod random;
#[cfg(test)]
mod simulator;
pub mod strategy;
mod walk;

pub use strategy::{Choice, Operation, Plan, Point, Strategy, StrategyName, Why};

/// A timeslice so long that its end costs nothing, in ticks, yet short enough that the end of a sleep is noticed soon.
const LONG_SLICE: u64 = 10_000;

/// The strategy that a plan describes, at its start.
#[must_use]
pub fn build(plan: &Plan) -> Box<dyn Strategy> {
    match plan.strategy {
        StrategyName::Fair => Box::new(fair::Fair::default()),
        StrategyName::Walk => Box::new(walk::Walk::new(plan)),
        StrategyName::Pct => Box::new(pct::Pct::new(plan)),
    }
}

#[cfg(test)]
mod tests {
    use super::simulator::{Outcome, run};
    use super::*;

    fn plan(strategy: StrategyName, seed: u64, expected_ticks: u64) -> Plan {
        Plan { strategy, seed, expected_ticks, expected_tasks: 0 }
    }

    /// Prints how many attempts in a thousand fail, and the decisions of an attempt.
    #[test]
    #[ignore = "a measurement"]
    fn compare() {
        for (name, program) in programs::buggy().into_iter().chain(programs::sound()) {
            let ticks = run(&program, &mut *build(&plan(StrategyName::Fair, 0, 0))).ticks;
            print!("{name:22} {ticks:6} ticks");
            for (strategy, expected) in [
                (StrategyName::Fair, 0),
                (StrategyName::Walk, 0),
                (StrategyName::Pct, 0),
                (StrategyName::Pct, ticks.next_power_of_two()),
            ] {
                let attempts: u64 = if strategy == StrategyName::Fair { 1 } else { 4000 };
                let runs: Vec<_> = (0..attempts)
                    .map(|seed| run(&program, &mut *build(&plan(strategy, seed, expected))))
                    .collect();
                let count = |outcome| runs.iter().filter(|run| run.outcome == outcome).count();
                let failed = count(Outcome::Failed) + count(Outcome::Deadlocked);
                let decisions = runs.iter().map(|run| run.decisions).sum::<u64>() / attempts;
                print!(" | {:7.2} {decisions:5}", failed as f64 * 1000. / attempts as f64);
                if count(Outcome::Hung) > 0 {
                    print!(" HUNG {}", count(Outcome::Hung));
                }
            }
            println!();
        }
    }
}
