use rrtest_engine::{program::Program, record, replay, schedule::*, trace::event::Stream};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
fn main() {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let stop = AtomicBool::new(false);
    let seeds: u64 = std::env::var("SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let base: u64 = std::env::var("BASE").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let strategy = match std::env::var("STRAT").as_deref() {
        Ok("walk") => StrategyName::Walk,
        Ok("pct") => StrategyName::Pct,
        _ => StrategyName::Fair,
    };
    let quiet = seeds > 1;
    let mut tally = std::collections::BTreeMap::new();
    for seed in base..base + seeds {
        let program = Program {
            path: args[0].clone().into(),
            args: args[1..].to_vec(),
            env: std::env::vars_os().collect(),
            cwd: std::env::current_dir().unwrap(),
        };
        let options = record::Options {
            plan: Plan { strategy, seed, expected_ticks: 0, expected_tasks: 0 },
            core: 0,
            pretend_cores: 4,
            timeout: Duration::from_secs(20),
            watchdog_main: true,
            stop: &stop,
        };
        let r = match record::record(&program, &options) {
            Ok(r) => r,
            Err(e) => {
                eprintln!("{seed}: error {e}");
                continue;
            }
        };
        if !quiet {
            eprintln!(
                "{:?} {:?} {:?} events {} bytes {}",
                r.ending,
                r.stats,
                r.wall,
                r.log.count(),
                r.log.size()
            );
            for (s, b) in &r.output {
                eprint!("{}{}", if *s == Stream::Stdout { "" } else { "" }, String::from_utf8_lossy(b));
            }
        }
        let key = format!("{:?}", r.ending).chars().take(40).collect::<String>();
        *tally.entry(key).or_insert(0) += 1;
        let noreplay = std::env::var("NOREPLAY").is_ok();
        if noreplay {
            if quiet {
                eprint!("{:?} ", r.wall);
            }
            continue;
        }
        let t = Instant::now();
        let mut out = Vec::new();
        let res = replay::replay(
            &r.log,
            replay::Options {
                core: 0,
                stop: &stop,
                patience: Duration::from_secs(20),
                output: &mut |s, b| out.push((s, b.to_vec())),
            },
        );
        match res {
            Ok(rep) => {
                if rep.ending != r.ending || rep.stats != r.stats || out != r.output {
                    eprintln!("{seed}: MISMATCH {:?} {:?}", rep, r.stats)
                } else if !quiet {
                    eprintln!("replayed {:?}", t.elapsed())
                }
            }
            Err(e) => eprintln!("{seed}: REPLAY {e}"),
        }
    }
    eprintln!("{tally:?}");
}
