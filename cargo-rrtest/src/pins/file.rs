//! A pin as a file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rrtest_engine::record::Time;
use rrtest_engine::schedule::script::Script;
use serde::{Deserialize, Serialize};

use crate::attempt::seed::Seed;
use crate::base::exit::CliError;
use crate::base::hash::fnv1a;
use crate::base::whole::write_whole_in;
use crate::base::words::relative;
use crate::build::instrument::Level;
use crate::ending::explanation::{Place, Told};

/// The directory of a package's pins, in that of its Cargo.toml.
pub(crate) const DIRECTORY: &str = "rrtest-pins";

/// The version of the format.
pub(crate) const VERSION: u32 = 1;

/// The comment at the top of each file.
const HEAD: &str = "\
# A schedule under which a test has failed, as `cargo rrtest pin` has written it. Commit this file: each
# `cargo rrtest` tries the schedule before anything else, and the test fails if it fails so again.
#
# The preemptions are found by function, text of the line and occurrence, so lines may move; where a line has
# changed, other operations of its function are tried. If rrtest says that a place is gone, the function has another
# name or does something else: then pin the failure again if there is one (`cargo rrtest --until-fail`,
# `cargo rrtest pin`), and delete this file. Nothing else refers to it.

";

/// The longest name of a test that becomes part of a file's name, in bytes.
const LONGEST: usize = 60;

/// A failing schedule of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    /// The version of the format.
    pub(crate) version: u32,
    /// The binary that the test is in, as [`crate::discover::test::Test::binary`].
    pub(crate) binary: String,
    /// The test.
    pub(crate) test: String,
    /// How it ended.
    pub(crate) outcome: String,
    /// In words: the panic, or else how the program ended.
    pub(crate) failure: String,
    /// When the failure was found.
    pub(crate) found: String,
    /// The preemption level of the build in which it was.
    pub(crate) preempt: Level,
    /// How time passed.
    #[serde(with = "time")]
    pub(crate) time: Time,
    /// The number of which everything else in an attempt is drawn that is random.
    #[serde(with = "seed")]
    pub(crate) seed: Seed,
    /// Where the preemptions must fall, in the order of the schedule.
    #[serde(default, rename = "window")]
    pub(crate) windows: Vec<Told>,
    /// The schedule.
    pub(crate) schedule: Script,
}

impl Pin {
    /// Leaves out what says nothing to another run: addresses of objects, and marks.
    #[must_use]
    pub(crate) fn portable(mut self) -> Self {
        for told in &mut self.windows {
            for place in [&mut told.after, &mut told.before, &mut told.up_to].into_iter().flatten() {
                place.object = None;
            }
        }
        self.schedule.marks.clear();
        self
    }

    /// Reads the text of a file. The error says what is wrong with it, and where.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let versioned: Versioned = toml::from_str(text).map_err(|error| error.to_string())?;
        if versioned.version != VERSION {
            return Err(format!(
                "it has version {} of the format, and this rrtest reads version {VERSION}",
                versioned.version
            ));
        }
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// Returns the text of its file; the error says what cannot be written.
    pub(crate) fn text(&self) -> Result<String, String> {
        let body = toml::to_string(self).map_err(|error| error.to_string())?;
        Ok(format!("{HEAD}{body}"))
    }

    /// Returns the name of its file: the same for the same failure, wherever lines and operations have moved to.
    pub(crate) fn file_name(&self) -> String {
        let place = |place: &Option<Place>| {
            place.as_ref().map(|it| (it.function.clone(), it.text.clone(), it.operation.clone()))
        };
        let places: Vec<_> =
            self.windows.iter().map(|told| (place(&told.after), place(&told.before))).collect();
        // Without places, the schedule is all that there is.
        let schedule = places.is_empty().then_some(&self.schedule);
        let same = format!("{:?}", (&self.binary, &self.test, &self.outcome, places, schedule));
        let name: String =
            self.test.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let (name, hash) = (&name[..name.len().min(LONGEST)], fnv1a(same.as_bytes()) as u32);
        format!("{name}-{hash:08x}.toml")
    }

    /// Writes it into a directory of pins, unless there is one of the same failure. Returns its path, and whether it is new.
    pub(crate) fn write(&self, directory: &Path) -> Result<(PathBuf, bool), CliError> {
        let path = directory.join(self.file_name());
        let shown = relative(&path).display();
        match std::fs::read_to_string(&path) {
            Ok(text) => match Self::parse(&text) {
                Ok(_) => return Ok((path, false)),
                Err(why) => return Err(unreadable(&path, &why)),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(CliError::os(format!("cannot read {shown}"), &error)),
        }
        let text = self.text().map_err(|why| CliError::usage(format!("cannot write {shown}: {why}")))?;
        write_whole_in(&path, text.as_bytes())
            .map_err(|error| CliError::os(format!("cannot write {shown}"), &error))?;
        Ok((path, true))
    }
}

/// The error for a file that is no pin.
pub(super) fn unreadable(path: &Path, why: &str) -> CliError {
    CliError::usage(format!(
        "{} is no pin: {}\n  mend it, or delete it: nothing else refers to it",
        relative(path).display(),
        why.trim_end().replace('\n', "\n  ")
    ))
}

/// A seed as users see it.
mod seed {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::Seed;

    pub(super) fn serialize<S: Serializer>(seed: &Seed, to: S) -> Result<S::Ok, S::Error> {
        seed.to_string().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Seed, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// A kind of time as its name.
mod time {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::Time;

    pub(super) fn serialize<S: Serializer>(time: &Time, to: S) -> Result<S::Ok, S::Error> {
        time.as_str().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// A pin for the tests of others.
#[cfg(test)]
pub(crate) fn sample() -> Pin {
    use rrtest_engine::schedule::script::{Spot, Switch, When};
    use rrtest_engine::task::TaskId;

    let explanation = crate::ending::explanation::sample();
    let switch = Switch { at: Spot { task: TaskId(2), ticks: 45 }, when: When::Before, to: TaskId(3) };
    let script = Script { switches: vec![switch], ..Script::default() };
    let pin = Pin {
        version: VERSION,
        binary: "p::it".into(),
        test: "t".into(),
        outcome: "failed".into(),
        failure: "panicked at tests/it.rs:9:5:\nassertion failed: \"used\"".into(),
        found: "2026-01-02T03:04:05Z".into(),
        preempt: Level::Sync,
        time: Time::Real,
        seed: Seed(0xabc),
        windows: explanation.windows,
        schedule: script,
    };
    pin.portable()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_reads_as_it_was_written() {
        let text = sample().text().expect("a text");
        insta::assert_snapshot!("pin", text);
        assert_eq!(Pin::parse(&text), Ok(sample()));
        let plain = Pin { windows: Vec::new(), schedule: Script::default(), ..sample() };
        assert_eq!(Pin::parse(&plain.text().expect("a text")), Ok(plain));
    }

    #[test]
    fn the_same_failure_has_the_same_file_wherever_its_lines_are() {
        let pin = sample();
        let mut moved = pin.clone();
        moved.found = "2027-01-02T03:04:05Z".into();
        moved.schedule.switches[0].at.ticks = 99;
        let Told { after, before, .. } = &mut moved.windows[0];
        for place in after.iter_mut().chain(before) {
            (place.line, place.occurrence) = (place.line + 7, 3);
        }
        assert_eq!(moved.file_name(), pin.file_name());
        moved.windows[0].before.as_mut().expect("a place").text = "other();".into();
        assert_ne!(moved.file_name(), pin.file_name());
        let long = Pin { test: "a::b(ü)".repeat(40), ..pin };
        assert!(
            long.file_name().len() < 100 && !long.file_name().contains([':', '/']),
            "{}",
            long.file_name()
        );
    }

    #[test]
    fn to_pin_twice_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, new) = sample().write(dir.path()).expect("a file");
        assert!(new);
        let later = Pin { found: "2027-01-02T03:04:05Z".into(), ..sample() };
        assert_eq!(later.write(dir.path()).expect("a file"), (path.clone(), false));
        assert_eq!(Pin::parse(&std::fs::read_to_string(&path).expect("a text")), Ok(sample()));
        std::fs::write(&path, "version = 1").expect("a file");
        assert!(sample().write(dir.path()).is_err(), "what is no pin is not written over");
    }

    #[test]
    fn mistakes_say_what_is_wrong() {
        let text = sample().text().expect("a text");
        for (from, to, says) in [
            ("version = 1", "version = 2", "version 2"),
            ("version = 1", "", "version"),
            ("\"sync\"", "\"sink\"", "unknown variant `sink`"),
            ("time = \"real\"", "time = \"no\"", "no"),
            ("0x0000000000000abc", "0xyz", "a seed is a number"),
            ("ticks = 45", "ticks = -45", "-45"),
            ("schedule.", "shedule.", "shedule"),
            ("binary = \"p::it\"", "binary = ", "TOML parse error"),
        ] {
            let wrong = text.replace(from, to);
            assert_ne!(wrong, text, "{from}");
            let error = Pin::parse(&wrong).expect_err(to);
            assert!(error.contains(says), "{says:?} is not in: {error}");
        }
    }
}
