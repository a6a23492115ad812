//! The progress bar, on a terminal only.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::attempt::events::{Reporter, RunEvent, Slow, Started};
use crate::base::exit::CliError;
use crate::base::terminal::{self, GOOD};
use crate::base::words::{count, rounded, visible};
use crate::discover::test::Test;

/// How the line begins.
const LABEL: &str = "   Recording";

/// So much of the line stays free at its end: some terminals begin a new line as soon as one is full.
const BEHIND: usize = 1;

/// The width of the bar.
const BAR: u64 = 10;

/// What turns where it is not known how many attempts there will be.
const SPINNER: &[char] = &['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Keeps a progress bar up to date.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    colored: bool,
    /// The width of the terminal, which may change.
    width: fn() -> usize,
    /// What went wrong, and what runs.
    tail: Arc<Mutex<String>>,
    failures: u64,
    errors: u64,
    /// What each worker is at.
    running: BTreeMap<usize, Running>,
    /// Attempts that have begun.
    begun: u64,
}

/// An attempt under way.
#[derive(Debug)]
struct Running {
    /// Later ones are greater.
    begun: u64,
    test: Arc<Test>,
    number: u64,
    /// How long it has been running, where that is long.
    slow: Option<Duration>,
}

impl Progress {
    /// A bar on the terminal that standard error is, or an invisible one if it is none or must not move.
    pub(crate) fn new(wanted: bool) -> Self {
        let bar = if wanted && is_possible() { ProgressBar::no_length() } else { ProgressBar::hidden() };
        Self::on(bar, terminal::stderr_has_colors(), terminal::width)
    }

    fn on(bar: ProgressBar, colored: bool, width: fn() -> usize) -> Self {
        Self {
            bar,
            colored,
            width,
            tail: Arc::default(),
            failures: 0,
            errors: 0,
            running: BTreeMap::new(),
            begun: 0,
        }
    }

    /// The bar, for those who write to the same terminal.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    fn start(&self, started: &Started) {
        if let Some(attempts) = started.attempts {
            self.bar.set_length(attempts);
        }
        let (width, tail) = (self.width, Arc::clone(&self.tail));
        let limit = started.time.map(|time| format!(" of {}", rounded(time)));
        let limited = started.attempts.is_some();
        let limit = limit.unwrap_or_default();
        let line = move |state: &ProgressState, out: &mut dyn fmt::Write| {
            let tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            let room = width().saturating_sub(LABEL.len() + BEHIND);
            let text = format!("{}{limit}{tail}", counts(state, limited));
            // There is nobody to tell that a line of text cannot be put together.
            let _written = out.write_str(&text.chars().take(room).collect::<String>());
        };
        // A template that indicatif refuses leaves its own.
        let style = ProgressStyle::with_template("{prefix}{line}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .with_key("line", line);
        self.bar.set_style(style);
        self.bar.set_prefix(match self.colored {
            true => format!("{GOOD}{LABEL}{GOOD:#}"),
            false => LABEL.to_owned(),
        });
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }

    fn end(&self) {
        self.bar.finish_and_clear();
        terminal::show_control_keys();
    }

    fn mark(&mut self, slow: &Slow) {
        let is_it =
            |running: &&mut Running| Arc::ptr_eq(&running.test, &slow.test) && running.number == slow.number;
        if let Some(running) = self.running.values_mut().find(is_it) {
            running.slow = Some(slow.wall);
        }
    }

    /// How many attempts went wrong, and what runs, the oldest first.
    fn message(&self) -> String {
        let of = |number, what| if number > 0 { format!(", {number} {what}") } else { String::new() };
        let mut running: Vec<_> = self.running.values().collect();
        running.sort_by_key(|running| running.begun);
        let name = |running: &&Running| {
            // It is what people look for: in front of what may be cut off.
            let slow = running.slow.map(|slow| format!("SLOW {}s ", slow.as_secs()));
            // Modules and binaries take more room than there is.
            let name = running.test.name.as_deref().map_or(running.test.binary.as_str(), last_part);
            // A name could end the line, or do other things to the terminal.
            slow.unwrap_or_default() + &visible(name).replace('\n', " ")
        };
        let mut names: Vec<(String, usize)> = Vec::new();
        for name in running.iter().map(name) {
            match names.iter_mut().find(|(known, _)| *known == name) {
                Some((_, times)) => *times += 1,
                None => names.push((name, 1)),
            }
        }
        let times = |(name, times): (String, usize)| {
            if times > 1 { format!("{name} ×{times}") } else { name }
        };
        let names: Vec<_> = names.into_iter().map(times).collect();
        let names = if names.is_empty() { String::new() } else { format!("; running {}", names.join(", ")) };
        of(self.failures, "failed") + &of(self.errors, "errors") + &names
    }
}

/// How far the run has come: a bar, if its end is known, and how long it has taken.
fn counts(state: &ProgressState, limited: bool) -> String {
    let elapsed = state.elapsed();
    let seconds = humantime::format_duration(Duration::from_secs(elapsed.as_secs()));
    let (done, all) = (state.pos(), state.len().unwrap_or(0));
    if limited {
        let full = done.saturating_mul(BAR).checked_div(all).unwrap_or(BAR).min(BAR);
        let bar: String = (0..BAR)
            .map(|at| match at {
                at if at < full => '=',
                at if at == full && done > 0 => '>',
                _ => ' ',
            })
            .collect();
        format!(" [{bar}] {done}/{all}, {seconds}")
    } else {
        let turn = SPINNER[(elapsed.as_millis() / 100) as usize % SPINNER.len()];
        format!(" {turn} {}, {seconds}", count(done, "attempt"))
    }
}

/// A test's name without its modules.
fn last_part(name: &str) -> &str {
    name.rsplit_once("::").map_or(name, |(_, last)| last)
}

fn is_possible() -> bool {
    let never = env::var("CARGO_TERM_PROGRESS_WHEN").is_ok_and(|when| when == "never");
    let dumb = env::var("TERM").is_ok_and(|term| term == "dumb");
    std::io::stderr().is_terminal() && env::var_os("CI").is_none() && !never && !dumb
}

impl Reporter for Progress {
    fn report(&mut self, event: &RunEvent) -> Result<(), CliError> {
        if self.bar.is_hidden() {
            return Ok(());
        }
        match event {
            RunEvent::Started(started) => {
                self.start(started);
                terminal::hide_control_keys();
            }
            RunEvent::Begun(begun) => {
                self.begun += 1;
                let running = Running {
                    begun: self.begun,
                    test: Arc::clone(&begun.test),
                    number: begun.number,
                    slow: None,
                };
                self.running.insert(begun.worker, running);
            }
            RunEvent::Left(worker) => drop(self.running.remove(worker)),
            RunEvent::Slow(slow) => self.mark(slow),
            RunEvent::Attempt(attempt) => {
                self.failures += u64::from(attempt.outcome.is_failure());
                self.errors += u64::from(attempt.outcome.is_ours());
                self.bar.inc(1);
            }
            RunEvent::NotBuilt(_)
            | RunEvent::Joined(_)
            | RunEvent::Interference(_)
            | RunEvent::Explained(_)
            | RunEvent::Verified(_)
            | RunEvent::Pin(_)
            | RunEvent::Warning(_) => {
                return Ok(());
            }
            RunEvent::Summary(_) => {
                self.end();
                return Ok(());
            }
        }
        *self.tail.lock().unwrap_or_else(PoisonError::into_inner) = self.message();
        Ok(())
    }
}

impl Drop for Progress {
    /// However a run ends, it leaves no bar behind.
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, ProgressDrawTarget};

    use super::*;
    use crate::attempt::events::samples::{self, attempt};
    use crate::attempt::events::{Begun, Summary};
    use crate::discover::test::sample;

    fn started(attempts: Option<u64>, time: Option<u64>) -> RunEvent {
        let time = time.map(Duration::from_secs);
        let started = samples::started(vec![sample().which(); 4], Vec::new());
        RunEvent::Started(Started { slots: 2, attempts, time, until_fail: true, ..started })
    }

    fn test(name: &str) -> Arc<Test> {
        Arc::new(Test { name: Some(name.into()), ..sample() })
    }

    /// What stands on a terminal of this width, at moments of a run.
    fn screen(width: u16, colored: bool) -> String {
        let (one, other) =
            (test("transfers::two_tills_cannot_overdraw"), test("transfers::join_while_disbanding"));
        let begun = |worker, test: &Arc<Test>, number| {
            RunEvent::Begun(Begun { worker, test: Arc::clone(test), number })
        };
        let slow = Slow { test: Arc::clone(&one), number: 1, wall: Duration::from_secs(30) };
        let moments = [
            vec![started(Some(40), None), begun(0, &one, 1), begun(1, &other, 1)],
            vec![RunEvent::Left(1), RunEvent::Attempt(Box::new(attempt())), begun(1, &other, 2)],
            vec![RunEvent::Slow(slow)],
            vec![started(None, Some(600)), RunEvent::Left(0)],
            vec![RunEvent::Summary(Summary::of_none(4, false))],
        ];
        let terminal = InMemoryTerm::new(5, width);
        let bar =
            ProgressBar::with_draw_target(None, ProgressDrawTarget::term_like(Box::new(terminal.clone())));
        let mut progress = Progress::on(bar, colored, if width == 80 { || 80 } else { || 120 });
        let mut screens = String::new();
        for events in moments {
            for event in events {
                progress.report(&event).expect("memory");
            }
            // Not by the clock: the line is to be as it is at the start.
            progress.bar.disable_steady_tick();
            progress.bar.reset_elapsed();
            progress.bar.tick();
            let lines =
                if colored { terminal.contents_formatted() } else { terminal.contents().into_bytes() };
            screens += &format!("|{}|\n", String::from_utf8_lossy(&lines).replace('\u{1b}', "^"));
        }
        screens
    }

    #[test]
    fn it_names_what_runs_and_fits_into_a_line() {
        // However long it takes.
        let turning = format!("[{}]", SPINNER.iter().collect::<String>());
        insta::with_settings!({ filters => vec![(r", [0-9hms ]+s\b", ", 0s"), (turning.as_str(), "*")] }, {
            for width in [80, 120] {
                for colored in [false, true] {
                    insta::assert_snapshot!(format!("bar-{width}-{colored}"), screen(width, colored));
                }
            }
        });
    }
}
