//! The environment in which cargo builds tests with the clock in them and has us start each: for a front end of the user's
//! own, such as nextest, that calls cargo and the tests itself.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::c_code;
use super::config::Config;
use super::instrument::{Level, Runtime};
use super::wrapper;
use crate::base::exit::{CliError, Status};

/// The hidden command that starts a test binary.
pub(crate) const COMMAND: &str = "__record";

/// The environment variable that carries an [`Order`] from us to us.
pub(crate) const VARIABLE: &str = "__RRTEST_RECORD";

/// What the hidden command must know.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// How the tests were built, by [`Level::name`].
    pub(crate) level: String,
    /// The variables that are set here, with the values that the user has given them: tests must see those.
    users: Vec<(String, Option<OsString>)>,
}

impl Order {
    /// Reads the order of the environment that [`variables`] made.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn from_env() -> Result<Self, CliError> {
        env::var(VARIABLE).ok().and_then(|text| serde_json::from_str(&text).ok()).ok_or_else(|| {
            CliError::usage(
                "this command is internal: it starts tests in the environment of `cargo rrtest env`",
            )
        })
    }

    /// Whether there is one: we are called in that environment.
    pub(crate) fn is_there() -> bool {
        env::var_os(VARIABLE).is_some()
    }

    /// Returns our environment as it would be without what [`variables`] has set.
    pub(crate) fn without_ours(self) -> Vec<(OsString, OsString)> {
        let ours: Vec<OsString> = self.users.iter().map(|(name, _)| name.into()).collect();
        let users = self.users.into_iter().filter_map(|(name, value)| Some((OsString::from(name), value?)));
        env::vars_os().filter(|(name, _)| !ours.contains(name)).chain(users).collect()
    }
}

/// Returns the variables of that environment with their values. Builds of this level go to `build_dir`, traces to
/// `trace_dir`.
///
/// # Errors
/// If our own path has a space in it, at which cargo splits a runner's words, or the build directory cannot be written.
pub(crate) fn variables(
    target: &str,
    level: Level,
    build_dir: &Path,
    trace_dir: &Path,
    config: &Config,
) -> Result<Vec<(String, OsString)>, CliError> {
    let ourselves =
        env::current_exe().map_err(|error| CliError::os("cannot find our own executable", &error))?;
    if ourselves.to_str().is_none_or(|path| path.contains(char::is_whitespace)) {
        return Err(CliError::usage(format!(
            "cargo cannot call `{}`, as it splits the words of a runner at spaces\n  install cargo-rrtest in another \
             directory",
            ourselves.display()
        )));
    }
    let runtime = Runtime::put_into(build_dir)?;
    let order = wrapper::Order {
        flags: level.flags(),
        link_flags: runtime.link_flags(),
        host_link_flags: runtime.host_link_flags(),
        chain: wrapper::of_user(config),
        in_background: false,
    };
    let c_code = match level {
        Level::Syscall => Vec::new(),
        Level::Sync | Level::Memory => c_code::variables(target, build_dir, config),
    };
    let mut runner = ourselves.clone().into_os_string();
    runner.push(format!(" {COMMAND}"));
    let triple = target.to_uppercase().replace(['-', '.'], "_");
    let mut variables: Vec<(String, OsString)> =
        c_code.into_iter().map(|(name, value)| (name, value.into())).collect();
    variables.extend([
        ("CARGO_BUILD_TARGET".to_owned(), target.into()),
        ("CARGO_TARGET_DIR".to_owned(), build_dir.into()),
        ("CARGO_BUILD_BUILD_DIR".to_owned(), build_dir.into()),
        (format!("CARGO_TARGET_{triple}_RUNNER"), runner),
        ("RUSTC_WRAPPER".to_owned(), ourselves.into()),
        ("RRTEST_TRACE_DIR".to_owned(), trace_dir.into()),
        (wrapper::VARIABLE.to_owned(), to_json(&order)?.into()),
    ]);
    let users = variables.iter().map(|(name, _)| name.as_str()).chain([VARIABLE]);
    let users = users.map(|name| (name.to_owned(), env::var_os(name))).collect();
    let order = to_json(&Order { level: level.name().to_owned(), users })?;
    variables.push((VARIABLE.to_owned(), order.into()));
    Ok(variables)
}

fn to_json(order: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string(order).map_err(|error| CliError::new(Status::Recorder, error))
}
