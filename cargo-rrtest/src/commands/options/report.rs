//! Options of `report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::traces::OneTrace;

/// What the help ends with.
pub(crate) const HELP: &str = "\
The page has the failure's output, what it needs, who did what in which order,
who waits for whom, source lines, stacks, and how to replay it. It comes from
the trace alone, loads nothing, and opens in any browser on any system.

A file that exists is overwritten only if it is such a report.

Exit codes: 0 the report is written, 3 the replay diverged, 2 wrong arguments,
70 it failed.";

/// Options of `report`.
#[derive(Args, Debug)]
pub(crate) struct FailureReport {
    #[command(flatten)]
    pub(crate) trace: OneTrace,
    /// Write to this file, or `-` for standard output [default: beside the trace, with the ending .html or .json; of a
    /// trace that was unpacked or fetched, in the current directory]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Format: html, a page that needs nothing else; perfetto, the whole schedule for ui.perfetto.dev
    #[arg(long, value_enum, default_value = "html", value_name = "FORMAT", hide_possible_values = true)]
    pub(crate) format: ReportFormat,
}

/// What a report is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// A page.
    Html,
    /// Chrome's trace event format.
    Perfetto,
}
