//! Runs divided among machines: nextest's partitions of tests, and shards of one campaign's attempts.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh64::xxh64;

use super::test::Test;

/// One of several equal parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Which, from 1.
    pub(crate) number: u64,
    /// How many there are.
    pub(crate) of: u64,
}

impl Part {
    /// The `nth` attempt of this shard (from 1), as a number among those of all shards: they are dealt out in turn.
    pub(crate) fn attempt(self, nth: u64) -> u64 {
        nth.saturating_sub(1).saturating_mul(self.of).saturating_add(self.number)
    }

    /// How many of so many attempts are this shard's.
    pub(crate) fn share(self, attempts: u64) -> u64 {
        attempts / self.of + u64::from(attempts % self.of >= self.number)
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(m, n)| Some((m.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            Some(_) => Err("in M/N, M is a number from 1 to N".to_owned()),
            None => Err("a part is written M/N, such as 1/4".to_owned()),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// Which tests are one machine's, as nextest divides them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Partition {
    /// By the hash of a test's name: a test stays where it is when others come and go.
    Hash(Part),
    /// By turns, over all binaries.
    Slice(Part),
    /// By turns in each binary, which nextest had before `Slice`.
    Count(Part),
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("hash", part)) => part.parse().map(Self::Hash),
            Some(("slice", part)) => part.parse().map(Self::Slice),
            Some(("count", part)) => part.parse().map(Self::Count),
            _ => Err("a partition is written hash:M/N, slice:M/N or count:M/N, such as hash:1/4".to_owned()),
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(part) => write!(f, "hash:{part}"),
            Self::Slice(part) => write!(f, "slice:{part}"),
            Self::Count(part) => write!(f, "count:{part}"),
        }
    }
}

impl Partition {
    /// Those of the tests that are in the partition, in their order.
    ///
    /// Nextest hashes the name alone, with xxHash64 and seed 0. It counts tests in the order of their binaries' ids and their names,
    /// those marked `#[ignore]` by themselves.
    pub(crate) fn of(self, tests: Vec<Test>) -> Vec<Test> {
        let mut order: Vec<usize> = (0..tests.len()).collect();
        order.sort_by(|one, other| by_id(&tests[*one], &tests[*other]));
        let mut counts: HashMap<(Option<&str>, bool), u64> = HashMap::new();
        let mut is_in = vec![false; tests.len()];
        for index in order {
            let test = &tests[index];
            let (part, turn) = match self {
                Self::Hash(part) => (part, xxh64(name(test).as_bytes(), 0)),
                Self::Slice(part) | Self::Count(part) => {
                    let binary = matches!(self, Self::Count(_)).then_some(test.binary.as_str());
                    let count = counts.entry((binary, test.ignored)).or_default();
                    *count += 1;
                    (part, *count - 1)
                }
            };
            is_in[index] = turn % part.of == part.number - 1;
        }
        tests.into_iter().zip(is_in).filter_map(|(test, is_in)| is_in.then_some(test)).collect()
    }
}

/// What is hashed: tests together, of which nextest knows nothing, have their binary's name.
fn name(test: &Test) -> &str {
    test.name.as_deref().unwrap_or(&test.binary)
}

/// The order of nextest's lists: a package's library, its integration tests, its other binaries.
fn by_id(one: &Test, other: &Test) -> Ordering {
    fn key(test: &Test) -> (&str, u8, &str, &str) {
        let (package, rest) = test.binary.split_once("::").unwrap_or((&test.binary, ""));
        match rest.split_once('/') {
            Some((kind, name)) => (package, 2, kind, name),
            None => (package, u8::from(!rest.is_empty()), "", rest),
        }
    }
    key(one).cmp(&key(other)).then_with(|| one.title().cmp(other.title()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::test::sample;

    fn test(binary: &str, name: &str, ignored: bool) -> Test {
        Test { binary: binary.into(), name: Some(name.into()), ignored, ..sample() }
    }

    fn names(partition: &str, tests: &[Test]) -> Vec<String> {
        let partition: Partition = partition.parse().expect("a partition");
        partition.of(tests.to_vec()).iter().map(Test::id).collect()
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["hash", "hash:1", "hash:0/2", "hash:3/2", "hash:1/0", "by-name:1/2", "1/2", "hash:-1/2"]
        {
            assert!(text.parse::<Partition>().is_err(), "{text}");
        }
        assert_eq!("slice:2/3".parse(), Ok(Partition::Slice(Part { number: 2, of: 3 })));
    }

    /// The values are those of xxHash64 with seed 0, of which XXH64("") = 0xef46db3751d8e999 is published.
    #[test]
    fn hashes_are_nextests() {
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
        let tests: Vec<_> = (0..100).map(|number| test("p", &format!("t{number}"), false)).collect();
        let parts = ["hash:1/3", "hash:2/3", "hash:3/3"].map(|partition| names(partition, &tests));
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 100);
        assert!(parts.iter().all(|part| part.len() > 20));
        let number = 1 + xxh64(b"t7", 0) % 3;
        assert!(names(&format!("hash:{number}/3"), &tests).contains(&"p t7".to_owned()));
        // It stays where it is.
        assert!(names(&format!("hash:{number}/3"), &tests[7..8]).contains(&"p t7".to_owned()));
    }

    #[test]
    fn slices_go_over_all_binaries_in_the_order_of_their_ids() {
        let tests = [
            test("p::bin/b", "f", false),
            test("p", "b", false),
            test("p", "a", false),
            test("p", "i", true),
            test("p::it", "c", false),
            test("p::it", "d", false),
            test("p::it", "j", true),
        ];
        assert_eq!(names("slice:1/2", &tests), ["p::bin/b f", "p a", "p i", "p::it c"]);
        assert_eq!(names("slice:2/2", &tests), ["p b", "p::it d", "p::it j"]);
        assert_eq!(names("count:1/2", &tests), ["p::bin/b f", "p a", "p i", "p::it c", "p::it j"]);
    }

    #[test]
    fn shards_deal_attempts_out() {
        let shards: Vec<Part> = (1..=3).map(|number| Part { number, of: 3 }).collect();
        let mut all: Vec<u64> = shards
            .iter()
            .flat_map(|part| (1..=part.share(10)).map(|nth| part.attempt(nth)).collect::<Vec<_>>())
            .collect();
        all.sort_unstable();
        assert_eq!(all, (1..=10).collect::<Vec<_>>());
    }
}
