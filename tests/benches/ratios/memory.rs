//! What the recorder itself needs while a test makes many system calls: memory, and the disk.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::fixture::Bench;
use crate::table::{Goal, Row, Unit};

/// So that what the last attempt adds is seen before the recorder is gone.
const ATTEMPTS: usize = 4;

/// What proc(5) says of a process.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    /// The most memory that it has had, in bytes.
    peak: u64,
    /// See [`written`].
    written: u64,
}

/// What makes so many system calls, and with which options.
struct Workload {
    name: &'static str,
    package: &'static str,
    test: &'static str,
    options: &'static [&'static str],
}

const WRITES: Workload =
    Workload { name: "`writes`", package: "writes", test: "a_hundred_thousand_entries", options: &[] };

const MILLION: Workload = Workload {
    name: "a million system calls",
    package: "scaling",
    test: "calls_1000000",
    options: &["--test", "it", "calls_1000000", "--", "--ignored"],
};

pub(crate) fn rows(bench: &Bench) -> Vec<Row> {
    let workloads = if bench.quick { &[WRITES][..] } else { &[WRITES, MILLION] };
    workloads.iter().flat_map(|workload| measure(bench, workload)).collect()
}

fn measure(bench: &Bench, workload: &Workload) -> [Row; 2] {
    let native = bench.native(workload.package);
    let (mut memory, mut disk) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds.min(3) {
        let before = written(std::process::id()).expect("proc(5) of ourselves");
        native.run(workload.test);
        let own = written(std::process::id()).expect("proc(5) of ourselves") - before;
        let usages = usages(bench, workload);
        memory.push(usages.last().expect("an attempt").peak as f64);
        let spans = usages.windows(2).map(|pair| (pair[1].written - pair[0].written) as f64 - own as f64);
        disk.push(spans.fold(0.0, f64::max));
    }
    let row = |what: &str, most, samples| Row {
        work: format!("{}: {what}", workload.name),
        goal: Goal::AtMost(most),
        unit: Unit::Bytes,
        samples: Ok(samples),
        note: String::new(),
    };
    [
        row("the recorder's own memory", 64e6, memory),
        row("on disk for a passing attempt, beside what the test writes natively", 0.0, disk),
    ]
}

/// The recorder's usage at the end of each attempt.
fn usages(bench: &Bench, workload: &Workload) -> Vec<Usage> {
    let mut command = bench.rrtest(workload.package);
    command.args(["-j1", "--no-chaos", "--runs", &ATTEMPTS.to_string()]).args(workload.options);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the tool runs");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let usages = lines.take(ATTEMPTS).map(|line| {
        let line = line.expect("text");
        assert!(line.contains(r#""outcome":"passed""#), "{line}");
        usage(child.id()).unwrap_or_default()
    });
    let mut usages: Vec<_> = usages.collect();
    let _status = child.wait().expect("a child");
    // The last may have come too late.
    usages.truncate(ATTEMPTS - 1);
    usages
}

fn usage(pid: u32) -> Option<Usage> {
    Some(Usage { peak: number(pid, "status", "VmHWM")? * 1024, written: written(pid)? })
}

/// Bytes that a process has caused to be written to disks, those of children that it has waited for among them.
fn written(pid: u32) -> Option<u64> {
    number(pid, "io", "write_bytes")
}

/// A number in a file of proc(5).
fn number(pid: u32, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}
