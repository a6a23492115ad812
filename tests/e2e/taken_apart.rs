//! Programs that nobody built for us, under chaos: what ticks in them is found in their machine code, and moved.

use std::path::{Path, PathBuf};
use std::process::Command;

use rrtest_tests::Harness;
use rrtest_tests::faithful::Verdict;
use rrtest_tests::programs;
use rrtest_tests::races::{ENOUGH, LONG_ENOUGH};
use rrtest_tests::tool::Run;

use crate::programs::LIMIT;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    an_update_that_is_lost_between_locks,
    an_update_of_a_plain_variable,
    an_update_by_one_instruction,
    locks_in_opposite_order,
    a_stack_whose_nodes_are_used_again,
    correct_programs_stay_correct,
    system_calls_alone_do_not_show_it,
    every_thread_can_be_looked_at,
    programs_do_the_same,
];

/// Compiles a program of this directory.
fn compile(name: &str, directory: &Path, optimised: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/c").join(format!("{name}.c"));
    let program = directory.join(name);
    let mut cc = Command::new("cc");
    cc.args([optimised, "-g", "-pthread", "-w", "-o"]).arg(&program).arg(source);
    let _compiled = Run::of(&mut cc).expect(0);
    program
}

/// `cargo rrtest exec` with such a program, and traces beside it.
fn exec(world: &Harness, program: &Path, options: &[&str]) -> Run {
    let directory = program.parent().expect("a directory");
    let mut command = world.tool.cargo(directory);
    command.args(["exec", "--trace-dir", "traces"]).args(options).arg("--").arg(program);
    Run::of(&mut command)
}

/// Finds the failure of a program however it was compiled. The report of the failure has one of the lines that it
/// `says`, its explanation has `explained`.
fn is_found(world: &Harness, name: &str, says: &[String], explained: &str) {
    for optimised in ["-O0", "-O2"] {
        let dir = world.dir();
        let program = compile(name, dir.path(), optimised);
        let options = ["--until-fail", "--runs", ENOUGH, "--explain", LONG_ENOUGH];
        let run = exec(world, &program, &options).expect(101);
        let found = run.says(&["(verified)", "needs 1 preemption", explained, "in 0 of"]).to_string();
        assert!(says.iter().any(|line| found.contains(line)), "{found}");
    }
}

/// The lines that say that of twenty updates some were lost, but not all.
fn some_lost(name: &str) -> Vec<String> {
    (1..20).map(|left| format!("    {name} {left}\n")).collect()
}

fn an_update_that_is_lost_between_locks(world: &Harness) {
    is_found(world, "between_locks", &some_lost("balance"), "between_locks.c:");
}

fn an_update_of_a_plain_variable(world: &Harness) {
    is_found(world, "plain_counter", &some_lost("counter"), "data race (undefined behaviour)");
}

fn locks_in_opposite_order(world: &Harness) {
    is_found(world, "lock_order", &["waits for a mutex".to_owned()], "lock_order.c:");
}

fn an_update_by_one_instruction(world: &Harness) {
    let dir = world.dir();
    let program = compile("one_instruction", dir.path(), "-O2");
    // Of each size one is met.
    let options = ["--runs", "1000", "--preempt", "memory", "--explain", "never"];
    let run = exec(world, &program, &options).expect(101);
    let told = run.says(&["(verified)"]).to_string();
    assert!((0..5).any(|operation| told.contains(&format!("    operation {operation}"))), "{told}");
}

fn a_stack_whose_nodes_are_used_again(world: &Harness) {
    let dir = world.dir();
    let program = compile("aba_stack", dir.path(), "-O2");
    let options = ["--until-fail", "--runs", ENOUGH, "--explain", LONG_ENOUGH];
    let run = exec(world, &program, &options).expect(101);
    let _found = run.says(&["has two users", "(verified)", "aba_stack.c:"]);
}

fn correct_programs_stay_correct(world: &Harness) {
    for optimised in ["-O0", "-O2"] {
        let dir = world.dir();
        let program = compile("sound", dir.path(), optimised);
        for level in ["sync", "memory"] {
            let _passes = exec(world, &program, &["--runs", "60", "--preempt", level]).expect(0);
        }
    }
}

fn system_calls_alone_do_not_show_it(world: &Harness) {
    let dir = world.dir();
    // There is no system call between its reading and its writing.
    let program = compile("plain_counter", dir.path(), "-O2");
    let _passes = exec(world, &program, &["--runs", "300", "--preempt", "syscall"]).expect(0);
}

/// Threads that stand at a tick stand in code of ours, and are shown where they stand in their own.
fn every_thread_can_be_looked_at(world: &Harness) {
    let dir = world.dir();
    let program = compile("plain_counter", dir.path(), "-O0");
    let options = ["--until-fail", "--runs", ENOUGH, "--explain", "never", "--preempt", "memory"];
    let _found = exec(world, &program, &options).expect(101);
    let trace = rrtest_tests::traces(&dir.path().join("traces")).pop().expect("a trace");
    let backtrace = |options: &[&str]| {
        let mut command = world.tool.cargo(dir.path());
        Run::of(command.args(["backtrace", "--all"]).args(options).arg(&trace)).expect(0)
    };
    let whole = backtrace(&[]).text();
    let head = whole.lines().next().unwrap_or_default();
    let events = head.split_whitespace().last().and_then(|count| count.parse().ok());
    let events: u32 = events.unwrap_or_else(|| panic!("no number of events: {whole}"));
    let mut seen = 0;
    for event in (1..events).step_by(7) {
        let text = backtrace(&["--at", &event.to_string()]).text();
        for thread in text.split("thread `").skip(1).filter(|thread| thread.contains("plain_counter.c:9")) {
            // Below it is what has started the thread.
            assert!(thread.contains("0 work\n") && thread.contains("1-2 … 2 frames of"), "{text}");
            seen += 1;
        }
    }
    assert!(seen > 0, "no thread was ever at its work");
}

/// Of the programs that are recorded by themselves, some.
fn programs_do_the_same(world: &Harness) {
    const SOME: [&str; 5] = ["bash-pipelines", "sqlite3", "pthreads", "sort-parallel", "xz-threads"];
    let way = ["--chaos", "--preempt", "memory", "--surprises", "none"].map(String::from);
    for program in programs::all().into_iter().filter(|program| SOME.contains(&program.name.as_str())) {
        if let Some(missing) = program.missing() {
            world.skip(&format!("taken_apart: {}", program.name), &missing);
            continue;
        }
        let (_, verdict) = program.try_out(&world.tool.path, &way, LIMIT).expect("it runs by itself");
        assert!(matches!(verdict, Verdict::Faithful(..)), "{}: {verdict:?}", program.name);
    }
}
