//! Profiles: sets of settings, each of which stands on another one.
//!
//! As with nextest, all stand on `default` in the end, and `inherits` names another profile to stand on.

use super::file::{Document, Entry, Place};
use super::overrides::{self, Override};
use crate::base::exit::CliError;
use crate::base::words::did_you_mean;

/// The profile that all others stand on.
pub(crate) const DEFAULT: &str = "default";

/// The key of a profile that names the one it stands on.
const INHERITS: &str = "inherits";

/// The key for what is said of single tests.
const OVERRIDES: &str = "overrides";

/// The key of all profiles.
const PROFILE: &str = "profile";

/// One document's part of a profile.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) name: String,
    /// The one that it stands on, if it says.
    inherits: Option<(String, Place)>,
    /// By key.
    pub(crate) settings: Vec<(String, Entry)>,
    pub(crate) overrides: Vec<Override>,
}

/// All profiles of a document. `keys` are the settings that there are.
pub(crate) fn read(document: &Document, keys: &[&str]) -> Result<Vec<Profile>, CliError> {
    let root = document.root();
    let no_table = |place: Place| place.mistake("expected a table");
    let mut profiles = Vec::new();
    for (key, at, node) in root.entries().ok_or_else(|| no_table(root.place(&[])))? {
        let path = vec![key.to_owned()];
        if key != PROFILE {
            let hint = if keys.contains(&key) {
                format!("; settings are in profiles: [{PROFILE}.{DEFAULT}]")
            } else {
                did_you_mean(key, [PROFILE])
            };
            return Err(root.place_of(&path, at).mistake(format!("unknown key{hint}")));
        }
        for (name, _, node) in node.entries().ok_or_else(|| no_table(node.place(&path)))? {
            let path = vec![key.to_owned(), name.to_owned()];
            let entries = node.entries().ok_or_else(|| no_table(node.place(&path)))?;
            let mut profile = Profile {
                name: name.to_owned(),
                inherits: None,
                settings: Vec::new(),
                overrides: Vec::new(),
            };
            for (key, at, value) in entries {
                let path = [&path[..], &[key.to_owned()]].concat();
                let place = node.place_of(&path, at);
                match key {
                    OVERRIDES => profile.overrides = overrides::read(value, &path)?,
                    INHERITS => match value.value() {
                        super::file::Value::Text(name) => profile.inherits = Some((name, place)),
                        _ => return Err(place.mistake("expected the name of a profile")),
                    },
                    _ if keys.contains(&key) => {
                        profile.settings.push((key.to_owned(), Entry { place, value: value.value() }));
                    }
                    _ => {
                        let known = keys.iter().copied().chain([OVERRIDES, INHERITS]);
                        return Err(place.mistake(format!("unknown setting{}", did_you_mean(key, known))));
                    }
                }
            }
            profiles.push(profile);
        }
    }
    Ok(profiles)
}

/// The names of the profiles that one stands on, beginning with itself. `profiles` are those of all documents, the strongest first.
pub(crate) fn chain(profiles: &[Profile], chosen: &str) -> Result<Vec<String>, CliError> {
    let exists = |name: &str| name == DEFAULT || profiles.iter().any(|profile| profile.name == name);
    if !exists(chosen) {
        let names = profiles.iter().map(|profile| profile.name.as_str()).chain([DEFAULT]);
        return Err(CliError::usage(format!(
            "there is no profile `{chosen}`{}\n  profiles are in .config/rrtest.toml, in the workspace root",
            did_you_mean(chosen, names)
        )));
    }
    let mut chain = vec![chosen.to_owned()];
    loop {
        let last = chain.last().map_or(DEFAULT, String::as_str);
        let inherits = profiles.iter().filter(|profile| profile.name == last);
        let Some((next, place)) = inherits.filter_map(|profile| profile.inherits.as_ref()).next() else {
            break;
        };
        if !exists(next) {
            let names = profiles.iter().map(|profile| profile.name.as_str());
            return Err(place.mistake(format!("there is no profile `{next}`{}", did_you_mean(next, names))));
        }
        if chain.contains(next) {
            return Err(place.mistake(format!("`{next}` would stand on itself")));
        }
        chain.push(next.clone());
    }
    if !chain.iter().any(|name| name == DEFAULT) {
        chain.push(DEFAULT.to_owned());
    }
    Ok(chain)
}
