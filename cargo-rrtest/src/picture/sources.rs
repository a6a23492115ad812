//! Parts of the sources that the trace carries, with marks on the lines that matter.

use std::path::{Path, PathBuf};

use rrtest_engine::Error;
use rrtest_engine::carried::Carried;

/// Lines shown on each side of a marked one.
const BESIDE: u32 = 3;

/// Lines shown in all.
const MOST_LINES: usize = 120;

/// Longer lines are cut off.
const LONGEST: usize = 160;

/// A line that matters, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The file: its path when the program was compiled, or the end of that.
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) why: String,
    /// Whether it has a part in the failure, and does not only lead to it.
    pub(super) is_hot: bool,
}

/// A part of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// The file, as people name it.
    pub(super) file: String,
    pub(super) lines: Vec<Line>,
}

/// A line of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: u32,
    pub(super) text: String,
    /// Why it matters, if it does.
    pub(super) marks: Vec<String>,
    pub(super) is_hot: bool,
}

/// The parts of the sources with these marks, in the order of the marks, and the files that the trace does not carry.
pub(super) fn excerpts(carried: &Carried<'_>, marks: &[Mark]) -> Result<(Vec<Excerpt>, Vec<String>), Error> {
    let (mut excerpts, mut absent, mut files) = (Vec::new(), Vec::new(), Vec::<&str>::new());
    for mark in marks {
        if !files.contains(&mark.file.as_str()) {
            files.push(&mark.file);
        }
    }
    let mut left = MOST_LINES;
    for file in files {
        let path = path(carried, file);
        let Some(text) = path.map(|path| carried.source(&path)).transpose()?.flatten() else {
            absent.push(file.to_owned());
            continue;
        };
        let of_file: Vec<&Mark> = marks.iter().filter(|mark| mark.file == file).collect();
        for lines in parts(&text, &of_file) {
            if lines.len() <= left {
                left -= lines.len();
                excerpts.push(Excerpt { file: file.to_owned(), lines });
            }
        }
    }
    Ok((excerpts, absent))
}

/// The one path of an attached source that ends so.
fn path(carried: &Carried<'_>, file: &str) -> Option<PathBuf> {
    let mut attached = carried.trace().attached().map(|it| it.path).filter(|path| path.ends_with(file));
    let first = attached.next()?;
    let exact = Path::new(file).is_absolute() || attached.next().is_none();
    exact.then(|| first.to_owned())
}

/// The lines around the marks of a text, those that are near each other together.
fn parts(text: &str, marks: &[&Mark]) -> Vec<Vec<Line>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut parts: Vec<Vec<Line>> = Vec::new();
    for (number, text) in (1_u32..).zip(&lines) {
        if !marks.iter().any(|mark| mark.line.abs_diff(number) <= BESIDE) {
            continue;
        }
        let here = marks.iter().filter(|mark| mark.line == number);
        let mut all: Vec<String> = Vec::new();
        for mark in here.clone() {
            if !all.contains(&mark.why) {
                all.push(mark.why.clone());
            }
        }
        let line = Line { number, text: cut(text), marks: all, is_hot: here.clone().any(|mark| mark.is_hot) };
        match parts.last_mut() {
            Some(part) if part.last().is_some_and(|last| last.number + 1 == number) => part.push(line),
            _ => parts.push(vec![line]),
        }
    }
    parts
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_near_each_other_are_one_part() {
        let text: String = (1..=40).map(|n| format!("line {n}\n")).collect();
        let mark = |line, why: &str| Mark { file: "f".into(), line, why: why.into(), is_hot: true };
        let marks = [mark(5, "a"), mark(8, "b"), mark(5, "c"), mark(5, "a"), mark(30, "d"), mark(99, "e")];
        let marks: Vec<&Mark> = marks.iter().collect();
        let parts = parts(&text, &marks);
        let numbers: Vec<_> =
            parts.iter().map(|part| (part[0].number, part[part.len() - 1].number)).collect();
        assert_eq!(numbers, [(2, 11), (27, 33)]);
        assert_eq!(parts[0][3].marks, ["a", "c"]);
        assert!(parts[0][0].marks.is_empty() && parts[1][3].text == "line 30");
    }
}
