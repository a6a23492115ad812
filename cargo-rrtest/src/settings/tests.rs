//! Settings in files and in the environment, and the mistakes in them.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Command;

use super::layers::{self, Refusal, Settings, Surroundings};
use super::show;

/// The command line, without what is not ours to know.
fn cli() -> Command {
    use clap::{Arg, ArgAction};
    let text = |long: &'static str, heading| Arg::new(long).long(long).help_heading(heading);
    let flag = |long: &'static str, heading| text(long, heading).action(ArgAction::SetTrue);
    let duration = |text: &str| crate::base::words::parse_duration(text);
    let run = || {
        [
            text("profile-rrtest", "Attempts").id("profile_rrtest").short('P'),
            flag("until-fail", "Attempts"),
            text("runs", "Attempts").value_parser(clap::value_parser!(u64).range(1..)),
            text("timeout", "Recording").value_name("DURATION").value_parser(duration),
            text("strategy", "Recording").value_delimiter(',').conflicts_with("no-chaos"),
            flag("no-chaos", "Recording"),
            text("keep", "Recording")
                .value_name("WHICH")
                .value_parser(["on-failure", "always"])
                .default_value("on-failure"),
            text("trace-dir", "Recording"),
            text("filterset", "Test selection").short('E').action(ArgAction::Append),
            text("features", "Feature selection"),
            Arg::new("name"),
        ]
    };
    Command::new("cargo-rrtest")
        .args(run())
        .args_conflicts_with_subcommands(true)
        .subcommand(Command::new("run").args(run()))
        .subcommand(Command::new("show-config").args(run()))
        .subcommand(Command::new("ls").arg(Arg::new("trace-dir").long("trace-dir")))
        .subcommand(Command::new("doctor"))
}

struct Project {
    dir: tempfile::TempDir,
    variables: BTreeMap<String, OsString>,
}

impl Project {
    fn new(config: &str) -> Self {
        Self::with(config, "")
    }

    fn with(config: &str, manifest: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
            std::fs::write(path, text).expect("a file");
        };
        let package = "[package]\nname = \"p\"\nedition = \"2024\"\n[workspace]\n";
        write("Cargo.toml", &format!("{package}{manifest}"));
        write("src/lib.rs", "");
        if !config.is_empty() {
            write(".config/rrtest.toml", config);
        }
        Self { dir, variables: BTreeMap::new() }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    fn apply(&self, args: &str) -> Result<(Vec<String>, Settings), String> {
        let args = args.split_whitespace().map(OsString::from).collect();
        let surroundings = Surroundings {
            cwd: &self.dir.path().join("src"),
            variable: &|name| self.variables.get(name).cloned(),
            names: self.variables.keys().cloned().collect(),
        };
        match layers::apply(&cli(), args, &surroundings) {
            Ok((args, settings)) => {
                let args = args.into_iter().map(|arg| arg.into_string().expect("text"));
                Ok((args.collect(), settings))
            }
            Err(Refusal::CommandLine(error)) => Err(error.to_string()),
            Err(Refusal::Setting(stop)) => Err(stop.message.unwrap_or_default()),
        }
    }

    fn args(&self, args: &str) -> String {
        self.apply(args).unwrap_or_else(|error| panic!("{error}")).0.join(" ")
    }
}

const CONFIG: &str = "
[profile.default]
timeout = '30s'
strategy = ['surw', 'pct']
runs = 3

[[profile.default.overrides]]
filter = 'test(slow) and binary(it)'
timeout = '5m'
surprises = 'none'

[[profile.default.overrides]]
filter = 'test(db)'
serial-group = 'db'
timeout = '1m'

[profile.ci]
until-fail = true
timeout = '60s'

[profile.nightly]
inherits = 'ci'
no-chaos = true
filterset = ['test(a)', 'test(b)']
";

#[test]
fn profiles_stand_on_others_and_the_command_line_wins() {
    let project = Project::new(CONFIG);
    assert_eq!(project.args(""), "--runs=3 --timeout=30s --strategy=surw,pct");
    assert_eq!(
        project.args("run -P ci name"),
        "run --until-fail --runs=3 --timeout=60s --strategy=surw,pct -P ci name"
    );
    assert_eq!(project.args("--timeout 1s --runs 9"), "--strategy=surw,pct --timeout 1s --runs 9");
    assert_eq!(
        project.args("-P nightly --until-fail=false"),
        "--runs=3 --timeout=60s --no-chaos --filterset=test(a) --filterset=test(b) -P nightly"
    );
}

#[test]
fn what_cannot_be_combined_gives_way_to_what_is_stronger() {
    let project = Project::new(CONFIG);
    assert_eq!(project.args("--no-chaos"), "--runs=3 --timeout=30s --no-chaos");
    let project = project.variable("RRTEST_NO_CHAOS", "1");
    assert_eq!(project.args(""), "--runs=3 --timeout=30s --no-chaos");
    assert_eq!(project.args("--strategy pct"), "--runs=3 --timeout=30s --strategy pct");
}

#[test]
fn the_environment_is_between_files_and_the_command_line() {
    let project = Project::new(CONFIG)
        .variable("RRTEST_PROFILE", "ci")
        .variable("RRTEST_TIMEOUT", "7s")
        .variable("RRTEST_UNTIL_FAIL", "false")
        .variable("RRTEST_RUNS", "");
    assert_eq!(project.args("name"), "--runs=3 --timeout=7s --strategy=surw,pct name");
    assert_eq!(project.args("--until-fail"), "--runs=3 --timeout=7s --strategy=surw,pct --until-fail");
    let message = |name, value| Project::new("").variable(name, value).apply("").expect_err("a mistake");
    insta::assert_snapshot!(
        [
            message("RRTEST_TIMEOUT", "soon"),
            message("RRTEST_UNTIL_FAIL", "perhaps"),
            message("RRTEST_KEEP", "all")
        ]
        .join("\n")
    );
}

#[test]
fn variables_that_are_almost_ours_are_told() {
    let project = Project::new("").variable("RRTEST_TIMOUT", "7s").variable("RRTEST_SLOW", "1");
    let warnings = project.apply("").expect("settings").1.warnings;
    assert_eq!(
        warnings,
        ["the environment variable RRTEST_TIMOUT is not known; did you mean RRTEST_TIMEOUT?"]
    );
}

#[test]
fn a_manifest_can_have_settings_too() {
    let manifest = "[workspace.metadata.rrtest.profile.default]\nruns = 5\nkeep = 'always'\n";
    assert_eq!(Project::with("", manifest).args(""), "--runs=5 --keep=always");
    assert_eq!(
        Project::with("profile.default.runs = 2", manifest).args(""),
        "--runs=2 --keep=always",
        "the file is stronger"
    );
    assert_eq!(Project::new("").args("x"), "x");
}

#[test]
fn paths_in_files_are_relative_to_the_root_and_hold_for_all_commands() {
    let project = Project::new("profile.default.trace-dir = 'traces'");
    let root = project.dir.path().canonicalize().expect("a directory");
    let dir = format!("--trace-dir={}", root.join("traces").display());
    assert_eq!(project.args(""), dir);
    assert_eq!(project.args("ls"), format!("ls {dir}"));
    assert_eq!(project.args("ls --trace-dir x"), "ls --trace-dir x");
    assert_eq!(project.args("doctor"), "doctor");
}

#[test]
fn settings_of_single_tests() {
    use crate::discover::test::{Test, sample};
    let rules = |args: &str, name: &str| {
        let (_, settings) = Project::new(CONFIG).apply(args).expect("settings");
        let mut test = Test { name: Some(name.into()), ..sample() };
        settings.overrides.apply(&mut test);
        (
            test.rules.timeout.map(|time| time.as_secs()),
            test.rules.surprises.is_some(),
            test.rules.serial_group,
        )
    };
    assert_eq!(rules("", "quick"), (None, false, None));
    assert_eq!(rules("", "slow"), (Some(300), true, None));
    assert_eq!(rules("-P ci", "slow_db"), (Some(300), true, Some("db".into())), "what comes first wins");
    assert_eq!(rules("--timeout 1s", "slow_db"), (None, true, Some("db".into())));
}

#[test]
fn show_config() {
    let project = Project::new(CONFIG).variable("RRTEST_KEEP", "always");
    let text = |args: &str| show::text(&project.apply(args).expect("settings").1);
    insta::assert_snapshot!(
        [text("show-config"), text("show-config -P nightly --timeout 9s")].join("\n--\n\n")
    );
}

#[test]
fn mistakes_name_the_file_the_line_and_the_key() {
    let configs = [
        "[profile.default]\nruns = 3\ntimout = '30s'",
        "[profile.default]\ntimeout = 'soon'",
        "[profile.ci]\nruns = 0",
        "[profile.default]\n\nruns = [1, 2]",
        "[profile.default]\nuntil-fail = 'yes'",
        "[profile.default]\nkeep = 'all'",
        "[profile.default]\nfeatures = 'x'",
        "[profiles.default]\nruns = 3",
        "runs = 3",
        "profile = 3",
        "[profile.default\nruns = 3",
        "[profile.ci]\ninherits = 'nigtly'\n[profile.nightly]\n",
        "[profile.ci]\ninherits = 'nightly'\n[profile.nightly]\ninherits = 'ci'",
        "[profile.default.overrides]\nfilter = 'all()'",
        "[[profile.default.overrides]]\ntimeout = '3s'",
        "[[profile.default.overrides]]\nfilter = 'tset(x)'",
        "[[profile.default.overrides]]\nfilter = 'test(x)'\ntimeot = '3s'",
        "[[profile.default.overrides]]\nfilter = 'test(x)'\ntimeout = 'x'",
        "[[profile.default.overrides]]\nfilter = 'test(x)'\nstrategy = 'luck'",
        "[[profile.default.overrides]]\nfilter = 'test(x)'\nstrategy = ['systematic']",
        "[[profile.default.overrides]]\nfilter = 'test(x)'\nsurprises = 'luck'",
        "[[profile.default.overrides]]\nfilter = 'test(x)'\nserial-group = ['a']",
    ];
    let all = configs.map(|config| {
        let project = Project::new(config);
        let error = project.apply("").err().or_else(|| project.apply("-P ci").err());
        format!("{config}\n--> {}\n\n", error.unwrap_or_else(|| "accepted".into()))
    });
    insta::assert_snapshot!(all.concat());
    let error = Project::new(CONFIG).apply("-P cii").expect_err("no such profile");
    assert!(error.starts_with("there is no profile `cii`; did you mean `ci`?\n"), "{error}");
}
