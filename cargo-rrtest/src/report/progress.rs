//! The progress bar, on a terminal only.

use std::env;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::attempt::events::{Reporter, RunEvent, Started};
use crate::base::exit::CliError;

/// Keeps a progress bar up to date.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    failures: u64,
    errors: u64,
}

impl Progress {
    /// A bar on the terminal that standard error is, or an invisible one if it is none or must not move.
    pub(crate) fn new(wanted: bool) -> Self {
        let bar = if wanted && is_possible() { ProgressBar::no_length() } else { ProgressBar::hidden() };
        Self { bar, failures: 0, errors: 0 }
    }

    /// The bar, for those who write to the same terminal.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    fn start(&self, started: &Started) {
        let limit = started.time.map(|time| format!(" of {}", humantime::format_duration(time)));
        let elapsed = format!("{{elapsed}}{}", limit.unwrap_or_default());
        let template = match started.attempts {
            Some(attempts) => {
                self.bar.set_length(attempts);
                format!("   Recording [{{bar:25}}] {{pos}}/{{len}} attempts, {elapsed}{{msg}}")
            }
            None => format!("   Recording {{spinner}} {{pos}} attempts, {elapsed}{{msg}}"),
        };
        // A template that indicatif refuses leaves its own.
        let style =
            ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner());
        self.bar.set_style(style.progress_chars("=> "));
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }
}

fn is_possible() -> bool {
    let never = env::var("CARGO_TERM_PROGRESS_WHEN").is_ok_and(|when| when == "never");
    let dumb = env::var("TERM").is_ok_and(|term| term == "dumb");
    std::io::stderr().is_terminal() && env::var_os("CI").is_none() && !never && !dumb
}

impl Reporter for Progress {
    fn report(&mut self, event: &RunEvent) -> Result<(), CliError> {
        match event {
            RunEvent::Started(started) => self.start(started),
            RunEvent::Attempt(attempt) => {
                self.failures += u64::from(attempt.outcome.is_failure());
                self.errors += u64::from(attempt.outcome.is_ours());
                let of = |number, what| if number > 0 { format!(", {number} {what}") } else { String::new() };
                self.bar.set_message(of(self.failures, "failed") + &of(self.errors, "errors"));
                self.bar.inc(1);
            }
            RunEvent::Joined(_) | RunEvent::Interference(_) | RunEvent::Warning(_) => {}
            RunEvent::Summary(_) => self.bar.finish_and_clear(),
        }
        Ok(())
    }
}

impl Drop for Progress {
    /// However a run ends, it leaves no bar behind.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
