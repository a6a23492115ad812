//! What came of samples on machines.

use std::fmt;

use rrtest_engine::record::Processor;

use super::samples::{Done, Sample};

/// The exit code of `cargo rrtest` where a replay is refused.
const REFUSED: i32 = 70;

/// What came of one trace on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Output and exit code are byte for byte those of the machine that recorded it.
    Same,
    /// The replay was refused by name, as it must be.
    Refused,
    /// Anything else: a few words, and the standard error.
    Wrong(String, String),
}

impl Verdict {
    /// That of a sample which has been replayed on a machine that has all of a level's instructions.
    pub(super) fn of(sample: &Sample, level: Processor, here: Option<&Done>) -> Self {
        let Some(here) = here else { return Self::Wrong("nothing".to_owned(), String::new()) };
        let stderr = String::from_utf8_lossy(&here.stderr).into_owned();
        // Another machine may happen to have the same processor.
        let must = sample.level() <= level;
        let may = must || sample.level() == Processor::Native;
        match here {
            here if may && *here == sample.there => Self::Same,
            Done { code: REFUSED, stdout, .. } if !must && stdout.is_empty() && names_what_lacks(&stderr) => {
                Self::Refused
            }
            Done { code: 0, .. } if may => Self::Wrong("other output".to_owned(), stderr),
            // What may not run there may not run at all, even if nothing seems to be wrong.
            Done { code: 0, .. } => Self::Wrong("not refused".to_owned(), stderr),
            Done { code, .. } => Self::Wrong(format!("exit code {code}"), stderr),
        }
    }

    /// That of a trace from another machine which has been replayed here.
    pub(super) fn of_replay_here(recorded: Option<&Done>, replayed: &Done) -> Self {
        let stderr = String::from_utf8_lossy(&replayed.stderr).into_owned();
        match (recorded, replayed) {
            (None, _) => Self::Wrong("nothing".to_owned(), stderr),
            (Some(recorded), Done { code: 0, .. }) if recorded.stdout == replayed.stdout => Self::Same,
            (Some(_), Done { code: 0, .. }) => Self::Wrong("other output".to_owned(), stderr),
            (Some(_), Done { code, .. }) => Self::Wrong(format!("exit code {code}"), stderr),
        }
    }

    fn words(&self) -> &str {
        match self {
            Self::Same => "same",
            Self::Refused => "refused",
            Self::Wrong(words, _) => words,
        }
    }
}

/// Whether a refusal says which processor it takes.
fn names_what_lacks(stderr: &str) -> bool {
    stderr.contains("processor") && stderr.contains("--cpu")
}

/// A table: a row for each sample, a column for each machine.
#[derive(Debug)]
pub struct Table {
    rows: Vec<String>,
    columns: Vec<(String, Vec<Verdict>)>,
}

impl Table {
    /// One without columns.
    #[must_use]
    pub fn new(rows: Vec<String>) -> Self {
        Self { rows, columns: Vec::new() }
    }

    /// Adds a column.
    pub fn add(&mut self, head: String, verdicts: Vec<Verdict>) {
        self.columns.push((head, verdicts));
    }

    /// All that is not as it should be, with what was said of it.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (head, verdicts) in &self.columns {
            for (row, verdict) in self.rows.iter().zip(verdicts) {
                if let Verdict::Wrong(words, stderr) = verdict {
                    wrong.push(format!("{row} on {head}: {words}\n{stderr}"));
                }
            }
        }
        wrong
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads: Vec<_> = self.columns.iter().map(|(head, _)| head.as_str()).collect();
        writeln!(f, "| trace | {} |", heads.join(" | "))?;
        writeln!(f, "|---{}|", "|---".repeat(heads.len()))?;
        for (n, row) in self.rows.iter().enumerate() {
            let words: Vec<_> = self.columns.iter().map(|(_, verdicts)| verdicts[n].words()).collect();
            writeln!(f, "| {row} | {} |", words.join(" | "))?;
        }
        Ok(())
    }
}
