//! What became of an attempt, in the words that reports use.

use rrtest_engine::ending::Ending;
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
    /// It ran past the time limit.
    Hung,
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
            Ending::Hung { .. } => Self::Hung,
            Ending::Unsupported { .. } => Self::Unsupported,
        }
    }

    /// Whether the test is to blame: such an attempt's trace is kept, and ends `--until-fail`.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Crashed | Self::Deadlocked | Self::Hung)
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
            Self::Unsupported => "unsupported",
            Self::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rrtest_engine::task::TaskId;

    #[test]
    fn endings_and_outcomes() {
        let task = TaskId(1);
        let cases = [
            (Ending::Exited(0), Outcome::Passed, false),
            (Ending::Exited(101), Outcome::Failed, true),
            (Ending::Killed { signal: 11, task, tasks: vec![] }, Outcome::Crashed, true),
            (Ending::Deadlocked(vec![]), Outcome::Deadlocked, true),
            (Ending::Hung { tasks: vec![], spun: 0 }, Outcome::Hung, true),
            (Ending::Unsupported { what: "x".into(), task, name: "t".into() }, Outcome::Unsupported, false),
        ];
        for (ending, outcome, failure) in cases {
            assert_eq!(Outcome::of(&ending), outcome);
            assert_eq!(outcome.is_failure(), failure);
            assert_eq!(serde_json::to_value(outcome).expect("json"), outcome.name());
        }
    }
}
