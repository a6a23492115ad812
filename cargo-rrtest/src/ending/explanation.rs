//! What a failure needs, as experiments have shown: for traces, programs and people.

use std::fmt;

use rrtest_engine::schedule::script::Script;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::words::count;

/// The fact of a trace's description that has an explanation.
pub(crate) const FACT: &str = "explanation";

/// What has been found out of a failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Explanation {
    /// What the failure needs.
    pub(crate) needs: Needs,
    /// How many preemptions the schedule had in which it was found, and how many it takes.
    pub(crate) preemptions: Fewer,
    /// Likewise for surprises.
    pub(crate) surprises: Fewer,
    /// Where the preemptions must fall.
    pub(crate) windows: Vec<Told>,
    /// What the accesses are that the failure depends on, where that is certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) race: Option<Race>,
    /// What the surprises do, and who must run next where a thread cannot go on: a sentence each.
    pub(crate) besides: Vec<String>,
    /// How often it fails so.
    pub(crate) with: Rate,
    /// How often it fails without one of the preemptions or surprises; where it needs none, under other schedules.
    pub(crate) without: Rate,
    /// Runs that it took to find this out.
    pub(crate) experiments: u64,
    /// Time that it took.
    pub(crate) seconds: f64,
    /// The smallest schedule.
    pub(crate) script: Script,
    /// The preemption level at which that was found.
    pub(crate) preempt: String,
    /// The number of which everything else in the attempt was drawn that is random.
    pub(crate) seed: String,
}

/// What a failure needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Needs {
    /// Preemptions, and surprises if there are any.
    Preemptions,
    /// Surprises only.
    Surprises,
    /// An order in which threads run where others cannot go on.
    Order,
    /// Nothing: it has failed under all schedules that were tried.
    Nothing,
    /// Something else than a schedule: the same one does not fail again, or not always.
    Unknown,
}

/// Before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fewer {
    pub(crate) before: u64,
    pub(crate) after: u64,
}

/// How often something failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rate {
    pub(crate) failed: u64,
    pub(crate) runs: u64,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.failed, self.runs)
    }
}

/// Where a preemption must fall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// The thread that is preempted.
    pub(crate) thread: String,
    /// What it must have done; none if nothing in particular.
    pub(crate) after: Option<Place>,
    /// What it must not have done; none if nothing in particular.
    pub(crate) before: Option<Place>,
    /// The thread that runs meanwhile.
    pub(crate) other: String,
    /// What that must have done before the first one goes on; none if it must run until it cannot go on.
    pub(crate) up_to: Option<Place>,
}

/// Two accesses to the same memory on whose order a failure depends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Race {
    /// What they are.
    pub(crate) kind: RaceKind,
    /// The access before which its thread is preempted.
    pub(crate) held: Party,
    /// The access that another thread makes meanwhile.
    pub(crate) meanwhile: Party,
}

/// What two accesses to the same memory are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RaceKind {
    /// At least one is plain, and nothing orders them: undefined behaviour.
    DataRace,
    /// Both are atomic.
    RaceCondition,
}

/// An access of a race.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Party {
    /// The thread that makes it.
    pub(crate) thread: String,
    /// Where it is.
    pub(crate) place: Place,
}

/// An operation in the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The function.
    pub(crate) function: String,
    /// The file, as people would name it from here.
    pub(crate) file: String,
    /// The line.
    pub(crate) line: u32,
    /// What is written there; empty if the file is not at hand.
    pub(crate) text: String,
    /// The function of a library in which the operation is, if that says more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inside: Option<String>,
    /// What is done: `reads`, `writes`, or a system call.
    pub(crate) operation: String,
    /// The address of what is read or written, if there is one: equal ones are the same object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    /// Which of the thread's operations there it is, from 1; 0 if they were too many to count.
    #[serde(default)]
    pub(crate) occurrence: u64,
}

impl Place {
    fn line(&self) -> String {
        let inside = self.inside.iter().map(|inside| format!(", in {inside}"));
        let text = if self.text.is_empty() { String::new() } else { format!("  {}", self.text) };
        format!("{}:{}{}{}", self.file, self.line, text, inside.collect::<String>())
    }
}

impl Race {
    fn lines(&self) -> [String; 3] {
        let party =
            |Party { thread, place }: &Party| format!("  {thread} {} at {}", place.operation, place.line());
        let what = match self.kind {
            RaceKind::DataRace => {
                "data race (undefined behaviour): nothing orders these accesses to the same memory"
            }
            RaceKind::RaceCondition => {
                "race condition, no data race: these accesses to the same memory are atomic"
            }
        };
        [what.to_owned(), party(&self.held), party(&self.meanwhile)]
    }
}

impl Explanation {
    /// That of a trace, from what it says of itself; none if it has none, or another version has written it.
    pub(crate) fn of(info: &Value) -> Option<Self> {
        Self::deserialize(info.get(FACT)?).ok()
    }

    /// In words, a line each; lines that belong to the one before them are indented.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.headline()];
        for told in &self.windows {
            lines.push(format!("{} is preempted", told.thread));
            lines.extend(told.after.iter().map(|place| format!("  after   {}", place.line())));
            lines.extend(told.before.iter().map(|place| format!("  before  {}", place.line())));
            match &told.up_to {
                Some(place) => {
                    lines.push(format!("and {} runs meanwhile, at least through", told.other));
                    lines.push(format!("          {}", place.line()));
                }
                None => lines.push(format!("and {} runs meanwhile, until it cannot go on", told.other)),
            }
        }
        lines.extend(self.race.iter().flat_map(Race::lines));
        lines.extend(self.besides.iter().cloned());
        lines.extend(self.effect());
        lines
    }

    /// The source files that it names, as people would name them from where it was found.
    pub(crate) fn files(&self) -> Vec<&str> {
        let places = self.windows.iter().flat_map(|told| [&told.after, &told.before, &told.up_to]);
        let mut files: Vec<&str> = places.flatten().map(|place| place.file.as_str()).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// What it takes, in a line.
    pub(crate) fn headline(&self) -> String {
        let Fewer { before, after } = self.preemptions;
        let struck = self.surprises.after;
        let runs = format!("{} in {:.1} s", count(self.experiments, "run"), self.seconds);
        match self.needs {
            Needs::Preemptions if struck > 0 => format!(
                "needs {} of {before} and {} of {} ({runs})",
                count(after, "preemption"),
                count(struck, "surprise"),
                self.surprises.before
            ),
            Needs::Preemptions => format!("needs {} of {before} ({runs})", count(after, "preemption")),
            Needs::Surprises => {
                format!(
                    "needs no preemption, but {} of {} ({runs})",
                    count(struck, "surprise"),
                    self.surprises.before
                )
            }
            Needs::Order => format!(
                "needs no preemption: it fails where each thread runs until it cannot go on, the next one in order \
                 after it ({runs})"
            ),
            Needs::Nothing => format!("fails under every schedule tried: it is no race ({runs})"),
            Needs::Unknown => format!(
                "does not fail again under the same schedule: something else differs from run to run ({runs})"
            ),
        }
    }

    /// The measured effect.
    fn effect(&self) -> Option<String> {
        let Self { with, without, .. } = self;
        match self.needs {
            Needs::Preemptions | Needs::Surprises if without.runs > 0 => {
                Some(format!("fails in {with} runs so, in {without} without"))
            }
            Needs::Preemptions | Needs::Surprises => Some(format!("fails in {with} runs so")),
            Needs::Order | Needs::Nothing if without.runs > 0 => {
                Some(format!("fails in {with} runs so, in {without} under other schedules"))
            }
            _ => None,
        }
    }
}

/// Explanations for the tests of reports.
#[cfg(test)]
pub(crate) fn sample() -> Explanation {
    let place = |line, text: &str, operation: &str| Place {
        function: "lost_update::Meter::record".into(),
        file: "src/lib.rs".into(),
        line,
        text: text.into(),
        inside: None,
        operation: operation.into(),
        object: Some("0x7ffff0001000".into()),
        occurrence: 1,
    };
    let load = place(26, "let used = self.used.load(Ordering::Relaxed);", "reads");
    let store = place(27, "self.used.store(used.saturating_add(bytes), Ordering::Relaxed);", "writes");
    Explanation {
        needs: Needs::Preemptions,
        preemptions: Fewer { before: 19, after: 1 },
        surprises: Fewer::default(),
        windows: vec![Told {
            thread: "`download`".into(),
            after: Some(load),
            before: Some(store.clone()),
            other: "`upload`".into(),
            up_to: Some(store),
        }],
        race: None,
        besides: Vec::new(),
        with: Rate { failed: 50, runs: 50 },
        without: Rate { failed: 0, runs: 50 },
        experiments: 212,
        seconds: 0.4,
        script: Script::default(),
        preempt: "sync".into(),
        seed: "0xabc".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_reads_as_it_was_written() {
        let text = serde_json::to_string(&sample()).expect("JSON");
        assert_eq!(serde_json::from_str::<Explanation>(&text).expect("an explanation"), sample());
    }

    #[test]
    fn a_window_is_told_with_its_lines_and_its_effect() {
        assert_eq!(
            sample().lines(),
            [
                "needs 1 preemption of 19 (212 runs in 0.4 s)",
                "`download` is preempted",
                "  after   src/lib.rs:26  let used = self.used.load(Ordering::Relaxed);",
                "  before  src/lib.rs:27  self.used.store(used.saturating_add(bytes), Ordering::Relaxed);",
                "and `upload` runs meanwhile, at least through",
                "          src/lib.rs:27  self.used.store(used.saturating_add(bytes), Ordering::Relaxed);",
                "fails in 50 of 50 runs so, in 0 of 50 without",
            ]
        );
    }

    #[test]
    fn a_race_is_told_with_both_accesses() {
        let Told { thread, before, other, .. } = sample().windows.remove(0);
        let party = |thread| Party { thread, place: before.clone().expect("a place") };
        let race = Race { kind: RaceKind::DataRace, held: party(thread), meanwhile: party(other) };
        let lines = Explanation { race: Some(race), ..sample() }.lines();
        assert_eq!(
            lines[6..9],
            [
                "data race (undefined behaviour): nothing orders these accesses to the same memory",
                "  `download` writes at src/lib.rs:27  self.used.store(used.saturating_add(bytes), Ordering::Relaxed);",
                "  `upload` writes at src/lib.rs:27  self.used.store(used.saturating_add(bytes), Ordering::Relaxed);",
            ]
        );
    }

    #[test]
    fn what_needs_no_preemption_is_said_to_be_no_race_only_if_nothing_else_passes() {
        let nothing = Explanation { windows: Vec::new(), needs: Needs::Nothing, ..sample() };
        assert!(nothing.lines()[0].contains("it is no race"));
        let order = Explanation { needs: Needs::Order, ..nothing };
        assert!(!order.lines().concat().contains("no race"));
    }
}
