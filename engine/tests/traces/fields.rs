//! An event as a tree of named values, any of which can be altered without knowing the event.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::RngCore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A place in an event: the names of fields and variants, and the positions in lists, that lead to it.
type Path = Vec<String>;

/// Machine code. Another code in the replayed process is not an alteration of what happened.
const CODE: &[&str] = &["Buffer", "code", "stub_code"];

/// A number that is not far away, or one at the end of a range.
fn number(random: &mut Xoshiro256PlusPlus, old: i128) -> i128 {
    match random.next_u32() % 8 {
        0 => 0,
        1 => i128::from(u64::MAX),
        2 => old + 1,
        3 => old - 1,
        4 => i128::from(random.next_u64()),
        5 => i128::from(random.next_u32() % 64),
        _ => old ^ (1 << (random.next_u32() % 64)),
    }
}

fn leaves(value: &Value, path: &Path, out: &mut Vec<Path>) {
    let mut into = |name: String, value: &Value| {
        if !CODE.contains(&name.as_str()) {
            leaves(value, &[&path[..], &[name]].concat(), out);
        }
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| into(name.clone(), value)),
        // Of lists of numbers the whole is a leaf: there are bytes by thousands.
        Value::Array(values) if !values.iter().all(Value::is_number) => {
            values.iter().enumerate().for_each(|(at, value)| into(at.to_string(), value));
            out.push(path.clone());
        }
        _ => out.push(path.clone()),
    }
}

fn at<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, name| match value {
        Value::Object(fields) => fields.get_mut(name),
        Value::Array(values) => values.get_mut(name.parse::<usize>().ok()?),
        _ => None,
    })
}

fn alter(random: &mut Xoshiro256PlusPlus, value: &mut Value) {
    match value {
        Value::Bool(it) => *it = !*it,
        Value::Number(it) => {
            let old = it.as_u64().map(i128::from).or(it.as_i64().map(i128::from)).unwrap_or_default();
            let new = number(random, old);
            // As much as the format of JSON has; what the field has no room for is refused when it is read.
            if let Some(new) = serde_json::Number::from_i128(new) {
                *it = new;
            }
        }
        Value::String(it) => it.push('x'),
        Value::Null => *value = Value::from(random.next_u32() % 16),
        Value::Array(values) => match (random.next_u32() % 4, values.len()) {
            (_, 0) => values.push(Value::from(random.next_u32() % 256)),
            (0, _) => drop(values.pop()),
            (1, len) => values.push(values[random.next_u64() as usize % len].clone()),
            (_, len) => {
                let at = random.next_u64() as usize % len;
                alter(random, &mut values[at]);
            }
        },
        Value::Object(fields) => {
            if let Some(first) = fields.keys().next().cloned() {
                fields.remove(&first);
            }
        }
    }
}

/// The event, or whatever else it is, with one of its values altered, and which one that is; none if what came out is
/// no event, or the same.
pub(crate) fn altered<T>(random: &mut Xoshiro256PlusPlus, event: &T) -> Option<(String, T)>
where
    T: Serialize + DeserializeOwned + PartialEq,
{
    let mut value = serde_json::to_value(event).ok()?;
    let mut all = Vec::new();
    leaves(&value, &Vec::new(), &mut all);
    let path = all.get(random.next_u64() as usize % all.len().max(1))?;
    let leaf = at(&mut value, path)?;
    let before = short(leaf);
    alter(random, leaf);
    let after = short(leaf);
    let altered: T = serde_json::from_value(value).ok()?;
    let names = path.iter().map(|name| if name.parse::<u64>().is_ok() { "*" } else { name });
    let what = format!("{}: {before} to {after}", names.collect::<Vec<_>>().join("."));
    (altered != *event).then_some((what, altered))
}

/// The end of a value's text: enough to see what is different.
fn short(value: &Value) -> String {
    let text = value.to_string();
    let from = text.len().saturating_sub(60);
    text.get(from..).unwrap_or_default().to_owned()
}
