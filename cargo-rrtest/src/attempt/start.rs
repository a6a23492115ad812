//! How an attempt was started: by executing its program, or as a copy of a process that had started up.

/// How an attempt was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// By executing the program.
    Full,
    /// In the same way, as there was no fork server for this reason.
    FellBack(String),
    /// As a copy of a process that had started up.
    Forked,
}

impl Start {
    /// The name in reports.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Full | Self::FellBack(_) => "full",
            Self::Forked => "forked",
        }
    }

    /// Why it was not forked though it should have been.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::FellBack(reason) => Some(reason),
            Self::Full | Self::Forked => None,
        }
    }
}
