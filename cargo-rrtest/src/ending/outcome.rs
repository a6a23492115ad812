//! What became of an attempt, in the words that reports use.

use rrtest_engine::ending::{Ending, Overdue};
use serde::{Deserialize, Serialize};

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// The test passed.
    Passed,
    /// The test said that it failed.
    Failed,
    /// A signal killed it.
    Crashed,
    /// No thread of it could ever run again.
    Deadlocked,
    /// It did not end: it ran past the time limit, or is taken never to end.
    Hung,
    /// It had not ended when the time was over for all.
    Unfinished,
    /// It did what cannot be recorded faithfully.
    Unsupported,
    /// The recorder failed.
    Error,
}

impl Outcome {
    /// The outcome of a program that ended so.
    pub(crate) fn of(ending: &Ending) -> Self {
        match ending {
            Ending::Exited(0) => Self::Passed,
            Ending::Exited(_) => Self::Failed,
            Ending::Killed { .. } => Self::Crashed,
            Ending::Deadlocked(_) => Self::Deadlocked,
            Ending::Hung { why: Overdue::CutOff(_), .. } => Self::Unfinished,
            Ending::Hung { .. } => Self::Hung,
            Ending::Unsupported { .. } => Self::Unsupported,
        }
    }

    /// Whether the test is to blame: such an attempt's trace is kept, and ends `--until-fail`.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Crashed | Self::Deadlocked | Self::Hung)
    }

    /// Whether the program came to an end by itself.
    pub(crate) fn is_end(self) -> bool {
        matches!(self, Self::Passed | Self::Failed | Self::Crashed)
    }

    /// Whether we are to blame.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Unsupported | Self::Error)
    }

    /// As JSON has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Crashed => "crashed",
            Self::Deadlocked => "deadlocked",
            Self::Hung => "hung",
            Self::Unfinished => "unfinished",
            Self::Unsupported => "unsupported",
            Self::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use rrtest_engine::task::TaskId;

    #[test]
    fn endings_and_outcomes() {
        let task = TaskId(1);
        let hung = |why| Ending::Hung { why, tasks: vec![], spun: 0 };
        let cases = [
            (Ending::Exited(0), Outcome::Passed, false),
            (Ending::Exited(101), Outcome::Failed, true),
            (Ending::Killed { signal: 11, task, tasks: vec![] }, Outcome::Crashed, true),
            (Ending::Deadlocked(vec![]), Outcome::Deadlocked, true),
            (hung(Overdue::Limit), Outcome::Hung, true),
            (hung(Overdue::CutOff(Duration::ZERO)), Outcome::Unfinished, false),
            (Ending::Unsupported { what: "x".into(), task, name: "t".into() }, Outcome::Unsupported, false),
        ];
        for (ending, outcome, failure) in cases {
            assert_eq!(Outcome::of(&ending), outcome);
            assert_eq!(outcome.is_failure(), failure);
            assert_eq!(serde_json::to_value(outcome).expect("json"), outcome.name());
        }
    }
}
