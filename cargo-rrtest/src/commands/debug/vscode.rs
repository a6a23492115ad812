//! A launch configuration for Visual Studio Code: its debugger for C++ and Rust starts our server, and gdb on it.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::LISTENING;
use crate::base::exit::{CliError, Status};
use crate::base::terminal::{GOOD, print};
use crate::base::whole::write_whole_in;
use crate::base::words::shell_word;
use crate::commands::options::traces::Debug;

/// Where the editor looks for configurations, from the directory that is opened in it.
const FILE: &str = ".vscode/launch.json";

/// The port at which the server listens for the editor's gdb: below those that the kernel hands out by itself.
const PORT: &str = "27341";

/// A configuration, by the editor's names (its "Configure C/C++ debugging").
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Configuration<'a> {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    request: &'static str,
    program: &'a str,
    cwd: &'static str,
    #[serde(rename = "MIMode")]
    mi_mode: &'static str,
    mi_debugger_server_address: String,
    debug_server_path: &'a Path,
    debug_server_args: String,
    server_started: &'static str,
    filter_stderr: bool,
    stop_at_connect: bool,
}

/// The contents of [`FILE`].
#[derive(Debug, Serialize)]
struct Configurations<'a> {
    version: &'static str,
    configurations: [Configuration<'a>; 1],
}

/// The configuration that debugs a trace with this label; `program` is what was recorded.
fn configuration<'a>(
    label: &str,
    program: &'a str,
    ours: &'a Path,
    trace: &Path,
    options: &Debug,
) -> Configuration<'a> {
    let mut arguments = vec!["rrtest".to_owned(), "debug".to_owned(), "--server".to_owned(), PORT.to_owned()];
    if let Some(moment) = options.at {
        arguments.extend(["--at".to_owned(), moment.to_string()]);
    }
    if let Some(number) = options.pid {
        arguments.extend(["--pid".to_owned(), number.to_string()]);
    }
    arguments.push(trace.display().to_string());
    // The editor takes them apart as a shell does.
    let arguments = arguments.iter().map(|argument| shell_word(argument));
    Configuration {
        name: format!("rrtest: {label}"),
        kind: "cppdbg",
        request: "launch",
        program,
        cwd: "${workspaceFolder}",
        mi_mode: "gdb",
        mi_debugger_server_address: format!("localhost:{PORT}"),
        debug_server_path: ours,
        debug_server_args: arguments.collect::<Vec<_>>().join(" "),
        server_started: LISTENING,
        filter_stderr: true,
        stop_at_connect: true,
    }
}

/// Writes the configuration into the current directory, or prints it if there are others already.
pub(super) fn write(label: &str, program: &str, trace: &Path, options: &Debug) -> Result<Status, CliError> {
    let ours = std::env::current_exe().map_err(|error| CliError::os("cannot find this program", &error))?;
    let trace = fs::canonicalize(trace).map_err(|error| CliError::os("cannot find the trace", &error))?;
    let one = configuration(label, program, &ours, &trace, options);
    if Path::new(FILE).exists() {
        anstream::eprintln!("{GOOD}        Note{GOOD:#} {FILE} is there: add this to its `configurations`");
        print(&text(&one)?)?;
        return Ok(Status::Success);
    }
    let all = Configurations { version: "0.2.0", configurations: [one] };
    write_whole_in(Path::new(FILE), text(&all)?.as_bytes())
        .map_err(|error| CliError::os(format!("cannot write {FILE}"), &error))?;
    anstream::eprintln!("{GOOD}       Wrote{GOOD:#} {FILE}: open this directory in the editor, and press F5");
    Ok(Status::Success)
}

fn text(value: &impl Serialize) -> Result<String, CliError> {
    let text = serde_json::to_string_pretty(value);
    Ok(text.map_err(|error| CliError::new(Status::Recorder, error.to_string()))? + "\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::commands::cli::{Cli, Command};

    #[test]
    fn the_server_is_started_for_this_trace_at_this_moment() {
        let cli =
            Cli::try_parse_from(["cargo-rrtest", "debug", "--vscode", "--at", "7.2"]).expect("arguments");
        let Some(Command::Debug(options)) = cli.command else { panic!("{cli:?}") };
        let one =
            configuration("t", "/bin/it", Path::new("/bin/rrtest"), Path::new("/a b/t.rrtrace"), &options);
        assert_eq!(one.debug_server_args, "rrtest debug --server 27341 --at 7.2 '/a b/t.rrtrace'");
        assert_eq!(one.mi_debugger_server_address, "localhost:27341");
    }
}
