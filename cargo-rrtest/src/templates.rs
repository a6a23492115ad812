//! The processes that a worker's attempts are copies of, one for each test.

use std::collections::BTreeMap;

use rrtest_engine::Error;
use rrtest_engine::program::Program;
use rrtest_engine::record::{Options, Recording, Template};

use crate::attempt::Engine;

/// How an attempt was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// By executing the program.
    Full,
    /// In the same way, as there was no template for this reason.
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

/// What attempts of a test start from.
pub(crate) enum Base {
    /// To be found out.
    Unknown,
    /// Copies of this.
    Template(Box<Template>),
    /// The program itself, for this reason.
    Program(String),
}

impl Base {
    /// Record an attempt.
    ///
    /// # Errors
    /// As [`Engine::record`].
    pub(crate) fn record(
        &mut self,
        engine: &dyn Engine,
        program: &Program,
        options: &Options<'_>,
    ) -> Result<(Recording, Start), Error> {
        if let Self::Unknown = self {
            *self = match engine.template(program, options).or_else(refusal)? {
                Ok(template) => Self::Template(Box::new(template)),
                Err(reason) => Self::Program(reason),
            };
        }
        if let Self::Template(template) = self {
            match template.record(options).map(Ok).or_else(refusal)? {
                Ok(recording) => return Ok((recording, Start::Forked)),
                Err(reason) => *self = Self::Program(reason),
            }
        }
        let start = match self {
            Self::Program(reason) => Start::FellBack(reason.clone()),
            Self::Unknown | Self::Template(_) => Start::Full,
        };
        Ok((engine.record(program, options)?, start))
    }
}

/// Why there is no template, unless the error ends the campaign.
fn refusal<T>(error: Error) -> Result<Result<T, String>, Error> {
    match error {
        Error::Stopped | Error::Forbidden { .. } => Err(error),
        error => Ok(Err(error.to_string())),
    }
}

/// What a worker's attempts start from, by the indices of their tests and those of the builds of these. A template is a
/// process, so they are not too many.
#[derive(Default)]
pub(crate) struct Templates(BTreeMap<(usize, usize), Base>);

impl Templates {
    /// How many there may be.
    const MOST: usize = 32;

    /// That of a test; none if there are too many.
    pub(crate) fn of(&mut self, index: (usize, usize)) -> Option<&mut Base> {
        if self.0.len() >= Self::MOST && !self.0.contains_key(&index) {
            return None;
        }
        Some(self.0.entry(index).or_insert(Base::Unknown))
    }

    /// Forget those of tests that are not wanted any more.
    pub(crate) fn retain(&mut self, wanted: impl Fn((usize, usize)) -> bool) {
        self.0.retain(|index, _| wanted(*index));
    }
}
