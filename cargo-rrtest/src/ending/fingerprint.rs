//! Whether two failures are the same one.

use std::fmt::Write;

use rrtest_engine::ending::{Ending, TaskState};

use super::panic;

/// What failures of one test are told apart by: how it ended and, for a panic, where; for a crash or a deadlock, where
/// each thread was. Values in messages, thread numbers and addresses of data do not count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(String);

impl Fingerprint {
    /// Of a failure of `test`, from its ending and its output.
    pub(crate) fn of(test: &str, ending: &Ending, output: &str) -> Self {
        let mut text = format!("{test}\n");
        // Writing to a string cannot fail.
        let _written = match ending {
            Ending::Exited(code) => write!(text, "exit {code}"),
            Ending::Killed { signal, tasks, .. } => {
                write!(text, "signal {signal} {}", tasks.first().map(place).unwrap_or_default())
            }
            Ending::Deadlocked(tasks) => write!(text, "deadlock {}", places(tasks)),
            // Where a thread in an endless loop is caught is chance.
            Ending::Hung { .. } => write!(text, "hung"),
            Ending::Unsupported { what, .. } => write!(text, "unsupported {what}"),
        };
        let mut panics: Vec<_> = output.lines().filter_map(panic::location).collect();
        panics.sort_unstable();
        panics.dedup();
        for location in panics {
            text.push('\n');
            text.push_str(location);
        }
        Self(text)
    }
}

fn places(tasks: &[TaskState]) -> String {
    let mut places: Vec<_> = tasks.iter().map(place).collect();
    places.sort_unstable();
    places.join(" ")
}

/// Where a task is, in code: its frames if known, else what it does without the address that it does it to.
fn place(task: &TaskState) -> String {
    let frames: Vec<_> = task
        .frames
        .iter()
        .map(|frame| frame.function.clone().unwrap_or_else(|| format!("{:#x}", frame.address)))
        .collect();
    if frames.is_empty() {
        task.doing.split_whitespace().next().unwrap_or_default().to_owned()
    } else {
        frames.join("<")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rrtest_engine::ending::Frame;
    use rrtest_engine::task::TaskId;

    fn panicked(output: &str) -> Fingerprint {
        Fingerprint::of("p t", &Ending::Exited(101), output)
    }

    fn deadlock(places: &[u64]) -> Ending {
        let task = |(number, address): (usize, &u64)| TaskState {
            task: TaskId(number as u32),
            name: format!("worker-{number}"),
            doing: "waits on a futex".into(),
            wait: None,
            spawned: None,
            awaits: Vec::new(),
            frames: vec![Frame { address: *address, function: None, location: None }],
        };
        Ending::Deadlocked(places.iter().enumerate().map(task).collect())
    }

    #[test]
    fn threads_and_values_do_not_count() {
        assert_eq!(
            panicked("\nthread 'a' (12) panicked at src/lib.rs:3:5:\nleft: 1\n"),
            panicked("\nthread '<unnamed>' panicked at src/lib.rs:3:5:\nleft: 2\n")
        );
    }

    #[test]
    fn places_count() {
        let one = panicked("thread 'a' panicked at src/lib.rs:3:5:\n");
        assert_ne!(one, panicked("thread 'a' panicked at src/lib.rs:4:5:\n"));
        assert_ne!(one, panicked(""));
        assert_ne!(
            one,
            Fingerprint::of("p u", &Ending::Exited(101), "thread 'a' panicked at src/lib.rs:3:5:\n")
        );
    }

    #[test]
    fn deadlocks_are_told_apart_by_where_threads_wait() {
        let of = |places: &[u64]| Fingerprint::of("p t", &deadlock(places), "");
        assert_eq!(of(&[1, 2]), of(&[2, 1]));
        assert_ne!(of(&[1, 2]), of(&[1, 3]));
    }
}
