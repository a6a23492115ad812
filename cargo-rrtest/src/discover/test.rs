//! What attempts are made at: a test of a binary, or all of them together.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rrtest_engine::program::Program;
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::schedule::surprise::Surprises;

/// What one attempt runs: a test, or all tests of a binary together.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    /// The package it belongs to.
    pub(crate) package: String,
    /// The binary it is in, named as nextest does: `p` the library of package `p`, `p::it` its integration test `it`,
    /// `p::bin/b` its binary `b`.
    pub(crate) binary: String,
    /// Its name in that binary; none for the binary's tests together.
    pub(crate) name: Option<String>,
    /// How to run it, and no other.
    pub(crate) program: Program,
    /// Whether a libtest harness runs it, whose main thread only waits.
    pub(crate) harness: bool,
    /// The names of the tests that run in a process for all tests of its binary, as far as they are known.
    pub(crate) mates: Arc<[String]>,
    /// What kind of target its binary is, as nextest names it: `lib`, `test`, `bin`, `example`, `bench`, `proc-macro`.
    pub(crate) kind: String,
    /// The name of that target.
    pub(crate) target: String,
    /// Whether it is marked `#[ignore]`.
    pub(crate) ignored: bool,
    /// What holds for it alone.
    pub(crate) rules: Rules,
    /// The root source file of its binary; empty if nobody knows.
    pub(crate) source: Arc<Path>,
}

/// What the configuration says of single tests; none where a test is like all others.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rules {
    /// Its time limit.
    pub(crate) timeout: Option<Duration>,
    /// The strategies to choose from.
    pub(crate) strategies: Option<Vec<StrategyName>>,
    /// What may surprise it.
    pub(crate) surprises: Option<Surprises>,
    /// No two tests of a group run at the same time.
    pub(crate) serial_group: Option<String>,
}

/// Which test it is, without how to run it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TestId {
    /// The package it belongs to.
    pub(crate) package: String,
    /// The binary it is in.
    pub(crate) binary: String,
    /// Its name in that binary; none for the binary's tests together.
    pub(crate) name: Option<String>,
}

impl TestId {
    /// The name for people, in a place that names the binary.
    pub(crate) fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(TOGETHER)
    }
}

/// What the tests of a binary together are called where a test has its name.
const TOGETHER: &str = "together";

impl Test {
    /// The name that is unique in a workspace: binary and test.
    pub(crate) fn id(&self) -> String {
        match &self.name {
            Some(name) => format!("{} {name}", self.binary),
            None => self.binary.clone(),
        }
    }

    /// The name for people, in a place that names the binary.
    pub(crate) fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(TOGETHER)
    }

    /// Which test it is.
    pub(crate) fn which(&self) -> TestId {
        TestId { package: self.package.clone(), binary: self.binary.clone(), name: self.name.clone() }
    }

    /// The strategies to choose from for it, where these are those of all tests.
    pub(crate) fn strategies<'a>(&'a self, of_all: &'a [StrategyName]) -> &'a [StrategyName] {
        self.rules.strategies.as_deref().unwrap_or(of_all)
    }

    /// Whether it is all tests of a binary.
    pub(crate) fn is_together(&self) -> bool {
        self.name.is_none()
    }
}

/// A test for the tests of others.
#[cfg(test)]
pub(crate) fn sample() -> Test {
    Test {
        package: "p".into(),
        binary: "p::it".into(),
        name: Some("t".into()),
        program: Program { path: "/t".into(), args: vec![], env: vec![], cwd: "/".into() },
        harness: true,
        mates: Arc::default(),
        kind: "test".into(),
        target: "it".into(),
        ignored: false,
        rules: Rules::default(),
        source: Path::new("").into(),
    }
}
