//! Puts operations into source lines.

use std::path::Path;

use rrtest_engine::ending::Frame;
use rrtest_engine::mark::Mark;
use rrtest_engine::schedule::Operation;
use rrtest_engine::symbols::{Origin, interesting};
use rrtest_engine::syscalls;

use crate::base::words::relative;
use crate::ending::explanation::Place;

/// Longer lines of a source are cut off.
const LONGEST: usize = 120;

/// What was done at a mark, and where; `None` if that has no source line.
pub(super) fn place(mark: &Mark) -> Option<Place> {
    let innermost = mark.frames.iter().find(|frame| {
        matches!(Origin::of(frame), Origin::Own | Origin::Crate(_)) && frame.location.is_some()
    });
    let frame = interesting(&mark.frames).filter(|frame| frame.location.is_some()).or(innermost)?;
    let (file, line) = frame.location.as_ref()?;
    let (operation, object) = match mark.operation {
        Some(Operation::Memory { address, writes }) => {
            let what = if writes { "writes" } else { "reads" };
            (what.to_owned(), (address != 0).then(|| format!("{address:#x}")))
        }
        Some(Operation::Syscall(number)) => (syscalls::name(number), None),
        None => ("waits".to_owned(), None),
    };
    let inside = innermost.filter(|inner| inner.address != frame.address || inner.function != frame.function);
    Some(Place {
        function: name(frame),
        file: relative(Path::new(short(file))).display().to_string(),
        line: *line,
        text: text(Path::new(file), *line),
        inside: inside.map(|inside| match &inside.location {
            Some((file, line)) => format!("{} ({}:{line})", name(inside), short(file)),
            None => name(inside),
        }),
        operation,
        object,
    })
}

fn name(frame: &Frame) -> String {
    frame.function.clone().unwrap_or_else(|| format!("{:#x}", frame.address))
}

/// A file of a library as people name it: the crate, and the path in it.
fn short(file: &str) -> &str {
    let inside = file.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/'));
    inside.map_or(file, |(_, rest)| rest)
}

/// A line of a source; empty if it cannot be read.
fn text(file: &Path, line: u32) -> String {
    let Ok(source) = std::fs::read_to_string(file) else { return String::new() };
    let line = source.lines().nth((line as usize).saturating_sub(1)).unwrap_or_default().trim();
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
