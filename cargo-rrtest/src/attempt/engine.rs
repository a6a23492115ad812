//! What attempts need of the engine: tests of a campaign have one that does as it is told.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rrtest_engine::Error;
use rrtest_engine::attach::{self, Wanted};
use rrtest_engine::keep::{self, Kept};
use rrtest_engine::program::Program;
use rrtest_engine::record::{self, ForkServer, Options, Recording};
use serde_json::Value;

/// What an attempt needs of the engine.
pub(crate) trait Engine: Sync {
    /// See [`record::record`].
    fn record(&self, program: &Program, options: &Options<'_>) -> Result<Recording, Error>;
    /// See [`ForkServer::start`].
    fn fork_server(
        &self,
        program: &Program,
        options: &Options<'_>,
    ) -> Result<Result<ForkServer, String>, Error>;
    /// See [`keep::keep_beside`].
    fn keep(
        &self,
        recording: &Recording,
        path: &Path,
        beside: &[PathBuf],
        info: &Value,
        core: usize,
        stop: &AtomicBool,
    ) -> Result<Kept, Error>;
    /// See [`attach::attach`].
    fn attach(&self, path: &Path, wanted: &Wanted<'_>, beside: &[PathBuf]) -> Result<Vec<PathBuf>, Error>;
}

/// The engine itself.
#[derive(Debug)]
pub(crate) struct Real;

impl Engine for Real {
    fn record(&self, program: &Program, options: &Options<'_>) -> Result<Recording, Error> {
        record::record(program, options)
    }

    fn fork_server(
        &self,
        program: &Program,
        options: &Options<'_>,
    ) -> Result<Result<ForkServer, String>, Error> {
        ForkServer::start(program, options)
    }

    fn keep(
        &self,
        recording: &Recording,
        path: &Path,
        beside: &[PathBuf],
        info: &Value,
        core: usize,
        stop: &AtomicBool,
    ) -> Result<Kept, Error> {
        keep::keep_beside(recording, path, beside, info, core, stop)
    }

    fn attach(&self, path: &Path, wanted: &Wanted<'_>, beside: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
        attach::attach(path, wanted, beside)
    }
}
