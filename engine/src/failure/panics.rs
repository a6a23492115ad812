//! Which of a program's panics made it fail.
//!
//! The last one did, unless the program's own code caught it: what a test harness, a runtime or a thread's start
//! catches has been a failure. If the last one only tells of another, as that of `join().unwrap()` does, the other one
//! is what to look at.

use crate::ending::Frame;
use crate::symbols::origin::Origin;
use crate::task::TaskId;

/// What is known of a panic.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) task: TaskId,
    /// Its stack, innermost frame first.
    pub(super) frames: Vec<Frame>,
    /// What the program wrote of it.
    pub(super) message: Option<String>,
}

/// Parts of the names of the functions that catch panics, in std of all versions.
const CATCHES: [&str; 4] = ["__rust_try", "panicking::catch_unwind", "panicking::try", "panic::catch_unwind"];

/// What a panic tells of, other than itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    /// The one before it: it is the same, raised again.
    Itself,
    /// One that was caught: by a thread's start, or else by the program's own code.
    Caught,
    /// One of another thread.
    AnotherThread,
}

/// Parts of the messages of such panics.
const MESSAGES: [(&str, Tells); 7] = [
    // The payload of a panic, as thread::JoinHandle::join and panic::catch_unwind return it.
    (": Any { .. }", Tells::Caught),
    ("a scoped thread panicked", Tells::AnotherThread),
    (": PoisonError { .. }", Tells::AnotherThread),
    // Of tokio.
    (": JoinError::Panic(", Tells::AnotherThread),
    // Whoever would have sent, or received, may have panicked.
    (": RecvError", Tells::AnotherThread),
    (": Disconnected", Tells::AnotherThread),
    (": SendError", Tells::AnotherThread),
];

/// Chooses among panics, of which `nth` tells, counted from the last one. Each is asked for at most once, in this order.
pub(super) fn choose<E>(mut nth: impl FnMut(usize) -> Result<Option<Seen>, E>) -> Result<Option<usize>, E> {
    let mut at = 0;
    let mut seen = loop {
        match nth(at)? {
            Some(seen) if is_caught(&seen.frames) => at += 1,
            Some(seen) => break seen,
            None => return Ok(None),
        }
    };
    let mut chosen = at;
    // Where all else fails: the last one that own code has caught.
    let mut caught = None;
    while let Some(tells) = told(&seen) {
        at += 1;
        let Some(earlier) = nth(at)? else {
            // What it tells of is not there, so this one is what there is.
            return Ok(Some(if tells == Tells::Caught { caught.unwrap_or(chosen) } else { chosen }));
        };
        let is_caught = is_caught(&earlier.frames);
        let is_it = match tells {
            Tells::Itself => true,
            Tells::Caught => !is_caught,
            Tells::AnotherThread => !is_caught && earlier.task != seen.task,
        };
        if is_it {
            (chosen, seen, caught) = (at, earlier, None);
        } else if is_caught {
            caught = caught.or(Some(at));
        }
    }
    Ok(Some(chosen))
}

/// Whether code of the program's own catches the panic.
fn is_caught(frames: &[Frame]) -> bool {
    let is_named = |frame: &Frame, parts: &[&str]| {
        frame.function.as_deref().is_some_and(|name| parts.iter().any(|part| name.contains(part)))
    };
    let mut within = frames.iter().skip_while(|frame| !is_named(frame, &CATCHES));
    let catcher = within.find(|frame| !is_named(frame, &CATCHES));
    catcher.is_some_and(|catcher| Origin::of(catcher) == Origin::Own)
}

/// What a panic tells of, if that is another one.
fn told(seen: &Seen) -> Option<Tells> {
    let others = seen.frames.iter().take_while(|frame| Origin::of(frame) != Origin::Own);
    let mut names = others.filter_map(|frame| frame.function.as_deref());
    if names.any(|name| name.contains("resume_unwind")) {
        return Some(Tells::Itself);
    }
    let message = seen.message.as_ref()?;
    MESSAGES.iter().find(|(part, _)| message.contains(part)).map(|(_, tells)| *tells)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STD: &str = "/rustc/0/library/std/src/x.rs";
    const TOKIO: &str = "/home/me/.cargo/registry/src/index.crates.io-0/tokio-1.44.1/src/x.rs";
    const OWN: &str = "/p/src/lib.rs";

    fn seen(task: u32, said: &str, frames: &[(&str, &str)]) -> Seen {
        let frame = |(function, file): &(&str, &str)| Frame {
            address: 0x10,
            function: Some((*function).to_owned()),
            location: Some(((*file).to_owned(), 7)),
        };
        let message = format!("thread 't' (1) panicked at src/lib.rs:1:2:\n{said}");
        Seen { task: TaskId(task), frames: frames.iter().map(frame).collect(), message: Some(message) }
    }

    /// A panic of a thread that nobody catches but the thread's start.
    fn plain(task: u32, said: &str) -> Seen {
        let catch = [("std::panicking::catch_unwind::do_call", STD), ("__rust_try", STD)];
        let above = [("rust_panic", STD), ("p::f", OWN), ("std::sys::backtrace::begin", STD)];
        seen(task, said, &[&above[..], &catch, &[("std::thread::spawn::{{closure}}", STD)]].concat())
    }

    fn caught_by(file: &str) -> Seen {
        seen(1, "x", &[("rust_panic", STD), ("p::f", OWN), ("std::panic::catch_unwind", STD), ("g", file)])
    }

    /// Chooses among these, the first of which came first.
    fn chosen(panics: Vec<Seen>) -> Option<usize> {
        let mut panics: Vec<_> = panics.into_iter().map(Some).collect();
        let last = panics.len();
        let nth = |n| Ok::<_, ()>(last.checked_sub(n + 1).and_then(|at| panics[at].take()));
        choose(nth).unwrap().map(|n| last - n - 1)
    }

    #[test]
    fn the_last_one_matters() {
        assert_eq!(chosen(Vec::new()), None);
        assert_eq!(chosen(vec![plain(1, "x"), plain(2, "y")]), Some(1));
        assert_eq!(chosen(vec![plain(1, "x"), plain(1, "left: Any { .. }")]), Some(0));
    }

    #[test]
    fn what_own_code_catches_does_not() {
        assert_eq!(chosen(vec![caught_by(OWN)]), None);
        assert_eq!(chosen(vec![plain(1, "x"), caught_by(OWN), caught_by(OWN)]), Some(0));
        assert_eq!(chosen(vec![plain(1, "x"), caught_by(TOKIO)]), Some(1));
    }

    #[test]
    fn of_two_of_which_one_tells_of_the_other_that_one_does() {
        let unwraps = "called `Result::unwrap()` on an `Err` value";
        let any = format!("{unwraps}: Any {{ .. }}");
        let poisoned = format!("{unwraps}: PoisonError {{ .. }}");
        assert_eq!(chosen(vec![plain(2, "x"), plain(1, &any)]), Some(0));
        assert_eq!(chosen(vec![plain(3, "x"), plain(2, &poisoned), plain(1, &any)]), Some(0));
        assert_eq!(chosen(vec![plain(2, "x"), plain(1, "y"), plain(1, &poisoned)]), Some(0));
        assert_eq!(chosen(vec![plain(1, &any)]), Some(0), "the other one is not known");
        assert_eq!(chosen(vec![caught_by(OWN), plain(1, &any)]), Some(0), "it was caught and then unwrapped");
        assert_eq!(
            chosen(vec![plain(2, "x"), caught_by(OWN), plain(1, &any)]),
            Some(0),
            "a thread's comes first"
        );
        let again = [("rust_panic", STD), ("std::panic::resume_unwind", STD), ("p::f", OWN)];
        assert_eq!(chosen(vec![plain(1, "x"), caught_by(OWN), seen(1, "", &again)]), Some(1));
    }
}
