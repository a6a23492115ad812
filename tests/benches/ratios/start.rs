//! How long it takes from typing `cargo rrtest` on an unchanged tree to the end of the first attempt.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rrtest_tests::tool::Run;

use crate::fixture::Bench;
use crate::table::{Goal, Row, Unit};

pub(crate) fn rows(bench: &Bench) -> Vec<Row> {
    let one = || bench.rrtest("trivial");
    let all = || {
        let mut command = bench.rrtest("trivial");
        command.arg("--workspace");
        command
    };
    let commands: &[(&str, &dyn Fn() -> Command)] = &[("one package", &one), ("all fixtures", &all)];
    let commands = if bench.quick { &commands[..1] } else { commands };
    let measure = |(what, command): &(&str, &dyn Fn() -> Command)| {
        let _built = Run::of(command().arg("--no-run")).expect(0);
        Row {
            work: format!("from `cargo rrtest` to the end of the first attempt, nothing to build, {what}"),
            goal: Goal::AtMost(1.0),
            unit: Unit::Seconds,
            samples: Ok((0..bench.rounds).map(|_| first_attempt(&mut command())).collect()),
            note: String::new(),
        }
    };
    commands.iter().map(measure).collect()
}

fn first_attempt(command: &mut Command) -> f64 {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().expect("the tool runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = lines.next().expect("a line").expect("text");
    let wall = start.elapsed().as_secs_f64();
    assert!(line.contains(r#""event":"attempt""#), "{line}");
    // The rest does not matter. It may be over already.
    let _interrupted = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT);
    lines.for_each(drop);
    let _status = child.wait().expect("a child");
    wall
}
