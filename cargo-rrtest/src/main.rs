//! `cargo rrtest`: `cargo test` with a recorder.
//!
//! The subcommand builds the tests with a clock compiled in, finds them, and makes attempts at each with the engine. What happens is
//! a stream of events that each report reads. Its rooms, each of which stands only on those further down:
//!
//! - [`commands`]: the command line, and what each command does
//! - [`picture`]: a failure as a page, for those who cannot replay it
//! - [`campaign`], [`report`]: attempts at many tests; what is said of them. Neither needs the other
//! - [`explain`]: what a failure needs, by experiments after it
//! - [`pins`]: failing schedules that are committed as text, and tried first
//! - [`attempt`]: one attempt at a test, and the events of a run
//! - [`settings`]: what users need not type
//! - [`store`]: the kept traces
//! - [`build`]: the build of the tests, with the clock in it
//! - [`discover`], [`ending`]: the tests that binaries have; how programs end. Neither needs the other
//! - [`base`]: what all rooms use

mod attempt;
mod base;
mod build;
mod campaign;
mod commands;
mod discover;
mod ending;
mod explain;
mod picture;
mod pins;
mod report;
mod settings;
mod store;

use std::ffi::OsString;
use std::process::ExitCode;

use base::exit::{CliError, Status, panicked};
use base::{group, interrupt, terminal};
use build::{front_end, wrapper};
use commands::cli::{Cli, Command};
use commands::options::configured;
use commands::{
    backtrace, debug, doctor, exec, merge, pack, pin, replay, report as write_report, run, show, verify,
};
use discover::runner;
use settings::layers::Refusal;
use settings::show as show_settings;

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(order) = wrapper::Order::from_env().filter(|_| wrapper::is_wrapper_call(&args)) {
        return end(Err(order.execute(&args)));
    }
    if args.first().is_some_and(|first| first == runner::COMMAND) {
        return end(runner::capture(&args[1..]).map(|()| Status::Success.into()));
    }
    if args.first().is_some_and(|first| first == front_end::COMMAND) {
        interrupt::survive_file_size_limit();
        let started = || commands::front_end::start(&args[1..]).map(ExitCode::from);
        return end(std::panic::catch_unwind(started)
            .unwrap_or_else(|payload| Err(panicked("while a test was recorded", &*payload).into())));
    }
    if args.first().is_some_and(|first| first == group::COMMAND) {
        return end(Err(group::become_background(&args[1..])));
    }
    // Cargo passes the subcommand's own name first.
    if args.first().is_some_and(|first| first == "rrtest") {
        args.remove(0);
    }
    interrupt::survive_file_size_limit();
    terminal::choose_colors(None);
    let cli = match configured::read(args) {
        Ok(cli) => cli,
        Err(Refusal::CommandLine(error)) => error.exit(),
        Err(Refusal::Setting(stop)) => return end(Err(stop)),
    };
    // A panic is a failure of ours; unhandled, its exit code would be that of a failed test.
    end(std::panic::catch_unwind(|| dispatch(cli))
        .unwrap_or_else(|payload| Err(panicked("outside of an attempt", &*payload).into())))
}

fn dispatch(cli: Cli) -> Result<ExitCode, CliError> {
    terminal::choose_colors(cli.color);
    match cli.command {
        None => run::run(&cli.run, &cli.settings, cli.color),
        Some(Command::Run(options)) => run::run(&options, &cli.settings, cli.color),
        Some(Command::ShowConfig(_)) => {
            terminal::print(&show_settings::text(&cli.settings)).map(|()| Status::Success)
        }
        Some(Command::Replay(options)) => replay::run(&options),
        Some(Command::Verify(options)) => verify::run(&options),
        Some(Command::Pin(options)) => pin::run(&options),
        Some(Command::Backtrace(options)) => backtrace::run(&options),
        Some(Command::Report(options)) => write_report::run(&options),
        Some(Command::Debug(options)) => return debug::run(&options),
        Some(Command::Ls(place)) => show::ls(&place),
        Some(Command::Show(options)) => show::show(&options),
        Some(Command::Rm(options)) => show::rm(&options),
        Some(Command::Pack(options)) => pack::pack(&options),
        Some(Command::Merge(options)) => {
            return merge::run(&options.files, options.message_format).map(ExitCode::from);
        }
        Some(Command::Exec(options)) => return exec::run(&options).map(ExitCode::from),
        Some(Command::Env(options)) => commands::front_end::env(&options),
        Some(Command::Doctor(_)) => doctor::run(),
    }
    .map(ExitCode::from)
}

fn end(result: Result<ExitCode, CliError>) -> ExitCode {
    result.unwrap_or_else(|stop| {
        if let Some(message) = &stop.message {
            terminal::error(message);
        }
        stop.status.into()
    })
}
