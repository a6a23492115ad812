//! The few settings of cargo's configuration that we must know: wrappers, runners and the default target.
//!
//! `cargo config get` is unstable, so this reads the files itself, in the order of
//! <https://doc.rust-lang.org/cargo/reference/config.html>: `--config` arguments (the last first), then
//! `.cargo/config.toml` in the working directory and each directory above it, then the one in cargo's home.
//! Environment variables stand between the arguments and the files; whoever asks for a setting looks them up first.

use std::env;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::base::home::home;

/// The configuration that applies in a directory.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// Settings with the directory that their relative paths are relative to; the strongest first.
    arguments: Vec<(PathBuf, Table)>,
    files: Vec<(PathBuf, Table)>,
}

impl Config {
    /// Read what applies in `cwd`, under these `--config` arguments. Files that cannot be read or understood are left
    /// out: cargo itself complains of them.
    pub(crate) fn load(cwd: &Path, arguments: &[String]) -> Self {
        let arguments = arguments.iter().rev().filter_map(|argument| {
            let path = cwd.join(argument);
            if path.is_file() { read(&path) } else { Some((cwd.to_owned(), argument.parse().ok()?)) }
        });
        let homes = cwd.ancestors().map(|dir| dir.join(".cargo")).chain(cargo_home());
        let mut seen = Vec::new();
        let files = homes.filter_map(|dir| {
            if seen.contains(&dir) {
                return None;
            }
            seen.push(dir.clone());
            ["config", "config.toml"].iter().find_map(|name| read(&dir.join(name)))
        });
        Self { arguments: arguments.collect(), files: files.collect() }
    }

    /// The strongest value of a setting, as text, from arguments, the environment variable `CARGO_…`, or files. With it
    /// comes the directory that a relative path in it is relative to; none for the environment.
    pub(crate) fn get(&self, keys: &[&str]) -> Option<(String, Option<&Path>)> {
        let variable = format!("CARGO_{}", keys.join("_").to_uppercase().replace('-', "_"));
        find(&self.arguments, keys)
            .or_else(|| Some((env::var(variable).ok()?, None)))
            .or_else(|| find(&self.files, keys))
    }

    /// The program that a setting names. A bare name is left to `PATH`, as cargo does.
    pub(crate) fn program(&self, keys: &[&str]) -> Option<PathBuf> {
        let (text, base) = self.get(keys)?;
        let bare = !text.contains('/');
        (!text.is_empty()).then(|| match base {
            Some(base) if !bare => base.join(text),
            _ => PathBuf::from(text),
        })
    }

    /// The names of the tables in a table, over all files and arguments.
    pub(crate) fn subtables(&self, key: &str) -> Vec<(&str, &Table)> {
        let layers = self.arguments.iter().chain(&self.files);
        layers
            .filter_map(|(_, table)| table.get(key)?.as_table())
            .flatten()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_table()?)))
            .collect()
    }
}

fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(home()?.join(".cargo")))
}

fn read(path: &Path) -> Option<(PathBuf, Table)> {
    let table = std::fs::read_to_string(path).ok()?.parse().ok()?;
    // Relative to the directory that holds `.cargo`.
    let base = path.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    Some((base.to_owned(), table))
}

fn find<'a>(layers: &'a [(PathBuf, Table)], keys: &[&str]) -> Option<(String, Option<&'a Path>)> {
    layers.iter().find_map(|(base, table)| {
        let (last, tables) = keys.split_last()?;
        let table = tables.iter().try_fold(table, |table, key| table.get(*key)?.as_table())?;
        Some((text(table.get(*last)?)?, Some(base.as_path())))
    })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(words) => {
            words.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|words| words.join(" "))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn configured(files: &[(&str, &str)], arguments: &[&str]) -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            fs::write(path, text).expect("a file");
        }
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let config = Config::load(&dir.path().join("work/space"), &arguments);
        (dir, config)
    }

    const KEYS: &[&str] = &["rrtest-check", "rustc-wrapper"];

    #[test]
    fn the_nearest_file_wins() {
        let (dir, config) = configured(
            &[
                ("work/.cargo/config.toml", "rrtest-check.rustc-wrapper = 'tools/near'"),
                (".cargo/config.toml", "[rrtest-check]\nrustc-wrapper = 'far'\nother = 'x'"),
            ],
            &[],
        );
        assert_eq!(config.program(KEYS), Some(dir.path().join("work/tools/near")));
        assert_eq!(config.program(&["rrtest-check", "other"]), Some(PathBuf::from("x")));
        assert_eq!(config.program(&["rrtest-check", "none"]), None);
    }

    #[test]
    fn arguments_win_over_files_and_the_last_argument_over_the_first() {
        let (_dir, config) = configured(
            &[("work/.cargo/config.toml", "rrtest-check.rustc-wrapper = 'file'")],
            &["rrtest-check.rustc-wrapper='first'", "rrtest-check.rustc-wrapper='last'"],
        );
        assert_eq!(config.program(KEYS), Some(PathBuf::from("last")));
    }

    #[test]
    fn an_empty_setting_and_a_broken_file_are_nothing() {
        let (_dir, config) = configured(
            &[
                ("work/space/.cargo/config.toml", "= broken"),
                ("work/.cargo/config.toml", "rrtest-check.rustc-wrapper = ''"),
            ],
            &[],
        );
        assert_eq!(config.program(KEYS), None);
    }
}
