//! Workflow commands: lines of a step's output that the runner takes for orders. They are written as the runner's toolkit writes them
//! (actions/toolkit, `packages/core/src/command.ts`).

use std::hash::{BuildHasher, Hasher, RandomState};

use super::place::Place;

/// What stands for a character in the message of a command. `%` comes first: it is in all others.
const DATA: &[(char, &str)] = &[('%', "%25"), ('\r', "%0D"), ('\n', "%0A")];

/// And in one of its properties, which `:` and `,` would end.
const PROPERTY: &[(char, &str)] = &[('%', "%25"), ('\r', "%0D"), ('\n', "%0A"), (':', "%3A"), (',', "%2C")];

fn escaped(text: &str, table: &[(char, &str)]) -> String {
    let written = |c: char| match table.iter().find(|(character, _)| *character == c) {
        Some((_, escape)) => (*escape).to_owned(),
        None => c.to_string(),
    };
    text.chars().map(written).collect()
}

/// An error that is shown with the run and, if its place is known, at the line of a pull request.
pub(super) fn annotation(place: Option<&Place>, title: &str, message: &str) -> String {
    let mut properties = Vec::new();
    if let Some(Place { file, line }) = place {
        properties.push(format!("file={}", escaped(file, PROPERTY)));
        properties.extend(line.map(|line| format!("line={line}")));
    }
    properties.push(format!("title={}", escaped(title, PROPERTY)));
    format!("::error {}::{}\n", properties.join(","), escaped(message, DATA))
}

/// Keeps the runner from taking what others have written for a command.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// The word that ends it. Whoever knew it could end it, too.
    token: String,
}

impl Guard {
    /// With a word that nobody can guess: keys of hash maps come from the kernel's random numbers.
    pub(crate) fn new() -> Self {
        let number = || RandomState::new().build_hasher().finish();
        Self { token: format!("rrtest-{:016x}{:016x}", number(), number()) }
    }

    /// Puts a line in front of a text and one behind it.
    pub(crate) fn enclose(&self, text: &mut Vec<u8>) {
        let begin = format!("::stop-commands::{}\n", self.token);
        text.splice(0..0, begin.into_bytes());
        if text.last() != Some(&b'\n') {
            text.push(b'\n');
        }
        text.extend_from_slice(format!("::{}::\n", self.token).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_say_one_thing_only() {
        let place = Place { file: "a,b:c.rs".into(), line: Some(7) };
        assert_eq!(
            annotation(Some(&place), "p::it t", "50% wrong\r\n::warning::so there, you: see"),
            "::error file=a%2Cb%3Ac.rs,line=7,title=p%3A%3Ait t::50%25 wrong%0D%0A::warning::so there, you: see\n"
        );
        assert_eq!(annotation(None, "t", "m"), "::error title=t::m\n");
    }

    #[test]
    fn a_guard_has_a_word_of_its_own() {
        let mut text = b"::error::theirs".to_vec();
        let guard = Guard::new();
        guard.enclose(&mut text);
        let text = String::from_utf8(text).expect("text");
        let lines: Vec<_> = text.lines().collect();
        let token = lines[0].strip_prefix("::stop-commands::").expect("a token");
        assert_eq!(lines, [lines[0], "::error::theirs", &format!("::{token}::")]);
        assert!(token.len() > 32 && token != Guard::new().token);
    }
}
