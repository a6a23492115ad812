//! How soon each strategy finds each bug: many campaigns, each up to its first failure.
//!
//! ```text
//! cargo build --release && cargo run --release -p rrtest-tests --bin chances [-- [NAME]... [--campaigns N] [--quick] [--write]]
//! ```
//!
//! The programs are the races of `fixtures` and the programs of SCTBench there, the strategies all that the engine
//! has, and the portfolio that users get who choose none. Campaigns run side by side, one attempt at a time each,
//! through `cargo rrtest`. Where the first twenty find nothing the others are left out.

mod campaign;
mod cost;
mod programs;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, ensure};
use clap::Parser;
use rrtest_engine::schedule::StrategyName;
use rrtest_tests::tool::Tool;
use rrtest_tests::{Harness, facts};

use campaign::{Campaign, Finding, Scheduling};
use cost::Cost;
use programs::Program;

/// Measure how soon each strategy finds each bug
#[derive(Parser)]
struct Options {
    /// Only programs with one of these in their names [default: all]
    names: Vec<String>,
    /// Campaigns of each program under each strategy
    #[arg(long, value_name = "N", default_value = "50")]
    campaigns: u32,
    /// Rounds in which the cost of an attempt is measured
    #[arg(long, value_name = "N", default_value = "7")]
    rounds: u32,
    /// Three campaigns of each: to see that it works
    #[arg(long, conflicts_with_all = ["campaigns", "rounds"])]
    quick: bool,
    /// Attempts after which a campaign gives up
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..))]
    max_attempts: u64,
    /// Only these strategies, besides the portfolio [default: all]
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',')]
    strategy: Vec<StrategyName>,
    /// Also write the tables to `benches/results`, in a file named after the day
    #[arg(long, conflicts_with = "quick")]
    write: bool,
    /// The cargo-rrtest program [default: the one built beside this program]
    #[arg(long, value_name = "PATH")]
    tool: Option<PathBuf>,
}

impl Options {
    /// The strategies to compare, and the portfolio last.
    fn ways(&self) -> Vec<Scheduling> {
        let chosen = |name: &StrategyName| self.strategy.is_empty() || self.strategy.contains(name);
        // A fair schedule is not meant to find anything.
        // Nor does one that goes through all schedules make campaigns.
        let unfit = [StrategyName::Fair, StrategyName::Systematic];
        let strategies = StrategyName::ALL.into_iter().filter(|name| !unfit.contains(name) && chosen(name));
        strategies.map(Some).chain([None]).map(Scheduling).collect()
    }

    fn chosen(&self, program: &Program) -> bool {
        let name = program.to_string();
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part))
    }
}

/// What came of the campaigns of each program under each strategy.
type Findings = BTreeMap<(usize, usize), Vec<Finding>>;

fn main() -> Result<()> {
    let options = Options::parse();
    let facts = facts::lines();
    let path = match &options.tool {
        Some(tool) => tool.canonicalize()?,
        None => std::env::current_exe()?.with_file_name("cargo-rrtest"),
    };
    ensure!(path.is_file(), "no {}; `cargo build` makes it", path.display());
    let scratch = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("chances");
    std::fs::create_dir_all(&scratch)?;
    let world = Harness::with(Tool { path }, &scratch);

    let programs = programs::all(&world, |program| options.chosen(program));
    ensure!(!programs.is_empty(), "no program has such a name");
    let ways = options.ways();
    let campaigns = if options.quick { 3 } else { options.campaigns };
    let mut report = facts;
    if options.campaigns > 0 {
        let findings = run(&world, &programs, &ways, campaigns, options.max_attempts);
        let most = options.max_attempts;
        report += &format!(
            "- {campaigns} campaigns of each program under each strategy, of {most} attempts at most\n\n{}\n",
            table::findings(&programs, &ways, &findings, most)
        );
    }
    let rounds = if options.quick { 1 } else { options.rounds };
    if rounds > 0 {
        let cost = |program| {
            eprintln!("cost of {program} …");
            Cost::of(&world, program, &ways, rounds)
        };
        let costs: Vec<_> = programs.iter().map(cost).collect();
        report += &table::costs(&programs, &ways, &costs);
    }
    print!("{report}");
    if options.write {
        facts::keep("How soon each strategy finds each bug", "-chances", &report);
    }
    Ok(())
}

/// Whether the first campaigns of this kind have all found nothing: the others would take longest, and tell nothing
/// new.
fn hopeless(findings: &Mutex<Findings>, kind: (usize, usize)) -> bool {
    /// If one of four campaigns finds something, so many in a row find nothing once in 300 times.
    const IN_VAIN: usize = 20;
    let findings = findings.lock().expect("no worker panics");
    findings
        .get(&kind)
        .is_some_and(|all| all.len() >= IN_VAIN && all.iter().all(|one| !one.attempts.is_finite()))
}

/// Run all campaigns, as many side by side as there are cores.
fn run(world: &Harness, programs: &[Program], ways: &[Scheduling], campaigns: u32, most: u64) -> Findings {
    let jobs: Vec<_> = (0..programs.len())
        .flat_map(|program| (0..ways.len()).map(move |way| (program, way)))
        .flat_map(|(program, way)| {
            // Its schedules are no matter of chance: all campaigns are the same.
            let repeats = if ways[way] == Scheduling(Some(StrategyName::Systematic)) { 1 } else { campaigns };
            (1..=repeats).map(move |seed| ((program, way), seed))
        })
        .collect();
    let (next, findings) = (AtomicUsize::new(0), Mutex::new(Findings::new()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(&((program, way), seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (of, way_of) = (&programs[program], ways[way]);
                    if (way, seed) == (0, 1) {
                        eprintln!("{of} …");
                    }
                    if hopeless(&findings, (program, way)) {
                        continue;
                    }
                    let campaign = Campaign { program: of, way: way_of, seed: seed.into(), most };
                    let finding = campaign.run(world);
                    findings
                        .lock()
                        .expect("no worker panics")
                        .entry((program, way))
                        .or_default()
                        .push(finding);
                }
            });
        }
    });
    findings.into_inner().expect("no worker panics")
}
