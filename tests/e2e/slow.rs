//! What takes long: the promises in their full measure.

use std::path::Path;
use std::time::Duration;

use rrtest_tests::Harness;
use rrtest_tests::machines::{self, Disks};
use rrtest_tests::races::RACES;
use rrtest_tests::stress_ng::{self, Stand, Status, Table};
use rrtest_tests::tool::Run;

use crate::replay::elsewhere;
use crate::steady::survives;
use crate::{Tests, isolated, killed};

pub(crate) fn add(tests: &mut Tests) {
    tests.add("slow::steady".to_owned(), |world| survives(world, "steady", &[], "65"));
    tests.add("slow::stress_ng".to_owned(), stress_ng);
    tests.add("slow::machines".to_owned(), machines);
    killed::add_slow(tests);
    isolated::add_slow(tests);
    for race in RACES {
        tests.add(format!("slow::{}", race.package), |world| {
            for seed in 101..106 {
                let traces = world.dir();
                let (attempt, _) = race.find(world, seed, traces.path());
                let trace = attempt.trace().expect("a trace");
                for _ in 0..50 {
                    let _replayed = Run::of(&mut elsewhere(world, &trace)).expect(0);
                }
            }
        });
    }
}

/// How much longer than by itself, a second or so, a stressor may take.
const STRESSOR_LIMIT: Duration = Duration::from_secs(60);

/// Each stressor does as the table says, and nine in ten of those that run here are recorded and replayed.
fn stress_ng(world: &Harness) {
    let table = Table::kept();
    match stress_ng::version() {
        None => return world.skip("slow::stress_ng", "there is no stress-ng, a Debian package"),
        Some(version) if version != table.version => {
            println!("stress-ng {version}, the table has {}", table.version)
        }
        Some(_) => {}
    }
    let mut stand = Stand::new(&world.tool.path, &[], STRESSOR_LIMIT).expect("a place to run in");
    let (mut ok, mut others, mut surprises) = (0, 0, Vec::new());
    for (name, expected) in table.stressors.iter().filter(|(_, expected)| expected.status != Status::NotHere)
    {
        let found = stand.try_out(name, expected.ops).expect("it can be run");
        ok += usize::from(found.status == Status::Ok);
        others += usize::from(matches!(found.status, Status::Unsupported | Status::Refused));
        // What does not run on this machine says nothing.
        if found.status != expected.status && found.status != Status::NotHere {
            surprises.push(format!(
                "{name}: {} ({}), not {}",
                found.status.name(),
                found.note,
                expected.status.name()
            ));
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
    assert!(ok * 10 >= (ok + others) * 9, "{ok} are recorded, {others} are not");
}

/// What is recorded here replays on other processors, kernels and distributions, and the other way round.
fn machines(world: &Harness) {
    if let Some(why) = machines::missing() {
        return world.skip("slow::machines", &why);
    }
    let program = machines::static_program().expect("a static program");
    let disks =
        Disks::new(&Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("machines")).expect("a place");
    let results = world.dir();
    let traces = results.path().join("traces");
    machines::record(world, &traces, &[]).expect("traces");
    let samples = machines::read(&traces).expect("samples");
    let mut table = machines::Table::new(samples.iter().map(|sample| sample.name.clone()).collect());
    let mut wrong = Vec::new();
    for machine in machines::some() {
        let verdicts = machines::replay_there(&disks, &machine, &program, &samples, results.path());
        table.add(machine.to_string(), verdicts.expect("it runs"));
        let recorded = machines::record_there(&disks, &machine, &program, results.path()).expect("it runs");
        wrong.extend(recorded.wrong());
    }
    println!("{table}");
    wrong.extend(table.wrong());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
