//! Traces of one run have the contents of mapped files in common. `pack` and `rm` make them stand alone.

use std::fs;
use std::path::{Path, PathBuf};

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    a_second_failure_adds_little_and_is_packed_when_the_first_goes,
    one_that_leaves_alone_is_packed_or_refused,
];

/// Two failures of one binary.
const TWO: &str = "
#[test]
fn one() { assert_eq!(1, 2) }
#[test]
fn two() { assert_eq!(3, 4) }
";

/// What a failure may add to the store, apart from its events: little of a debug binary's megabytes.
const LITTLE: u64 = 64 << 10;

/// Fails twice. Returns the trace that stands alone and the one that needs it.
fn two(world: &Harness) -> (Project, PathBuf, PathBuf) {
    let project = Project::of_test(world, TWO);
    let _ = project.report(world, &["-j1", "--no-chaos"], 101);
    let mut traces = project.traces();
    traces.sort_by_key(|path| std::cmp::Reverse(size(path)));
    let [alone, needs] = &traces[..] else { panic!("{traces:?}") };
    (project, alone.clone(), needs.clone())
}

fn size(path: &Path) -> u64 {
    path.metadata().expect("a trace").len()
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name")
}

/// Replays a trace where neither its project's binaries nor other traces are.
fn replay_alone(world: &Harness, project: &Project, trace: &Path) -> Run {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let copy = elsewhere.path().join("copy.rrtrace");
    fs::copy(trace, &copy).expect("a copy");
    let target = project.path().join("target");
    let hidden = project.path().join("hidden");
    fs::rename(&target, &hidden).expect("another name");
    let run = Run::of(world.tool.cargo(elsewhere.path()).arg("replay").arg(&copy));
    fs::rename(&hidden, &target).expect("its own name");
    run
}

fn a_second_failure_adds_little_and_is_packed_when_the_first_goes(world: &Harness) {
    let (project, alone, needs) = two(world);
    let shown = Run::of(&mut project.rrtest(world, &["show", name(&needs)])).expect(0).text();
    assert!(shown.contains(&format!("needs {} beside it", name(&alone))), "{shown}");
    let events = shown.split("events in ").nth(1).and_then(|rest| rest.split(" KiB").next());
    let events: f64 = events.and_then(|number| number.parse().ok()).expect("a size");
    let added = size(&needs) - (events * 1024.0) as u64;
    assert!(added <= LITTLE && size(&alone) > 16 * LITTLE, "{added} of {}", size(&alone));
    let old = needs.metadata().and_then(|metadata| metadata.modified()).expect("a time");

    let said = Run::of(&mut project.rrtest(world, &["rm", name(&alone)])).expect(0).text();
    assert!(said.contains(&format!("{} (", name(&needs))) && said.contains("packed "), "{said}");
    assert!(!alone.exists() && size(&needs) > 16 * LITTLE);
    assert_eq!(needs.metadata().and_then(|metadata| metadata.modified()).expect("a time"), old);
    let _ = replay_alone(world, &project, &needs).expect(0);
}

fn one_that_leaves_alone_is_packed_or_refused(world: &Harness) {
    let (project, alone, needs) = two(world);
    let _ = replay_alone(world, &project, &alone).expect(0);
    let _ = replay_alone(world, &project, &needs).expect(70).says(&[
        &format!("has the contents of its files in `{}`, which is not beside it", name(&alone)),
        "cargo rrtest pack",
    ]);
    let packed = project.path().join("packed.rrtrace");
    let _ =
        Run::of(&mut project.rrtest(world, &["pack", name(&needs), "--output", "packed.rrtrace"])).expect(0);
    let _ = replay_alone(world, &project, &packed).expect(0);
    // The trace itself is as it was, and so is one that stands alone.
    assert!(size(&needs) < size(&packed) / 4);
    let said = Run::of(&mut project.rrtest(world, &["pack", name(&alone)])).expect(0).text();
    assert!(said.contains("stands alone already"), "{said}");
    let _ = Run::of(&mut project.rrtest(world, &["pack", "--all"])).expect(0);
    let _ = replay_alone(world, &project, &needs).expect(0);
    // What is there is not overwritten.
    let _ = Run::of(&mut project.rrtest(world, &["pack", name(&needs), "-o", "packed.rrtrace"]))
        .expect(70)
        .says(&["File exists"]);
}
