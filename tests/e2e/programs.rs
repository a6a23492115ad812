//! Programs of all kinds record and replay: those of `programs.toml`.

use std::time::Duration;

use rrtest_tests::Harness;
use rrtest_tests::faithful::Verdict;
use rrtest_tests::programs::{self, Program};

use crate::Tests;

/// What takes longer hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn add(tests: &mut Tests, slow: bool) {
    for program in programs::all().into_iter().filter(|program| slow || !program.slow) {
        tests.add(format!("programs::{}", program.name), move |world| is_faithful(world, &program));
    }
}

fn is_faithful(world: &Harness, program: &Program) {
    if let Some(missing) = program.missing() {
        world.skip(&format!("programs::{}", program.name), &missing);
        return;
    }
    let (_, verdict) = program.try_out(&world.tool.path, &[], LIMIT).expect("it runs by itself");
    assert!(matches!(verdict, Verdict::Faithful(..)), "{}: {verdict:?}", program.name);
}
