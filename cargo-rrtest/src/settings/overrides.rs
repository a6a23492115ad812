//! What is said of single tests: the tests that a filter expression accepts have settings of their own.

use std::str::FromStr;
use std::time::Duration;

use rrtest_engine::schedule::StrategyName;
use rrtest_engine::schedule::surprise::Surprises;

use super::file::{Node, Place, Value};
use crate::base::exit::CliError;
use crate::base::words::{did_you_mean, parse_duration};
use crate::discover::filterset::Filterset;
use crate::discover::test::{Rules, Test};

/// The key of the filter expression.
const FILTER: &str = "filter";

/// What may be set: a name, and what reads it.
const KEYS: &[(&str, Read)] = &[
    ("timeout", |rules, value| {
        rules.timeout = Some(duration(value)?);
        Ok(())
    }),
    ("strategy", |rules, value| {
        rules.strategies = Some(strategies(value)?);
        Ok(())
    }),
    ("surprises", |rules, value| {
        rules.surprises = Some(surprises(value)?);
        Ok(())
    }),
    ("serial-group", |rules, value| {
        rules.serial_group = Some(one(value, "a name")?);
        Ok(())
    }),
];

type Read = fn(&mut Rules, Value) -> Result<(), String>;

/// What some tests have of their own.
#[derive(Clone, Debug)]
pub(crate) struct Override {
    /// Where it is.
    pub(crate) place: Place,
    /// The filter expression, as it is written.
    pub(crate) text: String,
    filter: Filterset,
    rules: Rules,
    /// The keys that are set.
    pub(crate) keys: Vec<&'static str>,
}

/// The overrides that apply, the strongest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) all: Vec<Override>,
    /// Keys that the command line or the environment has, which are stronger.
    pub(crate) weaker_than_options: Vec<&'static str>,
}

impl Overrides {
    /// Give a test what it has of its own: of each setting, what is said first.
    pub(crate) fn apply(&self, test: &mut Test) {
        let accepts = |it: &&Override| match (&test.name, &test.mates[..]) {
            (Some(name), _) => it.filter.accepts(test, name),
            // What is said of one of several together holds for the process that they are in.
            (None, mates) => mates.iter().any(|mate| it.filter.accepts(test, mate)),
        };
        let mut rules = Rules::default();
        for Override { rules: more, .. } in self.all.iter().filter(accepts) {
            rules.timeout = rules.timeout.or(more.timeout);
            rules.strategies = rules.strategies.or_else(|| more.strategies.clone());
            rules.surprises = rules.surprises.or(more.surprises);
            rules.serial_group = rules.serial_group.or_else(|| more.serial_group.clone());
        }
        let is_weaker = |key: &str| self.weaker_than_options.contains(&key);
        rules.timeout = rules.timeout.filter(|_| !is_weaker("timeout"));
        rules.strategies = rules.strategies.filter(|_| !is_weaker("strategy"));
        rules.surprises = rules.surprises.filter(|_| !is_weaker("surprises"));
        test.rules = rules;
    }
}

/// The names of all keys.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(key, _)| *key)
}

/// Read an array of overrides.
pub(crate) fn read(node: Node<'_>, path: &[String]) -> Result<Vec<Override>, CliError> {
    let elements = node.elements().ok_or_else(|| {
        node.place(path).mistake(format!("expected an array of tables: [[{}]]", path.join(".")))
    })?;
    elements.into_iter().map(|element| read_one(element, path)).collect()
}

fn read_one(node: Node<'_>, path: &[String]) -> Result<Override, CliError> {
    let place = node.place(path);
    let entries = node.entries().ok_or_else(|| place.mistake("expected a table"))?;
    let mut filter = None;
    let (mut rules, mut set) = (Rules::default(), Vec::new());
    for (key, at, value) in entries {
        let place = node.place_of(&[path, &[key.to_owned()]].concat(), at);
        if key == FILTER {
            let text = one(value.value(), "a filter expression").map_err(|what| place.mistake(what))?;
            let parsed = Filterset::from_str(&text).map_err(|mistake| place.mistake(mistake))?;
            filter = Some((text, parsed));
            continue;
        }
        let Some((name, read)) = KEYS.iter().find(|(name, _)| *name == key) else {
            let known = keys().chain([FILTER]);
            return Err(place.mistake(format!(
                "unknown setting of single tests{}\n{} can be set",
                did_you_mean(key, known),
                keys().collect::<Vec<_>>().join(", ")
            )));
        };
        read(&mut rules, value.value()).map_err(|what| place.mistake(what))?;
        set.push(*name);
    }
    let Some((text, filter)) = filter else {
        return Err(place.mistake("an override needs a `filter` that says for which tests it is"));
    };
    Ok(Override { place, text, filter, rules, keys: set })
}

fn one(value: Value, what: &str) -> Result<String, String> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text),
        _ => Err(format!("expected {what}, as a string")),
    }
}

/// A list, or a string of names with commas.
fn several(value: Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text),
        Value::List(list) => Ok(list.join(",")),
        _ => Err("expected a string or a list of strings".to_owned()),
    }
}

fn duration(value: Value) -> Result<Duration, String> {
    parse_duration(&one(value, "a duration")?)
}

fn strategies(value: Value) -> Result<Vec<StrategyName>, String> {
    let text = several(value)?;
    let strategies: Vec<StrategyName> = text
        .split(',')
        .map(|name| name.parse().map_err(|error| format!("{error}")))
        .collect::<Result<_, _>>()?;
    if strategies.contains(&StrategyName::Systematic) {
        return Err("systematic is for all tests or none: --strategy systematic".to_owned());
    }
    Ok(strategies)
}

fn surprises(value: Value) -> Result<Surprises, String> {
    several(value)?.parse().map_err(|error| format!("{error}"))
}
