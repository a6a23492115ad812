//! Puts operations into source lines.

use std::collections::HashMap;
use std::path::Path;

use rrtest_engine::ending::Frame;
use rrtest_engine::mark::Mark;
use rrtest_engine::schedule::Operation;
use rrtest_engine::schedule::script::Spot;
use rrtest_engine::symbols::origin::{Origin, interesting};
use rrtest_engine::syscalls;
use rrtest_engine::task::TaskId;

use crate::base::words::relative;
use crate::ending::explanation::Place;

/// Operations that are looked at in one run.
pub(super) const MOST_MARKS: u64 = 2000;

/// Longer lines of a source are cut off.
const LONGEST: usize = 120;

/// The places of operations that have been marked. Each source is read once.
#[derive(Debug, Default)]
pub(super) struct Places {
    sources: HashMap<String, Vec<String>>,
    places: Vec<(Spot, Place)>,
}

impl Places {
    /// Adds what was done at some marks. Those without a source line have no place.
    pub(super) fn add(&mut self, marks: &[Mark]) {
        for mark in marks {
            if self.places.iter().all(|(spot, _)| *spot != mark.spot)
                && let Some(place) = self.place(mark)
            {
                self.places.push((mark.spot, place));
            }
        }
        self.places.sort_by_key(|(spot, _)| *spot);
    }

    /// Returns the place of a task's operation with this number.
    pub(super) fn of(&self, spot: Spot) -> Option<Place> {
        let (_, place) = self.places.iter().find(|(other, _)| *other == spot)?;
        let before = self.places.iter().take_while(|(other, _)| *other <= spot);
        let same = before.filter(|(other, it)| other.task == spot.task && is_alike(it, place));
        Some(Place { occurrence: same.count() as u64, ..place.clone() })
    }

    /// Returns the number of the operation that a task does at a place that another build of the program had: in the
    /// same function, at a line of the same text, and as often as there.
    pub(super) fn find(&self, task: TaskId, place: &Place) -> Option<u64> {
        let alike = self.places.iter().filter(|(spot, it)| spot.task == task && is_alike(it, place));
        let nth = usize::try_from(place.occurrence.saturating_sub(1)).ok()?;
        alike.map(|(spot, _)| spot.ticks).nth(nth)
    }

    /// Returns the numbers of a task's operations in these functions.
    pub(super) fn within(&self, task: TaskId, functions: &[&str]) -> Vec<u64> {
        let of_task = self.places.iter().filter(|(spot, _)| spot.task == task);
        let inside = of_task.filter(|(_, place)| functions.contains(&place.function.as_str()));
        inside.map(|(spot, _)| spot.ticks).collect()
    }

    fn place(&mut self, mark: &Mark) -> Option<Place> {
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
        let inside = innermost.filter(|it| it.address != frame.address || it.function != frame.function);
        Some(Place {
            function: name(frame),
            file: relative(Path::new(short(file))).display().to_string(),
            line: *line,
            text: self.text(file, *line),
            inside: inside.map(|inside| match &inside.location {
                Some((file, line)) => format!("{} ({}:{line})", name(inside), short(file)),
                None => name(inside),
            }),
            operation,
            object,
            occurrence: 0,
        })
    }

    /// A line of a source; empty if it cannot be read.
    fn text(&mut self, file: &str, line: u32) -> String {
        let source = self.sources.entry(file.to_owned()).or_insert_with(|| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            text.lines().map(|line| line.trim().to_owned()).collect()
        });
        let line = source.get((line as usize).saturating_sub(1)).map_or("", String::as_str);
        match line.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line.to_owned(),
        }
    }
}

/// Whether two operations are the same one of a program, or of two builds of it whose lines may have moved.
fn is_alike(one: &Place, other: &Place) -> bool {
    let key = |place: &Place| {
        let inside = place.inside.as_ref().and_then(|inside| inside.split(" (").next().map(str::to_owned));
        (place.function.clone(), place.text.clone(), inside, place.operation.clone())
    };
    key(one) == key(other)
}

fn name(frame: &Frame) -> String {
    frame.function.clone().unwrap_or_else(|| format!("{:#x}", frame.address))
}

/// A file of a library as people name it: the crate, and the path in it.
fn short(file: &str) -> &str {
    let inside = file.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/'));
    inside.map_or(file, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use rrtest_engine::strike::Thread;

    use super::*;

    const TASK: TaskId = TaskId(2);

    fn mark(ticks: u64, file: &str, line: u32) -> Mark {
        let frame = |function: &str, file: &str, line| Frame {
            address: 1,
            function: Some(function.to_owned()),
            location: Some((file.to_owned(), line)),
        };
        Mark {
            spot: Spot { task: TASK, ticks },
            thread: Thread { task: TASK, name: "t".into(), ambiguous: false },
            operation: Some(Operation::Memory { address: 0x10, writes: true }),
            access: None,
            frames: vec![
                frame("core::sync::atomic::store", "/rustc/0/library/core/src/sync/atomic.rs", 9),
                frame("p::add", file, line),
            ],
        }
    }

    #[test]
    fn operations_are_found_by_their_function() {
        let mut places = Places::default();
        places.add(&[mark(3, "/no/such/file", 2), mark(8, "/no/such/file", 3)]);
        assert_eq!(places.within(TASK, &["p::other", "p::add"]), [3, 8]);
        assert_eq!(places.within(TaskId(1), &["p::add"]), [0; 0], "another thread");
        assert_eq!(places.within(TASK, &["p::other"]), [0; 0]);
    }

    #[test]
    fn an_operation_is_found_again_where_lines_have_moved() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lib.rs");
        let file = path.to_str().expect("a text");
        std::fs::write(&path, "fn add() {\n    one();\n    two();\n}\n").expect("a file");
        let mut old = Places::default();
        old.add(&[mark(3, file, 2), mark(4, file, 3), mark(7, file, 2), mark(8, file, 3)]);
        let place = old.of(Spot { task: TASK, ticks: 8 }).expect("a place");
        assert_eq!((place.text.as_str(), place.line, place.occurrence), ("two();", 3, 2));
        std::fs::write(&path, "// New.\nfn add() {\n    one();\n    two();\n}\n").expect("a file");
        let mut new = Places::default();
        new.add(&[mark(5, file, 3), mark(6, file, 4), mark(9, file, 3), mark(11, file, 4)]);
        assert_eq!(new.find(TASK, &place), Some(11));
        assert_eq!(new.find(TaskId(1), &place), None, "another thread");
        std::fs::write(&path, "fn add() {\n    one();\n    three();\n}\n").expect("a file");
        let mut gone = Places::default();
        gone.add(&[mark(5, file, 2), mark(6, file, 3), mark(9, file, 2), mark(11, file, 3)]);
        assert_eq!(gone.find(TASK, &place), None, "the line is not there any more");
    }
}
