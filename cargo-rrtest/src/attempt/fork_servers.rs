//! The processes that a worker's attempts are copies of, one for each test.

use std::collections::BTreeMap;

use nix::sys::resource::{Resource, getrlimit};
use rrtest_engine::Error;
use rrtest_engine::program::Program;
use rrtest_engine::record::{ForkServer, Options, Recording};

use super::engine::Engine;
use super::order::Order;
use super::start::Start;

/// What attempts of a test start from.
pub(crate) enum Base {
    /// To be found out.
    Unknown,
    /// Copies of this.
    ForkServer(Box<ForkServer>),
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
            *self = match engine.fork_server(program, options).or_else(refusal)? {
                Ok(fork_server) => Self::ForkServer(Box::new(fork_server)),
                Err(reason) => Self::Program(reason),
            };
        }
        if let Self::ForkServer(fork_server) = self {
            match fork_server.record(options).map(Ok).or_else(refusal)? {
                Ok(recording) => return Ok((recording, Start::Forked)),
                Err(reason) => *self = Self::Program(reason),
            }
        }
        let start = match self {
            Self::Program(reason) => Start::FellBack(reason.clone()),
            Self::Unknown | Self::ForkServer(_) => Start::Full,
        };
        Ok((engine.record(program, options)?, start))
    }
}

/// Why there is no fork server, unless the error ends the campaign.
fn refusal<T>(error: Error) -> Result<Result<T, String>, Error> {
    match error {
        Error::Stopped | Error::Forbidden { .. } => Err(error),
        error => Ok(Err(error.to_string())),
    }
}

/// The program that an attempt is made of: the indices of its test and of the build of that, and which tests it runs together.
pub(crate) type Index = (usize, usize, Order);

/// What a worker's attempts start from.
pub(crate) struct ForkServers {
    bases: BTreeMap<Index, Base>,
    most: usize,
}

impl ForkServers {
    /// None yet, and no more than so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { bases: BTreeMap::new(), most }
    }

    /// How many each of so many workers may have. A fork server is a process, so they are not too many, and has some
    /// descriptors of ours: all together take no more than half of what we may have, without a limit being known a few.
    pub(crate) fn share(workers: usize) -> usize {
        const MOST: u64 = 32;
        const DESCRIPTORS: u64 = 20;
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard);
        let share = limit / 2 / DESCRIPTORS / workers.max(1) as u64;
        share.min(MOST) as usize
    }

    /// That of a program; none if there are too many, or if the program will not come again.
    pub(crate) fn of(&mut self, index: Index) -> Option<&mut Base> {
        if !index.2.is_lasting() {
            return None;
        }
        if self.bases.len() >= self.most && !self.bases.contains_key(&index) {
            return None;
        }
        Some(self.bases.entry(index).or_insert(Base::Unknown))
    }

    /// Forget those of tests that are not wanted any more.
    pub(crate) fn retain(&mut self, wanted: impl Fn(Index) -> bool) {
        self.bases.retain(|index, _| wanted(*index));
    }
}

impl Drop for ForkServers {
    /// On a busy machine the end of each takes a while: they end side by side.
    fn drop(&mut self) {
        for base in self.bases.values() {
            if let Base::ForkServer(fork_server) = base {
                fork_server.kill();
            }
        }
    }
}
