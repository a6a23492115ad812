//! Which of several sources a setting is taken from: the command line, the environment, the profile, the option's own default.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::file::{Entry, Files, Place, Value};
use super::overrides::{self, Overrides};
use super::profiles::{self, DEFAULT, Profile};
use crate::base::exit::CliError;
use crate::base::words::{likeness, nearest};

/// The option that chooses a profile, and its variable.
const PROFILE_OPTION: &str = "profile_rrtest";
const PROFILE_VARIABLE: &str = "RRTEST_PROFILE";

/// The groups of `run`'s options that can be set elsewhere. What to build is for cargo's own configuration to say.
const HEADINGS: &[&str] = &["Attempts", "Test selection", "Recording", "Report"];

/// Options in these groups that belong to one command line.
const NOT_SETTINGS: &[&str] = &["color", "verbose", "quiet", "profile-rrtest"];

/// Settings that are paths: in a file, relative to the workspace root.
const PATHS: &[&str] = &["trace-dir", "junit"];

/// Settings that hold for `exec`, too: what a trace may hold and where it goes.
const OF_EXEC: &[&str] =
    &["trace-dir", "trace-limit", "pass-env", "hide-env", "with-sources", "no-debug-info"];

/// The setting that holds for every command that looks for traces.
const OF_ALL: &str = "trace-dir";

/// Commands that all settings are for.
const FULL: &[&str] = &["run", "show-config"];

/// Why there are no settings.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The command line is wrong, or asks for help.
    CommandLine(clap::Error),
    /// A file or a variable is.
    Setting(CliError),
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        Self::CommandLine(error)
    }
}

impl From<CliError> for Refusal {
    fn from(error: CliError) -> Self {
        Self::Setting(error)
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    CommandLine,
    /// This variable.
    Environment(String),
    File(Place),
    /// The option's own default.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment(name) => f.write_str(name),
            Self::File(Place { file, line, key }) => {
                write!(f, "{file}:{line} ({})", key.rsplit_once('.').map_or(key.as_str(), |(table, _)| table))
            }
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting's value.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) key: String,
    /// As an option has it; empty if there is none.
    pub(crate) value: String,
    pub(crate) source: Source,
    /// Stronger ones are less: the command line, the environment, the profile, what that stands on, the default.
    rank: usize,
}

/// What applies to a command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// The profile.
    pub(crate) profile: String,
    /// All settings, in the order of the options' help.
    pub(crate) all: Vec<Setting>,
    /// What is said of single tests.
    pub(crate) overrides: Overrides,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
}

/// The surroundings that settings are taken from.
pub(crate) struct Surroundings<'a> {
    pub(crate) cwd: &'a Path,
    /// The environment.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The names in it.
    pub(crate) names: Vec<String>,
}

/// The options that can be set, by what comes after their `--`.
pub(crate) fn keys(cli: &Command) -> Vec<&str> {
    settable(cli).filter_map(Arg::get_long).collect()
}

fn settable(cli: &Command) -> impl Iterator<Item = &Arg> {
    let run = cli.find_subcommand("run");
    run.into_iter().flat_map(Command::get_arguments).filter(|arg| {
        let heading = arg.get_help_heading().is_some_and(|heading| HEADINGS.contains(&heading));
        heading && arg.get_long().is_some_and(|long| !NOT_SETTINGS.contains(&long))
    })
}

/// Put what is set elsewhere into a command line, where that does not say otherwise. `args` begins with the name of a command, if it
/// has one.
pub(crate) fn apply(
    cli: &Command,
    args: Vec<OsString>,
    surroundings: &Surroundings<'_>,
) -> Result<(Vec<OsString>, Settings), Refusal> {
    let flags: Vec<_> = settable(cli).filter(|arg| is_flag(arg)).filter_map(Arg::get_long).collect();
    let (mut args, taken_back) = take_back(args, &flags);
    let matches = cli.clone().try_get_matches_from([OsString::from("cargo-rrtest")].iter().chain(&args))?;
    let (command, given) = match matches.subcommand() {
        Some((name, matches)) => (name, matches),
        None => ("run", &matches),
    };
    let of_command = |key: &str| {
        let takes = |long: &str| {
            let command = cli.find_subcommand(command);
            command.is_some_and(|command| command.get_arguments().any(|arg| arg.get_long() == Some(long)))
        };
        match command {
            _ if FULL.contains(&command) => true,
            "exec" => OF_EXEC.contains(&key),
            _ => key == OF_ALL && takes(key),
        }
    };
    let wanted: Vec<&Arg> = settable(cli).filter(|arg| arg.get_long().is_some_and(of_command)).collect();
    if wanted.is_empty() {
        return Ok((args, Settings::default()));
    }
    let manifest = given.try_get_one::<std::path::PathBuf>("manifest_path").ok().flatten();
    let files = Files::find(surroundings.cwd, manifest.map(std::path::PathBuf::as_path))?;
    let names = keys(cli);
    let mut profiles = Vec::new();
    for document in files.iter().flat_map(|files| &files.documents) {
        profiles.extend(profiles::read(document, &names)?);
    }
    check(cli, &profiles)?;
    let variable = |name: &str| (surroundings.variable)(name).filter(|value| !value.is_empty());
    let profile = match given.try_get_one::<String>(PROFILE_OPTION).ok().flatten() {
        Some(name) => name.clone(),
        None => {
            variable(PROFILE_VARIABLE).map_or(DEFAULT.to_owned(), |name| name.to_string_lossy().into_owned())
        }
    };
    let chain = profiles::chain(&profiles, &profile)?;
    let in_chain =
        || chain.iter().flat_map(|name| profiles.iter().filter(move |profile| profile.name == *name));

    let mut all = Vec::new();
    let mut words: Vec<Vec<String>> = Vec::new();
    for arg in &wanted {
        let key = arg.get_long().unwrap_or_default();
        let resolved = resolve(cli, arg, given, &taken_back, &variable, in_chain(), files.as_ref())?;
        let Resolved { value, source, rank, .. } = resolved;
        all.push(Setting { key: key.to_owned(), value, source, rank });
        words.push(resolved.words);
    }
    drop_conflicts(cli, &wanted, &mut all, &mut words);
    let at = usize::from(matches.subcommand_name().is_some());
    let more: Vec<OsString> = words.into_iter().flatten().map(OsString::from).collect();
    args.splice(at..at, more);

    let stronger = |key: &&str| {
        let source = all.iter().find(|setting| setting.key == **key).map(|setting| &setting.source);
        matches!(source, Some(Source::CommandLine | Source::Environment(_)))
    };
    let overrides = Overrides {
        all: in_chain().flat_map(|profile| profile.overrides.iter().cloned()).collect(),
        weaker_than_options: overrides::keys().filter(stronger).collect(),
    };
    let warnings = misspelt(&names, &surroundings.names);
    Ok((args, Settings { profile, all, overrides, warnings }))
}

/// A value, and the arguments that stand for it if it is not on the command line.
struct Resolved {
    value: String,
    source: Source,
    rank: usize,
    words: Vec<String>,
}

fn resolve<'a>(
    cli: &Command,
    arg: &Arg,
    given: &ArgMatches,
    taken_back: &[String],
    variable: &dyn Fn(&str) -> Option<OsString>,
    chain: impl Iterator<Item = &'a Profile>,
    files: Option<&Files>,
) -> Result<Resolved, CliError> {
    let key = arg.get_long().unwrap_or_default();
    let done = |value: String, source: Source, rank, words| Ok(Resolved { value, source, rank, words });
    if taken_back.iter().any(|taken| taken == key) {
        return done("false".to_owned(), Source::CommandLine, 0, Vec::new());
    }
    let id = arg.get_id().as_str();
    let is_given = given.try_contains_id(id).unwrap_or(false)
        && given.value_source(id) == Some(ValueSource::CommandLine);
    if is_given {
        let raw = given.get_raw(id).into_iter().flatten().map(|value| value.to_string_lossy());
        let value = if is_flag(arg) { "true".to_owned() } else { raw.collect::<Vec<_>>().join(",") };
        return done(value, Source::CommandLine, 0, Vec::new());
    }
    let name = variable_of(key);
    if let Some(text) = variable(&name) {
        let mistake = |what: String| CliError::usage(format!("the environment variable {name}: {what}"));
        let text = text.into_string().map_err(|_| mistake("it is not UTF-8".to_owned()))?;
        let value = if is_flag(arg) { flag(&text).map_err(mistake)? } else { Value::Text(text) };
        let words = words(arg, &value).map_err(mistake)?;
        accepts(cli, &words).map_err(mistake)?;
        return done(in_words(&value), Source::Environment(name), 1, words);
    }
    let settings = chain
        .enumerate()
        .flat_map(|(depth, profile)| profile.settings.iter().map(move |(name, entry)| (depth, name, entry)));
    if let Some((depth, _, entry)) = settings.into_iter().find(|(_, name, _)| *name == key) {
        let value = match (&entry.value, files) {
            (Value::Text(path), Some(files)) if PATHS.contains(&key) => {
                Value::Text(files.root.join(path).display().to_string())
            }
            (value, _) => value.clone(),
        };
        let words = words(arg, &value).map_err(|what| entry.place.mistake(what))?;
        return done(in_words(&entry.value), Source::File(entry.place.clone()), 2 + depth, words);
    }
    let defaults = arg.get_default_values().iter().map(|value| value.to_string_lossy());
    let value = if is_flag(arg) { "false".to_owned() } else { defaults.collect::<Vec<_>>().join(",") };
    done(value, Source::Default, usize::MAX, Vec::new())
}

/// Refuse values that an option would not take, of all profiles: a mistake shows before its profile is used.
fn check(cli: &Command, profiles: &[Profile]) -> Result<(), CliError> {
    for (key, Entry { place, value }) in profiles.iter().flat_map(|profile| &profile.settings) {
        let Some(arg) = settable(cli).find(|arg| arg.get_long() == Some(key)) else { continue };
        let words = words(arg, value).map_err(|what| place.mistake(what))?;
        accepts(cli, &words).map_err(|what| place.mistake(what))?;
    }
    Ok(())
}

/// Whether `run` takes these arguments; if not, what is wrong with them.
fn accepts(cli: &Command, words: &[String]) -> Result<(), String> {
    let all = ["cargo-rrtest", "run"].into_iter().chain(words.iter().map(String::as_str));
    let Err(error) = cli.clone().try_get_matches_from(all) else { return Ok(()) };
    let text = error.to_string();
    let told: Vec<_> = text.lines().take_while(|line| !line.is_empty()).collect();
    let told = told.join("\n").trim_start_matches("error: ").to_owned();
    // It is named by its key, not as an option.
    let (Some(start), Some(end)) = (told.find(" for '--"), told.rfind(">'")) else { return Err(told) };
    Err(format!("{}{}", &told[..start], &told[end + 2..]))
}

/// Drop what cannot be combined with something stronger.
fn drop_conflicts(cli: &Command, args: &[&Arg], all: &mut [Setting], words: &mut [Vec<String>]) {
    let Some(run) = cli.find_subcommand("run") else { return };
    let conflict = |one: &Arg, other: &Arg| {
        let is = |one: &Arg, other: &Arg| {
            run.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id())
        };
        is(one, other) || is(other, one)
    };
    let is_set = |setting: &Setting| setting.source != Source::Default && setting.value != "false";
    for weak in 0..all.len() {
        let is_stronger = |strong: &usize| {
            is_set(&all[*strong]) && all[*strong].rank < all[weak].rank && conflict(args[weak], args[*strong])
        };
        if is_set(&all[weak]) && (0..all.len()).any(|strong| is_stronger(&strong)) {
            words[weak].clear();
            all[weak].source = Source::Default;
            all[weak].value = String::new();
        }
    }
}

/// The arguments without `--FLAG=false` and `--FLAG=true`, and the flags that are taken back.
fn take_back(args: Vec<OsString>, flags: &[&str]) -> (Vec<OsString>, Vec<String>) {
    let mut taken_back = Vec::new();
    let mut others = Vec::new();
    let mut ours = true;
    for arg in args {
        ours &= arg != "--";
        let said = arg.to_str().filter(|_| ours).and_then(|arg| arg.strip_prefix("--")?.split_once('='));
        match said.filter(|(flag, _)| flags.contains(flag)) {
            Some((flag, "false")) => taken_back.push(flag.to_owned()),
            Some((flag, "true")) => others.push(format!("--{flag}").into()),
            _ => others.push(arg),
        }
    }
    (others, taken_back)
}

fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn takes_several(arg: &Arg) -> bool {
    arg.get_value_delimiter().is_some() || matches!(arg.get_action(), ArgAction::Append)
}

/// The variable that a setting has.
pub(crate) fn variable_of(key: &str) -> String {
    format!("RRTEST_{}", key.to_uppercase().replace('-', "_"))
}

fn flag(text: &str) -> Result<Value, String> {
    match text {
        "1" | "true" => Ok(Value::Flag(true)),
        "0" | "false" => Ok(Value::Flag(false)),
        _ => Err(format!("`{text}` is neither true (1) nor false (0)")),
    }
}

fn in_words(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Flag(flag) => flag.to_string(),
        Value::List(list) => list.join(","),
        Value::Other => String::new(),
    }
}

/// The arguments for a value.
fn words(arg: &Arg, value: &Value) -> Result<Vec<String>, String> {
    let key = arg.get_long().unwrap_or_default();
    let one = |value: &String| format!("--{key}={value}");
    match value {
        Value::Flag(flag) if is_flag(arg) => Ok(flag.then(|| format!("--{key}")).into_iter().collect()),
        _ if is_flag(arg) => Err("expected true or false".to_owned()),
        Value::Text(text) => Ok(vec![one(text)]),
        // Surprises are a list in one word.
        Value::List(list) if takes_several(arg) && arg.get_value_delimiter().is_none() => {
            Ok(list.iter().map(one).collect())
        }
        Value::List(list) if takes_several(arg) || key == "surprises" => Ok(vec![one(&list.join(","))]),
        Value::List(_) => Err("expected one value, not a list".to_owned()),
        Value::Flag(_) | Value::Other => Err("expected a string or a number".to_owned()),
    }
}

/// Warnings of variables that look like one of ours.
fn misspelt(keys: &[&str], names: &[String]) -> Vec<String> {
    /// Others may have variables whose names begin like ours: only what is very much like one is told.
    const VERY_MUCH: f64 = 0.9;
    let known: Vec<String> =
        keys.iter().map(|key| variable_of(key)).chain([PROFILE_VARIABLE.to_owned()]).collect();
    let unknown = names.iter().filter(|name| name.starts_with("RRTEST_") && !known.contains(name));
    let told = unknown.filter_map(|name| {
        let suffix = |name: &str| name["RRTEST_".len()..].to_owned();
        let suffixes: Vec<_> = known.iter().map(|known| suffix(known)).collect();
        let like = nearest(&suffix(name), suffixes.iter().map(String::as_str))?;
        (likeness(&suffix(name), like) > VERY_MUCH)
            .then(|| format!("the environment variable {name} is not known; did you mean RRTEST_{like}?"))
    });
    told.collect()
}

/// The environment that we have.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// The names of all variables in it that are text.
pub(crate) fn variable_names() -> Vec<String> {
    env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}
