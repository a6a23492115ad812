//! The command line, with what is set elsewhere.

use std::env;
use std::ffi::OsString;

use clap::CommandFactory;

use super::cli::Cli;
use crate::base::exit::CliError;
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
