//! What a trace has beside the binaries.

use rrtest_engine::trace::event::{FileId, FileRange};
use rrtest_engine::trace::{Source, Trace};

use crate::fixture::Bench;
use crate::table::{Goal, Row, Unit};

/// A fixture, and how much its trace may have.
const TRACES: &[(&str, f64)] = &[("cpu", 64.0 * 1024.0), ("messages", 1024.0 * 1024.0)];

/// What a binary starts with (elf(5)).
const ELF: &[u8] = b"\x7fELF";

pub(crate) fn rows(bench: &Bench) -> Vec<Row> {
    TRACES.iter().map(|(package, most)| measure(bench, package, *most)).collect()
}

fn measure(bench: &Bench, package: &str, most: f64) -> Row {
    let dir = bench.world.dir();
    let path = bench.trace(package, &["--no-chaos"], dir.path());
    let trace = Trace::open(&path).expect("a trace");
    let size = path.metadata().expect("a file").len();
    let is_binary = |number: usize| {
        let start = FileRange { file: FileId(number as u32), offset: 0, len: ELF.len() as u64 };
        trace.file(start).is_ok_and(|bytes| *bytes == *ELF)
    };
    let mapped = trace.files().enumerate().filter(|(number, _)| is_binary(*number)).map(|(_, file)| file);
    let binaries: u64 = mapped.chain(trace.attached()).map(|file| file.stored).sum();
    Row {
        work: format!("trace of `{package}`, plain, without the binaries"),
        goal: Goal::AtMost(most),
        unit: Unit::Bytes,
        samples: Ok(vec![(size - binaries) as f64]),
        note: format!(
            "{} events in {} KiB; {} KiB in all",
            trace.count(),
            trace.size_of_events() / 1024,
            size / 1024
        ),
    }
}
