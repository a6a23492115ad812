//! The arguments of test binaries that users know from libtest: which of its tests to run, and how.

use std::ffi::OsString;

use crate::base::exit::CliError;
use crate::base::words::did_you_mean;

/// Options of libtest that do not choose tests. The flag tells whether a value follows.
const OTHERS: &[(&str, bool)] = &[
    ("--nocapture", false),
    ("--no-capture", false),
    ("--show-output", false),
    ("--list", false),
    ("--test", false),
    ("--quiet", false),
    ("-q", false),
    ("--color", true),
    ("--format", true),
    ("--test-threads", true),
    ("--shuffle", false),
    ("--shuffle-seed", true),
];

/// Options of libtest that have no place here, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("--bench", "benchmarks are not recorded: `cargo bench`"),
    ("--logfile", "--message-format json and --junit PATH write what happened"),
    ("--report-time", "the report says how long each attempt took"),
    ("--ensure-time", "--timeout DURATION sets a time limit"),
    ("--exclude-should-panic", "--skip NAME leaves tests out"),
    ("--force-run-in-process", "a test that aborts is recorded like any other; leave it out"),
    ("--fail-fast", "--until-fail ends the run at the first failure"),
    ("-Z", "options that only a nightly libtest has are not recorded"),
    ("--help", "`cargo test -- --help` lists libtest's arguments"),
    ("-h", "`cargo test -- --help` lists libtest's arguments"),
];

/// Which tests of a binary to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Names, or parts of names; any of them will do. Empty means all.
    pub(crate) names: Vec<String>,
    /// Names, or parts of names, of tests to leave out.
    pub(crate) skip: Vec<String>,
    /// Whether names must be equal and not only contained.
    pub(crate) exact: bool,
    /// What to do with tests marked `#[ignore]`.
    pub(crate) ignored: Ignored,
    /// Whether to list the tests and run none.
    pub(crate) list: bool,
    /// Whether a list has names only, without counts.
    pub(crate) terse: bool,
    /// Whose output is shown.
    pub(crate) shown: Shown,
    /// How many tests at a time.
    pub(crate) threads: Option<u16>,
}

/// Whose output is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shown {
    /// That of tests that fail, in the report.
    #[default]
    OfFailures,
    /// That of all tests, in the report.
    OfAll,
    /// That of all tests, as they write it.
    AtOnce,
}

/// What to do with tests marked `#[ignore]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// Leave them out.
    #[default]
    Skip,
    /// Run them only.
    Only,
    /// Run them with the others.
    Include,
}

impl Filter {
    /// From the test name that the command line names, and the arguments after `--`.
    pub(crate) fn parse(name: Option<&str>, args: &[String]) -> Result<Self, CliError> {
        let mut filter = Self { names: name.map(str::to_owned).into_iter().collect(), ..Self::default() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let (flag, mut value) = match arg.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
                _ => (arg.as_str(), None),
            };
            if !flag.starts_with('-') {
                filter.names.push(arg.clone());
                continue;
            }
            let takes_value = flag == "--skip" || OTHERS.contains(&(flag, true));
            if takes_value && value.is_none() {
                let next = args.next().cloned();
                value = Some(next.ok_or_else(|| CliError::usage(format!("`{flag}` needs a value")))?);
            }
            let value = value.unwrap_or_default();
            match flag {
                "--exact" => filter.exact = true,
                "--ignored" if filter.ignored == Ignored::Skip => filter.ignored = Ignored::Only,
                "--ignored" => {}
                "--include-ignored" => filter.ignored = Ignored::Include,
                "--skip" => filter.skip.push(value),
                "--list" => filter.list = true,
                "--nocapture" | "--no-capture" => filter.shown = Shown::AtOnce,
                "--show-output" if filter.shown == Shown::OfFailures => filter.shown = Shown::OfAll,
                "--test-threads" => filter.threads = Some(threads_at_a_time(&value)?),
                "--format" => filter.terse = is_terse(&value)?,
                _ if OTHERS.iter().any(|(known, _)| *known == flag) => {}
                _ => return Err(unknown(flag, arg)),
            }
        }
        Ok(filter)
    }

    /// Whether a test is among those to run.
    pub(crate) fn accepts(&self, name: &str, ignored: bool) -> bool {
        let kind = match self.ignored {
            Ignored::Skip => !ignored,
            Ignored::Only => ignored,
            Ignored::Include => true,
        };
        kind && self.names(name)
    }

    /// Whether a test that is marked `#[ignore]` would run if it were not.
    pub(crate) fn leaves_out_as_ignored(&self, name: &str) -> bool {
        self.ignored == Ignored::Skip && self.names(name)
    }

    /// Whether the user has named it, or named none, and not told to skip it.
    fn names(&self, name: &str) -> bool {
        let matches =
            |pattern: &String| if self.exact { name == pattern } else { name.contains(pattern.as_str()) };
        (self.names.is_empty() || self.names.iter().any(matches)) && !self.skip.iter().any(matches)
    }
}

fn threads_at_a_time(value: &str) -> Result<u16, CliError> {
    let threads = value.parse().ok().filter(|threads| *threads > 0);
    threads.ok_or_else(|| CliError::usage(format!("`--test-threads {value}`: a number from 1 to 65535")))
}

fn is_terse(format: &str) -> Result<bool, CliError> {
    match format {
        "pretty" | "terse" => Ok(format == "terse"),
        "json" => {
            Err(CliError::usage("`--format json` is libtest's: use --message-format json, before the `--`"))
        }
        "junit" => Err(CliError::usage("`--format junit` is libtest's: use --junit PATH, before the `--`")),
        _ => Err(CliError::usage(format!("`--format {format}`: libtest's formats are pretty and terse"))),
    }
}

fn unknown(flag: &str, arg: &str) -> CliError {
    if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == flag) {
        return CliError::usage(format!("`{flag}` is not supported after `--`\n  {instead}"));
    }
    let known = OTHERS.iter().map(|(flag, _)| *flag);
    let names = ["--exact", "--skip", "--ignored", "--include-ignored"];
    CliError::usage(format!(
        "unknown argument `{arg}` after `--`{}\n  accepted: test names, {} and {}",
        did_you_mean(flag, names.into_iter().chain(known.clone())),
        names.join(" "),
        known.collect::<Vec<_>>().join(" ")
    ))
}

/// The test that a line of the answer to `--list --format terse` names.
pub(crate) fn listed(line: &str) -> Option<&str> {
    let (name, kind) = line.rsplit_once(": ")?;
    matches!(kind, "test" | "benchmark" | "bench").then_some(name)
}

/// How many tests at a time a test binary is told to run by these arguments and this environment, if it is.
pub(crate) fn threads<'a>(args: &'a [OsString], env: &'a [(OsString, OsString)]) -> Option<&'a str> {
    let texts = || args.iter().map(|arg| arg.to_str().unwrap_or_default());
    let option = texts().enumerate().find_map(|(index, arg)| match arg.strip_prefix("--test-threads") {
        Some("") => texts().nth(index + 1),
        Some(value) => value.strip_prefix('='),
        None => None,
    });
    let variable = || env.iter().find(|(name, _)| name == "RUST_TEST_THREADS")?.1.to_str();
    option.or_else(variable)
}

/// These arguments without those that choose tests by their names.
pub(crate) fn without_names(args: &[OsString]) -> Vec<OsString> {
    let mut args = args.iter();
    let mut others = Vec::new();
    while let Some(arg) = args.next() {
        let text = arg.to_str().unwrap_or_default();
        let takes_value = OTHERS.iter().any(|(flag, takes_value)| *flag == text && *takes_value);
        match text {
            "--skip" => drop(args.next()),
            "--exact" => {}
            _ if text.starts_with("--skip=") || !text.starts_with('-') => {}
            _ => {
                others.push(arg.clone());
                others.extend(takes_value.then(|| args.next().cloned()).flatten());
            }
        }
    }
    others
}

/// The tests that libtest says have ended, in that order, each with whether it has passed. Those that it ignores are not among them.
pub(crate) fn ended_tests(output: &str) -> Vec<(&str, bool)> {
    output.lines().filter_map(ended_test).collect()
}

fn ended_test(line: &str) -> Option<(&str, bool)> {
    let (name, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let passed = result == "ok";
    // What is expected of a test is told behind its name.
    let name = name.strip_suffix(" - should panic").unwrap_or(name);
    (passed || result == "FAILED").then_some((name, passed))
}

/// The tests that libtest says have failed: the list of names under the last `failures:`, or, had it no time to write one,
/// what it says of each test as that ends.
pub(crate) fn failed_tests(output: &str) -> Vec<String> {
    let listed = output
        .rsplit_once("\nfailures:\n")
        .into_iter()
        .flat_map(|(_, list)| list.lines().map_while(|line| line.strip_prefix("    ")).map(str::to_owned));
    let listed: Vec<_> = listed.collect();
    if !listed.is_empty() {
        return listed;
    }
    ended_tests(output).into_iter().filter(|(_, passed)| !passed).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(name: Option<&str>, args: &[&str]) -> Filter {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Filter::parse(name, &args).expect("known arguments")
    }

    #[test]
    fn parts_of_names_match_unless_exact() {
        assert!(filter(Some("one"), &[]).accepts("tests::one_more", false));
        assert!(!filter(Some("one"), &["--exact"]).accepts("tests::one_more", false));
        assert!(filter(Some("tests::one"), &["--exact"]).accepts("tests::one", false));
        assert!(filter(None, &["a", "b"]).accepts("b", false));
        assert!(!filter(None, &["a", "b"]).accepts("c", false));
    }

    #[test]
    fn skip_wins() {
        let filter = filter(None, &["--skip", "slow", "--skip=net"]);
        assert!(filter.accepts("quick", false));
        assert!(!filter.accepts("slow_one", false));
        assert!(!filter.accepts("net_one", false));
    }

    #[test]
    fn ignored_tests() {
        assert!(!filter(None, &[]).accepts("t", true));
        assert!(filter(None, &["--ignored"]).accepts("t", true));
        assert!(!filter(None, &["--ignored"]).accepts("t", false));
        let both = filter(None, &["--ignored", "--include-ignored"]);
        assert!(both.accepts("t", true) && both.accepts("t", false));
    }

    #[test]
    fn what_has_no_effect_is_taken_with_its_value() {
        assert_eq!(filter(None, &["-q", "--shuffle-seed", "3", "--color=always"]), Filter::default());
    }

    #[test]
    fn what_is_shown_and_how_many_at_a_time() {
        let given = filter(None, &["--nocapture", "--show-output", "--test-threads=3", "--list"]);
        assert_eq!((given.shown, given.threads, given.list), (Shown::AtOnce, Some(3), true));
        assert_eq!(filter(None, &["--show-output"]).shown, Shown::OfAll);
        assert!(filter(None, &["--format", "terse"]).terse);
    }

    #[test]
    fn what_has_no_place_here_is_refused_in_its_own_words() {
        let mistakes = REFUSED.iter().map(|(flag, _)| vec![*flag]).chain([
            vec!["--format=json"],
            vec!["--format", "junit"],
            vec!["--format=x"],
            vec!["--test-threads", "0"],
            vec!["--skip"],
            vec!["--nocaptur"],
        ]);
        let messages = mistakes.map(|args| {
            let args: Vec<_> = args.into_iter().map(str::to_owned).collect();
            let message = Filter::parse(None, &args).expect_err("a mistake").message.expect("a message");
            format!("$ cargo rrtest -- {}\n{message}\n", args.join(" "))
        });
        insta::assert_snapshot!(messages.collect::<String>());
    }

    #[test]
    fn unknown_arguments_are_named() {
        let args = ["--bogus".to_owned()];
        let stop = Filter::parse(None, &args).expect_err("an unknown argument");
        assert!(stop.message.expect("a message").contains("--bogus"));
    }

    #[test]
    fn threads_are_told_by_option_or_variable() {
        let args = |words: &str| words.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let env = |value: &str| [(OsString::from("RUST_TEST_THREADS"), OsString::from(value))];
        assert_eq!(threads(&args("x --test-threads 1"), &[]), Some("1"));
        assert_eq!(threads(&args("--test-threads=1"), &env("3")), Some("1"));
        assert_eq!(threads(&[], &env("1")), Some("1"));
        assert_eq!(threads(&args("--test-threads 2"), &env("1")), Some("2"));
        assert_eq!(threads(&args("--test-threads"), &[]), None);
    }

    #[test]
    fn arguments_that_choose_by_name_are_left_out() {
        let args = |words: &str| words.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let given =
            args("one --exact --test-threads 3 --skip two --skip=three --ignored --color=never -q four");
        assert_eq!(without_names(&given), args("--test-threads 3 --ignored --color=never -q"));
        assert!(without_names(&args("--skip")).is_empty());
    }

    #[test]
    fn ended_tests_are_in_the_order_of_their_ends() {
        let output = "running 4 tests\ntest b ... ok\ntest c - should panic ... ok\ntest i ... ignored\ntest a ... FAILED\n";
        assert_eq!(ended_tests(output), [("b", true), ("c", true), ("a", false)]);
    }

    #[test]
    fn failed_tests_are_those_that_libtest_lists() {
        let output = "test a ... FAILED\ntest b ... ok\n\nfailures:\n\n---- a stdout ----\nno\n\n\nfailures:\n    a\n    \
                      c::d - should panic\n\ntest result: FAILED. 1 passed\n";
        assert_eq!(failed_tests(output), ["a", "c::d - should panic"]);
        assert_eq!(failed_tests("running 2 tests\ntest a ... FAILED\ntest b ... ok\n"), ["a"]);
        assert_eq!(failed_tests("running 2 tests\n"), [""; 0]);
    }

    #[test]
    fn lines_of_lists() {
        assert_eq!(listed("a::b: test"), Some("a::b"));
        assert_eq!(listed("c: benchmark"), Some("c"));
        assert_eq!(listed("hello world"), None);
        assert_eq!(listed("loaded: 3 modules"), None);
    }
}
