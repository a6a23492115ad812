//! The expressions of GitHub Actions, as far as action.yml has them:
//! <https://docs.github.com/actions/reference/workflows-and-actions/expressions>.

use std::collections::HashMap;

/// What names in expressions stand for: `inputs.for`, `steps.run.outputs.count`. What is not there is empty.
pub(super) type Context = HashMap<String, String>;

/// A text with its `${{ … }}` replaced.
pub(super) fn interpolated(text: &str, context: &Context) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, after) = after.split_once("}}").expect("an end of the expression");
        out.push_str(before);
        out.push_str(&evaluated(expression, context));
        rest = after;
    }
    out + rest
}

/// The value of an expression, as text.
pub(super) fn evaluated(expression: &str, context: &Context) -> String {
    let mut parser = Parser { rest: expression.trim(), context };
    let value = parser.either();
    assert!(parser.rest.is_empty(), "`{}` is left of `{expression}`", parser.rest);
    value
}

/// Whether a value counts as true.
pub(super) fn truth(value: &str) -> bool {
    !["", "false", "0"].contains(&value)
}

struct Parser<'a> {
    rest: &'a str,
    context: &'a Context,
}

impl Parser<'_> {
    fn accept(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.map_or(self.rest, str::trim_start);
        rest.is_some()
    }

    fn either(&mut self) -> String {
        let mut value = self.both();
        while self.accept("||") {
            let other = self.both();
            value = if truth(&value) { value } else { other };
        }
        value
    }

    fn both(&mut self) -> String {
        let mut value = self.comparison();
        while self.accept("&&") {
            let other = self.comparison();
            value = if truth(&value) { other } else { value };
        }
        value
    }

    fn comparison(&mut self) -> String {
        let value = self.atom();
        let number = |text: &str| if text.is_empty() { 0.0 } else { text.parse().unwrap_or(f64::NAN) };
        if self.accept("==") {
            (value == self.atom()).to_string()
        } else if self.accept("!=") {
            (value != self.atom()).to_string()
        } else if self.accept(">") {
            (number(&value) > number(&self.atom())).to_string()
        } else {
            value
        }
    }

    fn atom(&mut self) -> String {
        if self.accept("!") {
            return (!truth(&self.atom())).to_string();
        }
        if self.accept("'") {
            let (text, rest) = self.rest.split_once('\'').expect("an end of the text");
            let text = text.to_owned();
            self.rest = rest.trim_start();
            return text;
        }
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        assert!(!name.is_empty(), "no value at `{rest}`");
        self.rest = rest.trim_start();
        if self.accept("(") {
            let argument = if self.rest.starts_with(')') { String::new() } else { self.atom() };
            assert!(self.accept(")"), "no end of the arguments at `{}`", self.rest);
            return match name {
                "cancelled" => "false".to_owned(),
                "hashFiles" => format!("hash-of-{argument}"),
                _ => panic!("an unknown function: {name}"),
            };
        }
        if name.chars().all(|c| c.is_ascii_digit()) {
            return name.to_owned();
        }
        self.context.get(name).cloned().unwrap_or_default()
    }
}

/// That they mean here what they mean there.
pub(super) fn check() {
    let context = Context::from([("inputs.a".to_owned(), "x".to_owned()), ("n".to_owned(), "10".to_owned())]);
    for (expression, value) in [
        ("inputs.a == 'x' && n > 1", "true"),
        ("inputs.b == '' && inputs.a", "x"),
        ("!cancelled() && inputs.b != ''", "false"),
        ("inputs.b || inputs.a", "x"),
        ("none > 1", "false"),
        ("'0' || 'y'", "y"),
    ] {
        assert_eq!(evaluated(expression, &context), value, "{expression}");
    }
    assert_eq!(interpolated("<${{ inputs.a }}-${{inputs.b}}>", &context), "<x->");
}
