//! Which tests a test binary says it has.
//!
//! It is asked as nextest asks: `--list --format terse`, once for all tests and once for those marked `#[ignore]`. What the program
//! prints besides, before `main` or from other threads, comes in between, and nobody knows which line is whose. So what looks like
//! a list with something in between is checked against libtest's own count: of all tests, and of those that have the names read.

use super::libtest;

/// What a binary answered to a question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// Whether it exited with 0 in time.
    pub(crate) success: bool,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

/// What a binary says of its tests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// It has these.
    Tests {
        /// Their names, in its order, and whether each is marked `#[ignore]`.
        tests: Vec<(String, bool)>,
        /// A line that it printed in between.
        noise: Option<String>,
    },
    /// It does not say: why, in words.
    Unknown(String),
}

impl Listing {
    /// Ask a binary: `ask` gives its answer to arguments.
    pub(crate) fn of<E>(mut ask: impl FnMut(&[&str]) -> Result<Answer, E>) -> Result<Self, E> {
        const TERSE: &[&str] = &["--list", "--format", "terse"];
        const IGNORED: &[&str] = &["--list", "--format", "terse", "--ignored"];
        let [all, ignored] = [ask(TERSE)?, ask(IGNORED)?];
        // Without the second answer, tests marked `#[ignore]` would be run as others are, and pass without having run.
        let asked = [(TERSE, &all), (IGNORED, &ignored)];
        if let Some((args, answer)) = asked.into_iter().find(|(_, answer)| !answer.success) {
            let said = [&answer.stderr, &answer.stdout];
            let said = said.into_iter().map(|text| text.trim()).find(|text| !text.is_empty());
            let said = said.map(|text| format!(":\n{text}")).unwrap_or_default();
            return Ok(Self::Unknown(format!("`{}` fails{said}", args.join(" "))));
        }
        let (names, noise) = split(&all.stdout);
        let (ignored, ignored_noise) = split(&ignored.stdout);
        let tests = || names.iter().map(|name| ((*name).to_owned(), ignored.contains(name))).collect();
        // What is printed without an end of line becomes a part of the first name: of one that only one of the lists has.
        let noise = noise.or(ignored_noise);
        let fits = ignored.iter().all(|name| names.contains(name));
        if noise.is_none() && fits {
            return Ok(Self::Tests { tests: tests(), noise: None });
        }
        let line = noise.or(names.first().copied()).unwrap_or_default();
        let total = count(&ask(&["--list"])?);
        let confirmed = if total == Some(names.len()) {
            let args: Vec<_> = ["--list", "--exact"].into_iter().chain(names.iter().copied()).collect();
            count(&ask(&args)?)
        } else {
            None
        };
        Ok(match confirmed {
            Some(number) if number == names.len() => {
                Self::Tests { tests: tests(), noise: Some(line.to_owned()) }
            }
            _ => Self::Unknown(format!(
                "`--list --format terse` answers in another form than libtest's, beginning with this line:\n{line}"
            )),
        })
    }
}

/// The names that a terse list has, and the first line that is none.
fn split(text: &str) -> (Vec<&str>, Option<&str>) {
    let lines = || text.lines().filter(|line| !line.is_empty());
    let names = lines().filter_map(libtest::listed).collect();
    (names, lines().find(|line| libtest::listed(line).is_none()))
}

/// How many tests and benchmarks libtest says that it lists, on the last line of a long list: `2 tests, 0 benchmarks`.
fn count(answer: &Answer) -> Option<usize> {
    let line = answer
        .stdout
        .lines()
        .rev()
        .find(|line| line.ends_with(" benchmarks") || line.ends_with(" benchmark"))?;
    let (tests, benchmarks) = line.split_once(", ")?;
    let number = |text: &str| text.split_once(' ')?.0.parse::<usize>().ok();
    number(tests)?.checked_add(number(benchmarks)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a libtest with these tests, the last of them ignored, answers that prints `noise` first.
    fn libtest(tests: &[&str], noise: &str) -> impl FnMut(&[&str]) -> Result<Answer, ()> {
        let tests: Vec<_> = tests.iter().map(|name| (*name).to_owned()).collect();
        let noise = noise.to_owned();
        move |args| {
            let named: Vec<_> = args.iter().skip_while(|arg| **arg != "--exact").skip(1).collect();
            let ignored = tests.last().filter(|_| args.contains(&"--ignored"));
            let chosen: Vec<_> = tests
                .iter()
                .filter(|name| named.is_empty() || named.iter().any(|arg| *arg == name))
                .filter(|name| !args.contains(&"--ignored") || ignored == Some(name))
                .collect();
            let mut stdout = noise.clone();
            chosen.iter().for_each(|name| stdout += &format!("{name}: test\n"));
            if !args.contains(&"terse") {
                stdout += &format!("\n{} tests, 0 benchmarks\n", chosen.len());
            }
            Ok(Answer { success: true, stdout, stderr: String::new() })
        }
    }

    fn listed(tests: &[&str], noise: &str) -> Listing {
        Listing::of(libtest(tests, noise)).expect("answers")
    }

    fn named(tests: &[(&str, bool)], noise: Option<&str>) -> Listing {
        let tests = tests.iter().map(|(name, ignored)| ((*name).to_owned(), *ignored)).collect();
        Listing::Tests { tests, noise: noise.map(str::to_owned) }
    }

    #[test]
    fn a_binary_that_does_not_say_which_are_ignored_has_not_said_what_it_has() {
        let mut libtest = libtest(&["a", "b"], "");
        let ask = |args: &[&str]| {
            let success = !args.contains(&"--ignored");
            libtest(args).map(|answer| Answer { success, stderr: "no more threads".into(), ..answer })
        };
        let Ok(Listing::Unknown(why)) = Listing::of(ask) else { panic!("known") };
        assert!(why.contains("--ignored` fails:\nno more threads"), "{why}");
    }

    #[test]
    fn lists() {
        assert_eq!(listed(&["a::b", "c"], ""), named(&[("a::b", false), ("c", true)], None));
        assert_eq!(listed(&[], ""), named(&[], None));
    }

    #[test]
    fn noise_is_told_from_tests() {
        assert_eq!(listed(&["a", "c"], "loaded\n"), named(&[("a", false), ("c", true)], Some("loaded")));
    }

    #[test]
    fn what_cannot_be_told_is_unknown() {
        // A line that looks like a test, and one without an end, which makes another name of the first.
        for noise in ["hello\nplugin: test\n", "loading: "] {
            assert!(matches!(listed(&["a", "c"], noise), Listing::Unknown(_)), "{noise}");
        }
        let other =
            |_: &[&str]| Ok::<_, ()>(Answer { success: true, stdout: "hello\n".into(), ..Answer::default() });
        let Ok(Listing::Unknown(why)) = Listing::of(other) else { panic!("no list") };
        assert!(why.ends_with("\nhello"), "{why}");
        let fails = |_: &[&str]| Ok::<_, ()>(Answer { stderr: "no\n".into(), ..Answer::default() });
        let Ok(Listing::Unknown(why)) = Listing::of(fails) else { panic!("no list") };
        assert!(why.contains("fails:\nno"), "{why}");
    }
}
