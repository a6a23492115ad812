//! The tests, as `cargo test -- --list` lists them.

use std::io::Write;

use serde::Serialize;

use super::options::values::Report;
use crate::base::exit::CliError;
use crate::base::terminal::{self, GOOD};
use crate::base::words::{self, count};
use crate::discover::test::Test;

/// The form of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// Names only.
    pub(crate) terse: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    package: &'a str,
    binary: &'a str,
    test: Option<&'a str>,
}

/// Print the tests on standard output: what libtest prints, or a JSON object for each. Which binary they are in goes to standard
/// error, as with cargo.
pub(crate) fn print(tests: &[Test], form: Form, report: Report) -> Result<(), CliError> {
    for tests in tests.chunk_by(|one, other| one.binary == other.binary) {
        let text = match report {
            Report::Json => json(tests)?,
            _ => {
                if !form.terse {
                    // Nothing can be done if standard error is closed.
                    let _written =
                        writeln!(anstream::stderr(), "{GOOD}       Tests{GOOD:#} {}", tests[0].binary);
                }
                plain(tests, form)
            }
        };
        terminal::print(&text)?;
    }
    Ok(())
}

fn plain(tests: &[Test], form: Form) -> String {
    let mut text: String = tests.iter().map(|test| format!("{}: test\n", test.title())).collect();
    if !form.terse {
        text += &format!("\n{}, 0 benchmarks\n\n", count(tests.len() as u64, "test"));
    }
    // Names are the program's words.
    words::visible(&text)
}

fn json(tests: &[Test]) -> Result<String, CliError> {
    let line = |test: &Test| {
        let Test { package, binary, name, .. } = test;
        let line = Line { event: "test", package, binary, test: name.as_deref() };
        serde_json::to_string(&line).map(|line| line + "\n")
    };
    let text: Result<String, _> = tests.iter().map(line).collect();
    text.map_err(|error| CliError::os("cannot write the list", &error.into()))
}
