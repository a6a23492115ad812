//! The command line, with what is set elsewhere.

use std::env;
use std::ffi::OsString;

use clap::CommandFactory;

use crate::base::exit::CliError;
use crate::commands::cli::Cli;
use crate::settings::layers::{self, Refusal, Surroundings};

/// Read the arguments that follow our name, and add what the environment and the project's files say.
pub(crate) fn read(args: Vec<OsString>) -> Result<Cli, Refusal> {
    let args = Cli::in_order(args)?;
    let cwd =
        env::current_dir().map_err(|error| CliError::os("cannot determine the working directory", &error))?;
    let surroundings =
        Surroundings { cwd: &cwd, variable: &layers::variable, names: layers::variable_names() };
    let (args, settings) = layers::apply(&Cli::command(), args, &surroundings)?;
    Ok(Cli { settings, ..Cli::parse_ordered(args)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tests of settings have options of their own: these are the real ones.
    #[test]
    fn options_of_attempts_recording_and_reports_can_be_set() {
        let cli = Cli::command();
        let keys = layers::keys(&cli);
        for key in
            ["until-fail", "for", "deadline", "timeout", "strategy", "trace-limit", "partition", "never-ran"]
        {
            assert!(keys.contains(&key), "{key} is not among {keys:?}");
        }
        for key in ["release", "package", "verbose", "profile-rrtest", "no-run"] {
            assert!(!keys.contains(&key), "{key}");
        }
    }
}
