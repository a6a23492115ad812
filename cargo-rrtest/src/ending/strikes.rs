//! What surprises have done to a test's time and surroundings, in sentences.

use std::path::Path;
use std::time::Duration;

use rrtest_engine::ending::Frame;
use rrtest_engine::schedule::surprise::Surprise;
use rrtest_engine::strike::{Doing, Strike};

use crate::base::words::relative;

/// What these strikes have done, a sentence each; equal ones are told once.
pub(crate) fn sentences(strikes: &[Strike]) -> Vec<String> {
    let mut told: Vec<(String, u32)> = Vec::new();
    for sentence in strikes.iter().map(sentence) {
        match told.iter_mut().find(|(other, _)| *other == sentence) {
            Some((_, times)) => *times += 1,
            None => told.push((sentence, 1)),
        }
    }
    let often = |(sentence, times)| match times {
        1 => sentence,
        times => format!("{sentence} ({times} times)"),
    };
    told.into_iter().map(often).collect()
}

/// What a reader is to make of them who thinks that it is a false alarm; none if there is nothing to explain.
pub(crate) fn advice(strikes: &[Strike]) -> Option<String> {
    let mut kinds: Vec<_> = strikes.iter().map(|strike| strike.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() {
        return None;
    }
    let off: Vec<_> = kinds.iter().map(|kind| format!("no-{kind}")).collect();
    let mut reasons: Vec<_> = strikes.iter().map(|strike| reason(strike.kind)).collect();
    reasons.sort_unstable();
    reasons.dedup();
    Some(format!("{}; `--surprises {}` leaves this out", reasons.join("; "), off.join(",")))
}

/// Where else this happens.
fn reason(kind: Surprise) -> &'static str {
    match kind {
        Surprise::Date | Surprise::Year => "a test can be run at any time",
        Surprise::Uptime => "a machine may have just been booted",
        Surprise::ClockStep => "clocks are set, by NTP among others",
        Surprise::CoarseClock | Surprise::CoarseMtime => "clocks and file systems are coarser elsewhere",
        Surprise::Tz => "others have other time zones",
        Surprise::Fault => "`--fault` asked for it",
        Surprise::Cores => "others have other machines",
        Surprise::DirOrder => "no file system promises an order",
        Surprise::PortReuse => "any free port may be given to whoever asks next",
        Surprise::Placement => "memory lies elsewhere each time (ASLR)",
        Surprise::Enospc | Surprise::Emfile | Surprise::Eintr | Surprise::Econnreset | Surprise::Dns => {
            "calls fail at times"
        }
        _ => {
            "a busy machine does the same: it keeps some threads from running for a while, and no clock stops meanwhile"
        }
    }
}

fn sentence(strike: &Strike) -> String {
    let Strike { kind, thread, doing, asked, more, times, shown, others, frames } = strike;
    let asked = duration(*asked);
    let more = duration(*more);
    let at = place(frames).map(|place| format!(" at {place}")).unwrap_or_default();
    // Where the test came upon it first, if that was seen.
    let noticed = |how: &str| if at.is_empty() { String::new() } else { format!("; {how}{at} ({thread})") };
    let others = match &others[..] {
        [] => "nobody else".to_owned(),
        others => others.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let what = match (kind, doing) {
        (Surprise::Early, Doing::Sleeps) => {
            format!("the sleep of {asked}{at} ({thread}) ended while {others} had not run")
        }
        (Surprise::Early, _) => {
            format!("the time limit of {asked}{at} ({thread}) ran out while {others} had not run")
        }
        (Surprise::Late, Doing::Sleeps) => format!("the sleep{at} ({thread}) lasted {more} longer"),
        (Surprise::Late, _) => format!("the wait{at} ({thread}) went on for {more} beyond its time limit"),
        (Surprise::Stall, _) => {
            let waits = if *times == 1 { "a wait".to_owned() } else { format!("{times} waits") };
            format!("{thread}, which could run{at}, did not for {more}: {waits} of others ended meanwhile")
        }
        (Surprise::Yield, _) => {
            let times = if *times == 1 { "once".to_owned() } else { format!("up to {times} times in a row") };
            format!("giving way{at} ({thread}) let nobody else run, {times}")
        }
        (Surprise::Spurious, _) => format!("the wait{at} ({thread}) ended though nobody had ended it"),
        (Surprise::Short, _) => {
            format!("the read or write{at} ({thread}) did only a part of what it was asked for")
        }
        (Surprise::Interrupt, _) => format!("the wait{at} ({thread}) was interrupted"),
        (Surprise::Date | Surprise::Year, _) => {
            format!("the test began {asked} before {shown}{}", noticed("it read the clock"))
        }
        (Surprise::Uptime, _) => {
            format!("the machine had been up for {asked} when the test began{}", noticed("it asked"))
        }
        (Surprise::ClockStep, _) => {
            format!("the wall clock was set back by {more} before it was read{at} ({thread})")
        }
        (Surprise::CoarseClock, _) => format!("the clock told the same time again{at} ({thread})"),
        (Surprise::Tz, _) => format!("the test ran with TZ={shown}"),
        (Surprise::Cores, _) => {
            let cores = if *times == 1 { "one core".to_owned() } else { format!("{times} cores") };
            format!("the machine had {cores}{}", noticed("it asked"))
        }
        (Surprise::DirOrder, _) => {
            format!("directories listed their entries in another order{}", noticed("one was read"))
        }
        (Surprise::PortReuse, _) => {
            format!("the socket bound{at} ({thread}) got port {shown}, which had been given back")
        }
        (Surprise::Placement, _) => "new memory was placed elsewhere".to_owned(),
        (Surprise::Enospc, _) => format!("{shown} failed{at} ({thread}): the disk was full (ENOSPC)"),
        (Surprise::Emfile, _) => format!("{shown} failed{at} ({thread}): too many files were open (EMFILE)"),
        (Surprise::Eintr, _) => format!("{shown} was interrupted{at} ({thread}) (EINTR)"),
        (Surprise::Econnreset, _) => {
            format!("{shown} failed{at} ({thread}): the other end had reset the connection (ECONNRESET)")
        }
        (Surprise::Fault, _) => format!("{shown}{at} ({thread}), as asked for"),
        (Surprise::Dns, _) => format!("{shown} failed{at} ({thread}): no name server could be reached"),
        (Surprise::CoarseMtime, _) => {
            format!("the times of files were multiples of {asked}{}", noticed("one was looked at"))
        }
        _ => format!("{more} went by before the clock was read{at} ({thread})"),
    };
    format!("`{kind}`: {what}", kind = kind.as_str())
}

/// The line of the user's that a stack has come from; else of a library's.
fn place(frames: &[Frame]) -> Option<String> {
    let of_std = |file: &str| file.starts_with("/rustc/") || file.contains("/rustlib/src/rust/");
    let located = || frames.iter().filter_map(|frame| frame.location.as_ref());
    let users = located().find(|(file, _)| !of_std(file) && !file.contains("/registry/src/"));
    let (file, line) = users.or_else(|| located().find(|(file, _)| !of_std(file)))?;
    Some(format!("{}:{line}", relative(Path::new(file)).display()))
}

/// A time in the unit that suits it, with three digits.
fn duration(nanoseconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")];
    let exact = Duration::from_nanos(nanoseconds);
    let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| nanoseconds >= *unit) else {
        return format!("{} ns", exact.as_nanos());
    };
    let value = nanoseconds as f64 / unit as f64;
    let digits = if value >= 99.95 { 0 } else { usize::from(value < 9.995) + 1 };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {name}")
}

#[cfg(test)]
mod tests {
    use rrtest_engine::strike::Thread;
    use rrtest_engine::task::TaskId;

    use super::*;

    fn thread(name: &str, ambiguous: bool) -> Thread {
        Thread { task: TaskId(3), name: name.to_owned(), ambiguous }
    }

    fn strike(kind: Surprise, doing: Doing) -> Strike {
        let frame =
            |file: &str, line| Frame { address: 0, function: None, location: Some((file.to_owned(), line)) };
        Strike {
            kind,
            thread: thread("w", false),
            doing,
            asked: 60_000_000,
            more: 2_340_000_000,
            times: 8,
            shown: "the end of a day, 2026-12-01 00:00:00 UTC".into(),
            others: vec![thread("server", false), thread("w", true)],
            frames: vec![
                frame("/rustc/0/library/std/src/thread.rs", 1),
                frame("/home/u/.cargo/registry/src/index/tokio-1.0.0/src/time.rs", 2),
                frame("/elsewhere/tests/it.rs", 14),
            ],
        }
    }

    #[test]
    fn strikes_are_told_with_kind_wait_place_and_who_did_not_run() {
        let early = strike(Surprise::Early, Doing::Sleeps);
        let told = "`early`: the sleep of 60 ms at /elsewhere/tests/it.rs:14 (`w`) ended while `server`, `w` (task 3) had not run";
        assert_eq!(sentences(std::slice::from_ref(&early)), [told]);
        assert_eq!(sentences(&[early.clone(), early]), [format!("{told} (2 times)")]);
        for (kind, doing, part) in [
            (Surprise::Early, Doing::Waits, "the time limit of 60 ms at"),
            (Surprise::Late, Doing::Sleeps, "lasted 2.34 s longer"),
            (Surprise::Late, Doing::Waits, "went on for 2.34 s beyond"),
            (Surprise::Stall, Doing::Runs, "did not for 2.34 s: 8 waits of others ended"),
            (Surprise::Slow, Doing::Runs, "2.34 s went by before the clock was read at"),
            (Surprise::Yield, Doing::GivesWay, "up to 8 times in a row"),
            (Surprise::Date, Doing::Runs, "began 60 ms before the end of a day, 2026-12-01 00:00:00 UTC"),
            (Surprise::Uptime, Doing::Runs, "had been up for 60 ms when"),
            (Surprise::ClockStep, Doing::Runs, "was set back by 2.34 s before it was read at"),
            (Surprise::CoarseMtime, Doing::Runs, "multiples of 60 ms"),
        ] {
            let [sentence] = &sentences(&[strike(kind, doing)])[..] else { panic!() };
            assert!(sentence.contains(part), "{sentence}");
        }
    }

    #[test]
    fn the_advice_names_the_kinds_that_have_struck() {
        assert_eq!(advice(&[]), None);
        let strikes = [strike(Surprise::Late, Doing::Sleeps), strike(Surprise::Early, Doing::Waits)];
        let advised = advice(&strikes).unwrap();
        assert!(advised.contains("`--surprises no-early,no-late`") && !advised.contains("at any time"));
        let strikes = [strike(Surprise::Late, Doing::Sleeps), strike(Surprise::Date, Doing::Runs)];
        let advised = advice(&strikes).unwrap();
        assert!(advised.contains("a busy machine") && advised.contains("at any time"), "{advised}");
    }

    #[test]
    fn durations_have_three_digits() {
        for (nanoseconds, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (60_000_000, "60 ms"),
            (12_340, "12.3 µs"),
            (300_000_000, "300 ms"),
            (2_000_000_000, "2 s"),
            (1_234_567_890, "1.23 s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }
}
