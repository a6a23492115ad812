//! Which of a binary's tests an attempt runs together, and how many at a time.
//!
//! libtest starts tests in the order of their names, as many at a time as it is told. So of two tests that are far apart the first has
//! usually ended long before the second begins: for another order, chaos must keep one thread waiting through all that is between. Nor is a
//! test ever run without those before it. libtest can be told which tests to run, but not in which order, unless it is a nightly
//! one. But if it may run all at a time, it starts them all before it waits for any: whose turn it is then, and for how long, is up to the
//! recorder's strategy. That makes any order as easy as another, one after the other or interleaved.
//!
//! Half of the attempts at tests together are the usual way, a quarter all at a time, and a quarter at some of them.

use std::borrow::Cow;
use std::ffi::OsString;

use rrtest_engine::program::Program;
use rrtest_engine::schedule::StrategyName;
use serde::Serialize;

use super::seed::{SOME, Seed, VARIED};
use crate::base::hash::fnv1a;
use crate::base::words::{self, shell_word};
use crate::discover::libtest::{ended_tests, threads, without_names};
use crate::discover::test::Test;

/// So many tests are run at a time at most. Of more there are always some only.
const MOST: usize = 64;

/// Which of a binary's tests one process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// All in the way that the user wants.
    Usual,
    /// All of these many at a time.
    AtOnce(usize),
    /// So many of them at a time, drawn from the seed.
    Some(usize),
}

impl Order {
    /// What an attempt's seed says of it, with one of these strategies (empty: any). Under a plain schedule, which is that of the first attempt, and where all schedules of one
    /// program are gone through, it is the usual one.
    pub(crate) fn of(seed: Seed, strategies: &[StrategyName], test: &Test) -> Self {
        let count = test.mates.len();
        let plain = matches!(seed.plan(strategies).strategy, StrategyName::Fair | StrategyName::Systematic);
        if plain || !test.is_together() || count < 2 || seed.0 & VARIED == 0 {
            return Self::Usual;
        }
        if count <= MOST && (seed.0 & SOME == 0 || count == 2) {
            return if threads(&test.program.args, &test.program.env).is_some() {
                Self::Usual
            } else {
                Self::AtOnce(count)
            };
        }
        // Half of them, a quarter, …: two that have to do with each other show in large parts, two that a third one parts in small ones.
        let halvings = 1 + number(seed, "") % u64::from(count.ilog2());
        Self::Some((count >> halvings).clamp(2, MOST))
    }

    /// Whether its program is the same with any seed.
    pub(crate) fn is_lasting(self) -> bool {
        !matches!(self, Self::Some(_))
    }

    /// The tests that it runs.
    pub(crate) fn tests(self, seed: Seed, test: &Test) -> Vec<&str> {
        let mut tests: Vec<_> = test.mates.iter().map(String::as_str).collect();
        if let Self::Some(count) = self {
            tests.sort_by_cached_key(|name| number(seed, name));
            tests.truncate(count);
            tests.sort_unstable();
        }
        tests
    }

    /// The program that does it.
    pub(crate) fn program(self, seed: Seed, test: &Test) -> Cow<'_, Program> {
        let program = &test.program;
        let args = match self {
            Self::Usual => return Cow::Borrowed(program),
            Self::AtOnce(_) => program.args.clone(),
            Self::Some(_) => {
                let names = self.tests(seed, test).into_iter().map(OsString::from);
                without_names(&program.args).into_iter().chain(["--exact".into()]).chain(names).collect()
            }
        };
        let args =
            args.into_iter().chain(self.threads(test).map(|count| format!("--test-threads={count}").into()));
        Cow::Owned(Program { args: args.collect(), ..program.clone() })
    }

    /// How many it runs at a time, if it is not the user's choice.
    fn threads(self, test: &Test) -> Option<usize> {
        let (Self::AtOnce(count) | Self::Some(count)) = self else { return None };
        threads(&test.program.args, &test.program.env).is_none().then_some(count)
    }
}

/// What is drawn for a name.
fn number(seed: Seed, name: &str) -> u64 {
    // The seed last: what is hashed first shows in all bits. Its own first bits are those that differ.
    fnv1a(&[name.as_bytes(), &seed.0.to_le_bytes()].concat())
}

/// An order that was not the usual one, for reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Ran {
    /// The tests that were run.
    tests: Vec<String>,
    /// Of how many.
    of: usize,
    /// How many at a time; none where that is as usual.
    threads: Option<usize>,
    /// Those that have ended, as far as the binary has said so, in that order.
    ended: Vec<String>,
    /// How to run the same tests as many at a time; in which order is up to the machine then.
    command: String,
}

impl Ran {
    /// What was run in an attempt at a test, with this output.
    pub(crate) fn of(order: Order, seed: Seed, test: &Test, output: &str) -> Option<Self> {
        if order == Order::Usual {
            return None;
        }
        let args = order.program(seed, test).into_owned().args;
        let args: Vec<_> = args.iter().map(|arg| shell_word(&arg.to_string_lossy())).collect();
        Some(Self {
            tests: order.tests(seed, test).into_iter().map(str::to_owned).collect(),
            of: test.mates.len(),
            threads: order.threads(test),
            ended: ended_tests(output).into_iter().map(|(name, _)| name.to_owned()).collect(),
            command: format!("cargo test {} -- {}", target(test), args.join(" ")),
        })
    }

    /// In words, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let count = words::count(self.of as u64, "test");
        let what = if self.tests.len() == self.of {
            format!("all {count}")
        } else {
            format!("{} of {count}", self.tests.len())
        };
        let how = if self.threads.is_some() { ", all at once" } else { "" };
        let mut lines = vec![format!("{what}{how}: {}", self.command)];
        lines.extend(
            (!self.ended.is_empty()).then(|| format!("ended in this order: {}", self.ended.join(", "))),
        );
        lines
    }
}

/// How cargo is told of which binary it is.
fn target(test: &Test) -> String {
    let target = match test.binary.split_once("::").map(|(_, target)| target) {
        None => "--lib".to_owned(),
        Some(target) => match target.split_once('/') {
            Some((kind, name)) => format!("--{kind} {}", shell_word(name)),
            None => format!("--test {}", shell_word(target)),
        },
    };
    format!("-p {} {target}", shell_word(&test.package))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::discover::test::sample;

    const ANY: &[StrategyName] = &[];

    /// Of so many tests, and a binary with these arguments.
    fn together(count: usize, args: &[&str]) -> Test {
        let mut test = sample();
        test.name = None;
        test.mates = (0..count).map(|number| format!("t{number:02}")).collect();
        test.program.args = args.iter().map(OsString::from).collect();
        test
    }

    /// Seeds of chaos, with such an order.
    fn seeds(order: u128) -> impl Iterator<Item = Seed> {
        (0..200).map(move |random| Seed((4 << 124) | order | (random * 0x1_0001_0001)))
    }

    fn args(order: Order, seed: Seed, test: &Test) -> Vec<String> {
        let program = order.program(seed, test).into_owned();
        program.args.into_iter().map(|arg| arg.into_string().expect("text")).collect()
    }

    #[test]
    fn the_usual_way_changes_nothing() {
        let test = together(5, &["--skip", "x"]);
        let varied = Seed((4 << 124) | VARIED | SOME);
        for seed in [Seed(1), varied.in_usual_order(), Seed((1 << 124) | VARIED), Seed((7 << 124) | VARIED)] {
            let order = Order::of(seed, ANY, &test);
            assert_eq!(
                (order, args(order, seed, &test)),
                (Order::Usual, vec!["--skip".into(), "x".into()]),
                "{seed}"
            );
        }
        let alone = Test { name: Some("t00".into()), ..test.clone() };
        assert_eq!(Order::of(varied, ANY, &alone), Order::Usual);
        assert_eq!(Order::of(varied, ANY, &together(1, &[])), Order::Usual);
        assert_eq!(Order::of(varied, &[StrategyName::Fair], &test), Order::Usual);
        assert_ne!(Order::of(varied, ANY, &test), Order::Usual);
    }

    #[test]
    fn all_at_a_time_have_a_thread_each_unless_the_user_has_chosen() {
        let seed = Seed((4 << 124) | VARIED);
        let order_and_args = |test: &Test| {
            let order = Order::of(seed, ANY, test);
            (order, args(order, seed, test).join(" "))
        };
        let nocapture = together(5, &["--nocapture"]);
        assert_eq!(order_and_args(&nocapture), (Order::AtOnce(5), "--nocapture --test-threads=5".into()));
        let chosen = together(5, &["--test-threads", "2"]);
        assert_eq!(order_and_args(&chosen), (Order::Usual, "--test-threads 2".into()));
        assert_eq!(order_and_args(&together(2, &[])).0, Order::AtOnce(2));
        assert!(matches!(order_and_args(&together(MOST + 1, &[])).0, Order::Some(_)));
    }

    #[test]
    fn some_are_few_or_half_of_all_and_any_of_them() {
        let test = together(40, &["t", "--skip", "x"]);
        let (mut counts, mut pairs) = (BTreeSet::new(), BTreeSet::new());
        for seed in seeds(VARIED | SOME) {
            let order = Order::of(seed, ANY, &test);
            let Order::Some(count) = order else { panic!("{order:?}") };
            let tests = order.tests(seed, &test);
            assert_eq!((tests.len(), tests.is_sorted()), (count, true));
            let expected = format!("--exact {} --test-threads={count}", tests.join(" "));
            assert_eq!(args(order, seed, &test).join(" "), expected);
            counts.insert(count);
            for one in &tests {
                pairs.extend(tests.iter().map(|other| (one.to_string(), other.to_string())));
            }
        }
        assert_eq!(Vec::from_iter(counts), [2, 5, 10, 20]);
        assert!(pairs.len() > 1500, "{} of 1,600 pairs", pairs.len());
        for seed in seeds(VARIED) {
            let order = Order::of(seed, ANY, &together(1000, &[]));
            assert!(matches!(order, Order::Some(2..=MOST)), "{order:?}");
        }
    }

    #[test]
    fn reports_say_what_was_run_and_how_to_run_it() {
        let mut test = together(8, &["--test-threads=3"]);
        let output = "test t02 ... ok\ntest t01 ... FAILED\n";
        assert_eq!(Ran::of(Order::Usual, Seed(1), &test, output), None);
        let order = Order::Some(2);
        let [one, other] = order.tests(Seed(1), &test)[..] else { panic!("two") };
        let lines = Ran::of(order, Seed(1), &test, output).expect("an order").lines();
        let command = format!("cargo test -p p --test it -- --test-threads=3 --exact {one} {other}");
        assert_eq!(lines, [format!("2 of 8 tests: {command}"), "ended in this order: t02, t01".into()]);
        test.program.args.clear();
        for (binary, target) in [("p", "--lib"), ("p::bin/b", "--bin b")] {
            test.binary = binary.into();
            let lines = Ran::of(Order::AtOnce(8), Seed(1), &test, "").expect("an order").lines();
            assert_eq!(
                lines,
                [format!("all 8 tests, all at once: cargo test -p p {target} -- --test-threads=8")]
            );
        }
    }
}
