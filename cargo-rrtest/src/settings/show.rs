//! The list of all settings, for people.

use super::layers::Settings;
use super::overrides::Override;
use crate::base::words::{visible, width};

/// Every setting with its value and where that comes from.
pub(crate) fn text(settings: &Settings) -> String {
    let Settings { profile, all, overrides, .. } = settings;
    let rows: Vec<[String; 3]> = all
        .iter()
        .map(|setting| {
            let value = if setting.value.is_empty() { "-" } else { &setting.value };
            [setting.key.clone(), value.to_owned(), setting.source.to_string()]
                .map(|cell| visible(&cell).replace('\n', " "))
        })
        .collect();
    let [key, value] = [0, 1].map(|column: usize| width(rows.iter().map(|row| &row[column])));
    let mut text = format!("profile {}\n\n", visible(profile));
    for row in &rows {
        let [name, set, source] = row;
        text += &format!("{name:key$}  {set:value$}  {source}\n");
    }
    for Override { place, text: filter, keys, .. } in &overrides.all {
        let (mut set, mut not) = (Vec::new(), Vec::new());
        for key in keys {
            if overrides.weaker_than_options.contains(key) { not.push(*key) } else { set.push(*key) }
        }
        text += &format!("\ntests {}\n", visible(filter).replace('\n', " "));
        text += &format!("      have their own {} from {}:{}\n", list(&set), place.file, place.line);
        if !not.is_empty() {
            text +=
                &format!("      but not {}, which the command line or the environment says\n", list(&not));
        }
    }
    text
}

fn list(keys: &[&str]) -> String {
    if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") }
}
