//! Variables of the environment that are kept from tests, since a trace holds their memory.
//!
//! A trace is uploaded by CI and sent to colleagues. Whatever is in a process's environment is in its memory from the start, so
//! what looks like a secret is taken out before the process starts. Names are compared without regard to case.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

/// Words of names that only secrets have; words are parted by `_`.
const WORDS: &[&str] = &[
    "TOKEN",
    "TOKENS",
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "CREDENTIALS",
    "APIKEY",
    "PAT",
];

/// Ends of names, beside these words.
const ENDS: &[&str] = &["_KEY", "_KEY_ID", "_AUTH", "_CONNECTION_STRING", "_DSN", "PASSWORD", "_COOKIE"];

/// Whole names that the rules above do not cover.
const NAMES: &[&str] = &["DOCKER_AUTH_CONFIG", "ACTIONS_CACHE_URL", "ACTIONS_RUNTIME_URL", "PGPASSFILE"];

/// Which variables are secrets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets {
    /// Names that are none, as the user says.
    pass: Vec<String>,
    /// More names that are, with `*` for any characters.
    hide: Vec<String>,
}

impl Secrets {
    /// What looks like a secret, without the names to pass and with those to hide.
    pub(crate) fn new(pass: &[String], hide: &[String]) -> Self {
        let upper = |names: &[String]| names.iter().map(|name| name.to_uppercase()).collect();
        Self { pass: upper(pass), hide: upper(hide) }
    }

    /// Takes the secrets out of an environment, and returns their names.
    pub(crate) fn take_out(&self, environment: &mut Vec<(OsString, OsString)>) -> BTreeSet<String> {
        let mut taken = BTreeSet::new();
        environment.retain(|(name, value)| {
            let secret = self.has(name, value);
            if secret {
                taken.insert(name.to_string_lossy().into_owned());
            }
            !secret
        });
        taken
    }

    fn has(&self, name: &OsStr, value: &OsStr) -> bool {
        let name = name.to_string_lossy().to_uppercase();
        if self.pass.contains(&name) {
            return false;
        }
        let named = NAMES.contains(&&*name)
            || ENDS.iter().any(|end| name.ends_with(end))
            || name.split('_').any(|word| WORDS.contains(&word));
        named
            || self.hide.iter().any(|pattern| matches(pattern, &name))
            || is_secret(&value.to_string_lossy())
    }
}

/// Says which variables the tests do not get; none if there are none.
pub(crate) fn warning(names: &BTreeSet<String>) -> Option<String> {
    let list: Vec<&str> = names.iter().map(String::as_str).collect();
    (!list.is_empty()).then(|| {
        format!(
            "kept from the tests, since traces hold their environment: {}\n  --pass-env NAME lets one through",
            list.join(", ")
        )
    })
}

/// What secrets begin with: tokens of GitHub, GitLab, Slack and AWS.
const STARTS: &[&str] = &["ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "AKIA", "ASIA"];

/// Parts of keys (PEM) and of connection strings, in lower case.
const PARTS: &[&str] = &["private key-----", "password=", ";pwd="];

/// Whether a value looks like a secret, whatever its name.
fn is_secret(value: &str) -> bool {
    let lower = value.to_lowercase();
    STARTS.iter().any(|start| value.starts_with(start))
        || PARTS.iter().any(|part| lower.contains(part))
        || value.split("://").skip(1).any(has_password)
}

/// Whether a URL behind its scheme has a password: `user:password@host`.
fn has_password(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority
        .rsplit_once('@')
        .is_some_and(|(user, _)| user.split_once(':').is_some_and(|(_, password)| !password.is_empty()))
}

/// Whether a name matches a pattern, in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len()).filter_map(|at| tail.get(at..)).any(|tail| matches(rest, tail))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(secrets: &Secrets, variables: &[(&str, &str)]) -> Vec<String> {
        let mut environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        secrets.take_out(&mut environment).into_iter().collect()
    }

    #[test]
    fn what_looks_like_a_secret_is_taken_out() {
        let names = [
            "GITHUB_TOKEN",
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_ACCESS_KEY_ID",
            "CARGO_REGISTRIES_MINE_TOKEN",
            "PGPASSWORD",
            "my_api_key",
            "STRIPE_SECRET",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "DOCKER_AUTH_CONFIG",
        ];
        for name in names {
            assert_eq!(taken(&Secrets::default(), &[(name, "x")]), [name]);
        }
    }

    #[test]
    fn what_tests_need_stays() {
        let names = [
            "PATH",
            "HOME",
            "CARGO_PKG_NAME",
            "KEYBOARD",
            "MONKEY",
            "TOKENIZER",
            "PATIENCE",
            "RUST_LOG",
            "PATH_",
        ];
        for name in names {
            assert!(taken(&Secrets::default(), &[(name, "x")]).is_empty(), "{name}");
        }
    }

    #[test]
    fn an_address_with_a_password_is_a_secret() {
        let has = |value: &str| !taken(&Secrets::default(), &[("DATABASE", value)]).is_empty();
        assert!(has("postgres://me:geheim@localhost/db"));
        assert!(has("https://x:y@h?z"));
        assert!(!has("postgres://me@localhost/db"));
        assert!(!has("http://host:80/a:b@c"));
        assert!(!has("http://me:@host"));
        assert!(has("redis://:geheim@localhost"));
        assert!(has("postgres://me@one/db postgres://me:geheim@two/db"));
    }

    #[test]
    fn a_value_can_show_that_it_is_a_secret() {
        let has = |value: &str| !taken(&Secrets::default(), &[("SETTING", value)]).is_empty();
        assert!(has("Server=db;User Id=me;Password=geheim"));
        assert!(has("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl"));
        assert!(has("ghp_0123456789") && has("AKIAIOSFODNN7EXAMPLE"));
        assert!(!has("-----BEGIN PUBLIC KEY-----") && !has("a ghp_") && !has("/home/me/password.txt"));
    }

    #[test]
    fn users_let_some_through_and_hide_more() {
        let secrets = Secrets::new(&["TEST_TOKEN".into()], &["inner_*_name".into(), "LICENCE".into()]);
        let variables = [
            ("TEST_TOKEN", "1"),
            ("OTHER_TOKEN", "2"),
            ("INNER_SERVER_NAME", "3"),
            ("LICENCE", "4"),
            ("INNER", "5"),
        ];
        assert_eq!(taken(&secrets, &variables), ["INNER_SERVER_NAME", "LICENCE", "OTHER_TOKEN"]);
    }

    #[test]
    fn the_rest_stays_in_order() {
        let mut environment: Vec<(OsString, OsString)> = [("B", "1"), ("A_TOKEN", "2"), ("A", "3")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        Secrets::default().take_out(&mut environment);
        assert_eq!(environment, [("B".into(), "1".into()), ("A".into(), "3".into())]);
    }
}
