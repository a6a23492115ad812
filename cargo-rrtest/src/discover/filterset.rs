//! Filter expressions in nextest's language: <https://nexte.st/docs/filtersets/reference/>.
//!
//! What needs no more than a test's name and its binary means here what it means there: `test()`, `package()`, `binary()`,
//! `binary_id()`, `kind()`, `all()` and `none()`, their matchers and operators. What needs the graph of packages or nextest's own
//! configuration is refused by name.

use std::fmt;
use std::str::FromStr;

use globset::GlobBuilder;
use regex::Regex;
use regex::bytes::Regex as BytesRegex;

use super::test::Test;
use crate::base::words::did_you_mean;

/// An expression that accepts some tests.
#[derive(Clone, Debug)]
pub(crate) struct Filterset {
    expr: Expr,
}

#[derive(Clone, Debug)]
enum Expr {
    All,
    None,
    Matches(Subject, Matcher),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

/// What of a test is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Test,
    Package,
    Binary,
    BinaryId,
    Kind,
}

/// How it is looked at.
#[derive(Clone, Debug)]
enum Matcher {
    Equal(String),
    Contains(String),
    Regex(Regex),
    /// A glob, as a regular expression of bytes.
    Glob(BytesRegex),
}

/// How a matcher without a sign in front is read.
#[derive(Clone, Copy)]
enum ByDefault {
    Equal,
    Contains,
    Glob,
}

/// The predicates that look at something.
const PREDICATES: &[(&str, Subject, ByDefault)] = &[
    ("test", Subject::Test, ByDefault::Contains),
    ("package", Subject::Package, ByDefault::Glob),
    ("binary", Subject::Binary, ByDefault::Glob),
    ("binary_id", Subject::BinaryId, ByDefault::Glob),
    ("kind", Subject::Kind, ByDefault::Equal),
];

/// Those of nextest that are not supported, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("deps", "the graph of packages is not looked at; name the packages with package(…)"),
    ("rdeps", "the graph of packages is not looked at; name the packages with package(…)"),
    ("platform", "all tests are built for the target; leave it out"),
    ("group", "test groups are nextest's; name the tests with test(…)"),
    ("default", "there is no default filter; leave it out"),
];

/// Operators of other languages, and ours.
const FOREIGN: &[(&str, &str)] = &[("&&", "&"), ("||", "|"), ("AND", "and"), ("OR", "or"), ("NOT", "not")];

impl Filterset {
    /// Whether a test is accepted. Of tests together, the name given is that of one of them.
    pub(crate) fn accepts(&self, test: &Test, name: &str) -> bool {
        self.expr.accepts(test, name)
    }
}

impl Expr {
    fn accepts(&self, test: &Test, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Not(expr) => !expr.accepts(test, name),
            Self::And(all) => all.iter().all(|expr| expr.accepts(test, name)),
            Self::Or(all) => all.iter().any(|expr| expr.accepts(test, name)),
            Self::Matches(subject, matcher) => matcher.matches(match subject {
                Subject::Test => name,
                Subject::Package => &test.package,
                Subject::Binary => &test.target,
                Subject::BinaryId => &test.binary,
                Subject::Kind => &test.kind,
            }),
        }
    }
}

impl Matcher {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Equal(value) => text == value,
            Self::Contains(value) => text.contains(value.as_str()),
            Self::Regex(regex) => regex.is_match(text),
            Self::Glob(regex) => regex.is_match(text.as_bytes()),
        }
    }

    /// A glob of any text: `*` matches `::` and `/`, too.
    fn glob(glob: &str) -> Result<Self, String> {
        let built = GlobBuilder::new(glob).backslash_escape(false).empty_alternates(true).build();
        let built = built.map_err(|error| error.to_string())?;
        BytesRegex::new(built.regex()).map(Self::Glob).map_err(|error| error.to_string())
    }
}

impl FromStr for Filterset {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let expr = parser.union()?;
        parser.space();
        match parser.rest() {
            "" => Ok(Self { expr }),
            _ => Err(parser.mistake("expected `and`, `or`, `-` or the end")),
        }
    }
}

/// What is wrong with an expression, and where.
#[derive(Clone, Debug)]
pub(crate) struct Mistake {
    text: String,
    at: usize,
    what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may have several lines, in a file: the one that counts is shown.
        let before = &self.text[..self.at];
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        let column = self.text[start..self.at].chars().count();
        write!(f, "{}\n  {line}\n  {}^", self.what, " ".repeat(column))
    }
}

impl std::error::Error for Mistake {}

/// Deeper than this, no expression is nested that a person has written.
const DEEPEST: usize = 100;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn mistake(&self, what: impl Into<String>) -> Mistake {
        Mistake { text: self.text.to_owned(), at: self.at, what: what.into() }
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\n', '\r']).len();
    }

    /// Take this symbol, if it is next.
    fn symbol(&mut self, symbol: &str) -> bool {
        let next = self.rest().starts_with(symbol);
        self.at += if next { symbol.len() } else { 0 };
        next
    }

    /// Take this word, if it is next.
    fn word(&mut self, word: &str) -> bool {
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let next = self.rest().strip_prefix(word).is_some_and(ends);
        self.at += if next { word.len() } else { 0 };
        next
    }

    fn no_foreign_operator(&self) -> Result<(), Mistake> {
        let word = |text: &str| self.rest().strip_prefix(text).is_some();
        match FOREIGN.iter().find(|(foreign, _)| word(foreign)) {
            Some((foreign, ours)) => Err(self.mistake(format!("`{foreign}` is written `{ours}`"))),
            None => Ok(()),
        }
    }

    fn union(&mut self) -> Result<Expr, Mistake> {
        let mut all = vec![self.intersection()?];
        loop {
            self.space();
            self.no_foreign_operator()?;
            if !(self.word("or") || self.symbol("|") || self.symbol("+")) {
                return Ok(Expr::Or(all));
            }
            all.push(self.intersection()?);
        }
    }

    fn intersection(&mut self) -> Result<Expr, Mistake> {
        let mut all = vec![self.basic()?];
        loop {
            self.space();
            self.no_foreign_operator()?;
            if self.word("and") || self.symbol("&") {
                all.push(self.basic()?);
            } else if self.symbol("-") {
                all.push(Expr::Not(Box::new(self.basic()?)));
            } else {
                return Ok(Expr::And(all));
            }
        }
    }

    fn basic(&mut self) -> Result<Expr, Mistake> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.mistake("it is nested too deeply"));
        }
        self.space();
        self.no_foreign_operator()?;
        let expr = if self.word("not") || self.symbol("!") {
            Expr::Not(Box::new(self.basic()?))
        } else if self.symbol("(") {
            let expr = self.union()?;
            self.close()?;
            expr
        } else {
            self.predicate()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn close(&mut self) -> Result<(), Mistake> {
        self.space();
        if self.symbol(")") { Ok(()) } else { Err(self.mistake("expected `)`")) }
    }

    fn predicate(&mut self) -> Result<Expr, Mistake> {
        let length =
            self.rest().find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest().len());
        let name = &self.rest()[..length];
        if name.is_empty() {
            return Err(self.mistake("expected a predicate, such as `test(name)`"));
        }
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Err(self.mistake(format!("`{name}()` is not supported: {why}")));
        }
        let unary = PREDICATES.iter().find(|(known, ..)| *known == name);
        if unary.is_none() && !["all", "none"].contains(&name) {
            let known = PREDICATES.iter().map(|(known, ..)| *known).chain(["all", "none"]);
            return Err(self.mistake(format!("unknown predicate `{name}`{}", did_you_mean(name, known))));
        }
        self.at += length;
        if !self.symbol("(") {
            return Err(self.mistake(format!("expected `(` after `{name}`")));
        }
        let expr = match unary {
            Some((_, subject, by_default)) => Expr::Matches(*subject, self.matcher(*by_default)?),
            None if name == "all" => Expr::All,
            None => Expr::None,
        };
        self.close()?;
        Ok(expr)
    }

    fn matcher(&mut self, by_default: ByDefault) -> Result<Matcher, Mistake> {
        self.space();
        let start = self.at;
        if self.symbol("/") {
            let regex = self.regex()?;
            return Regex::new(&regex).map(Matcher::Regex).map_err(|error| {
                let error = error.to_string();
                let last = error.lines().last().unwrap_or_default();
                Mistake { at: start, ..self.mistake(format!("invalid regular expression: {last}")) }
            });
        }
        let by_default = if self.symbol("#") {
            ByDefault::Glob
        } else if self.symbol("=") {
            ByDefault::Equal
        } else if self.symbol("~") {
            ByDefault::Contains
        } else {
            by_default
        };
        let value = self.value()?;
        match by_default {
            ByDefault::Equal => Ok(Matcher::Equal(value)),
            ByDefault::Contains => Ok(Matcher::Contains(value)),
            ByDefault::Glob => Matcher::glob(&value)
                .map_err(|error| Mistake { at: start, ..self.mistake(format!("invalid glob: {error}")) }),
        }
    }

    /// Up to the next `/` that has no `\` in front.
    fn regex(&mut self) -> Result<String, Mistake> {
        let mut regex = String::new();
        let mut chars = self.rest().char_indices().peekable();
        while let Some((offset, c)) = chars.next() {
            match (c, chars.peek()) {
                ('/', _) => {
                    self.at += offset + 1;
                    return Ok(regex);
                }
                ('\\', Some((_, '/'))) => {
                    chars.next();
                    regex.push('/');
                }
                ('\\', Some((_, next))) => {
                    regex.extend(['\\', *next]);
                    chars.next();
                }
                _ => regex.push(c),
            }
        }
        Err(self.mistake("expected a `/` that ends the regular expression"))
    }

    /// Up to the next `)` that has no `\` in front.
    fn value(&mut self) -> Result<String, Mistake> {
        let mut value = String::new();
        loop {
            let rest = self.rest();
            let Some(end) = rest.find([')', ',', '\\']) else {
                self.at = self.text.len();
                return Err(self.mistake("expected `)`"));
            };
            value += &rest[..end];
            self.at += end;
            match &rest[end..=end] {
                "\\" => value.push(self.escaped()?),
                _ if value.is_empty() => return Err(self.mistake("expected a name")),
                "," => return Err(self.mistake("a predicate takes one name; a comma in it is written `\\,`")),
                _ => return Ok(value),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, Mistake> {
        let unknown = self.mistake("unknown escape; known are \\n \\r \\t \\b \\f \\\\ \\/ \\) \\, \\u{…}");
        let mut chars = self.rest().chars().skip(1);
        let (c, length) = match chars.next() {
            Some('n') => ('\n', 2),
            Some('r') => ('\r', 2),
            Some('t') => ('\t', 2),
            Some('b') => ('\u{8}', 2),
            Some('f') => ('\u{c}', 2),
            Some(c @ ('\\' | '/' | ')' | ',')) => (c, 2),
            Some('u') => {
                let digits = self.rest()[2..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
                let Some((digits, _)) = digits.filter(|(digits, _)| (1..=6).contains(&digits.len())) else {
                    return Err(unknown);
                };
                let c = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                (c.ok_or(unknown)?, digits.len() + 4)
            }
            _ => return Err(unknown),
        };
        self.at += length;
        Ok(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::test::sample;

    /// Of integration test `it` and library `p` of package `p`, the tests that an expression accepts.
    fn accepted(expression: &str) -> Vec<String> {
        let filterset: Filterset = expression.parse().unwrap_or_else(|error| panic!("{error}"));
        let library = Test { binary: "p".into(), kind: "lib".into(), target: "p".into(), ..sample() };
        let names = ["a::one", "a::two", "a::gr\u{fc}n", "b"];
        let of = |test: &Test| {
            let accepted = names.iter().filter(|name| filterset.accepts(test, name));
            accepted.map(|name| format!("{} {name}", test.binary)).collect::<Vec<_>>()
        };
        [of(&library), of(&sample())].concat()
    }

    #[test]
    fn matchers() {
        assert_eq!(accepted("test(one)"), ["p a::one", "p::it a::one"]);
        assert_eq!(accepted("test(=one)"), [""; 0]);
        assert_eq!(accepted("test(=a::one) & kind(lib)"), ["p a::one"]);
        assert_eq!(accepted("test(~:tw) and binary(it)"), ["p::it a::two"]);
        assert_eq!(accepted("test(/^a::[ot]/) - binary(p)"), ["p::it a::one", "p::it a::two"]);
        assert_eq!(accepted("test(#a*o*) and kind(=test)"), ["p::it a::one", "p::it a::two"]);
        assert_eq!(accepted("test(#b{\\,c}) and binary_id(p::*)"), ["p::it b"]);
        assert_eq!(accepted("test(#*::gr\u{fc}*)"), ["p a::gr\u{fc}n", "p::it a::gr\u{fc}n"]);
        assert_eq!(accepted("package(q)"), [""; 0]);
        assert_eq!(accepted("package(p) and test(=b)"), ["p b", "p::it b"]);
        assert_eq!(accepted(r"test(\u{62}) and kind(lib)"), ["p b"]);
        assert_eq!(accepted(r"test(/a\/b|^b$/) & kind(lib)"), ["p b"]);
    }

    #[test]
    fn operators_bind_as_nextest_has_them() {
        assert_eq!(accepted("not test(a) and kind(lib) or none()"), ["p b"]);
        assert_eq!(accepted("none() or all() and not (kind(lib) | test(a::))"), ["p::it b"]);
        assert_eq!(accepted("!kind(lib)&test(=b)+none()"), ["p::it b"]);
        assert_eq!(accepted("all() - kind(lib) - test(a)"), ["p::it b"]);
        assert_eq!(accepted("all()\n  - kind(lib)\n  - test(a)\n"), ["p::it b"]);
    }

    #[test]
    fn mistakes() {
        let expressions = [
            "",
            "tests(a)",
            "test(a) && test(b)",
            "test(a) OR test(b)",
            "deps(tokio)",
            "rdeps(tokio)",
            "platform(host)",
            "group(serial)",
            "default()",
            "test(a) test(b)",
            "test(a",
            "test a",
            "test()",
            "test(a, b)",
            r"test(\q)",
            "test(/(/)",
            "test(/a)",
            "binary(#[)",
            "all(x)",
            "(all()",
            "all() and\n  kind(lib) and and",
        ];
        let all = expressions.map(|expression| {
            let error = expression.parse::<Filterset>().expect_err(expression);
            format!("{error}\n")
        });
        insta::assert_snapshot!(all.concat());
        assert!(
            "(".repeat(5000).parse::<Filterset>().is_err() && "!".repeat(5000).parse::<Filterset>().is_err()
        );
    }
}
