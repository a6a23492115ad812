//! What a debugger is told at its start: where things are, and our commands.

use std::path::Path;

use super::banner::Banner;

/// What a debugger is told at its start.
pub(super) struct Scene<'s> {
    /// Where the trace is served.
    pub(super) socket: &'s Path,
    /// Where the files lie that the trace carries, by their paths on the recorded machine.
    pub(super) files: &'s Path,
    /// The path of the program on the recorded machine.
    pub(super) program: &'s str,
    pub(super) banner: &'s Banner,
    /// The number of a thread, and of a frame of it.
    pub(super) frame: Option<(usize, usize)>,
}

/// A command of ours, which is also one of `monitor`.
pub(super) struct Ours {
    pub(super) name: &'static str,
    pub(super) argument: Argument,
    /// Whether it goes to another moment, which the debugger sees when it connects anew.
    pub(super) moves: bool,
    pub(super) help: &'static str,
}

/// What follows a command's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    None,
    /// One, or none.
    Perhaps,
    One,
}

impl Ours {
    const fn new(name: &'static str, argument: Argument, help: &'static str) -> Self {
        Self { name, argument, moves: false, help }
    }

    const fn moving(self) -> Self {
        Self { moves: true, ..self }
    }
}

/// All of them.
pub(super) const COMMANDS: [Ours; 9] = [
    Ours::new(
        "when",
        Argument::None,
        "Tell this moment: event, ticks and instructions since, and the thread that runs.",
    ),
    Ours::new(
        "seek",
        Argument::One,
        "Go to a moment, as `when` tells it: seek EVENT[.TICKS[.INSTRUCTIONS]].",
    )
    .moving(),
    Ours::new("checkpoint", Argument::None, "Remember this moment, for `restart NUMBER`."),
    Ours::new("restart", Argument::One, "Go to a moment that `checkpoint` has remembered: restart NUMBER.")
        .moving(),
    Ours::new(
        "events",
        Argument::Perhaps,
        "List the events of the trace around this moment: events [COUNT].",
    ),
    Ours::new(
        "schedule",
        Argument::Perhaps,
        "List who had the core around this moment, from where to where, and why no longer: schedule [COUNT].",
    ),
    Ours::new(
        "waits",
        Argument::None,
        "List what each thread is at; where the recording ended, also who waits for whom.",
    ),
    Ours::new("explanation", Argument::None, "Tell what the failure needs, as experiments have shown."),
    Ours::new("ps", Argument::None, "List the living processes and threads of the run."),
];
