//! Tests of the command line.

use super::*;
use std::process::Command as Process;

use rrtest_engine::record::Time;
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::schedule::surprise::Surprise;

fn parse(args: &str) -> Result<Cli, clap::Error> {
    Cli::parse_ordered(Cli::in_order(args.split_whitespace().map(Into::into).collect())?)
}

const NONSENSE: &[&str] = &[
    "--runs 0",
    "--for 0s",
    "--for soon",
    "-j 0",
    "--seed x",
    "--bogus",
    "--doc",
    "run -p x --unit-graph",
    "--message-format json-render-diagnostics",
    "--message-format jsn",
    "--shard 4",
    "--shard 5/4",
    "--partition 1/4",
    "--never-ran maybe",
    "--trace-limit 5",
    "-E tset(x)",
    "--surprises luck",
    "--strategy luck",
    "--no-chaos --strategy walk",
    "--time flies",
    "--preempt never",
    "exec",
    "exec --chaos --no-chaos -- true",
    "rm",
    "rm --all some",
    "merge",
];

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_fits_into_80_columns() {
    let mut commands = vec![Cli::command()];
    commands.extend(Cli::command().get_subcommands().cloned());
    for command in commands {
        let help = command.term_width(80).render_long_help().to_string();
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn help() {
    let mut cli = Cli::command();
    // Otherwise commands do not know that they are commands of `cargo rrtest`.
    cli.build();
    let mut commands = vec![cli.clone()];
    commands.extend(cli.get_subcommands().filter(|c| !["run", "help"].contains(&c.get_name())).cloned());
    for command in commands {
        let name = command.get_name().to_owned();
        insta::assert_snapshot!(format!("help-{name}"), command.term_width(80).render_long_help());
    }
}

#[test]
fn errors() {
    let message = |args: &str| {
        let error = parse(args).expect_err(args);
        format!("$ cargo rrtest {args}\n{error}\n")
    };
    let all = NONSENSE.iter().map(|args| message(args));
    insta::assert_snapshot!(all.collect::<String>());
}

/// The options that the toolchain's own `cargo test --help` lists.
fn options_of_cargo_test() -> Vec<String> {
    let help = Process::new(env!("CARGO")).args(["test", "--help"]).output().expect("cargo");
    let help = String::from_utf8(help.stdout).expect("text");
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = lines.flat_map(|line| line.split("  ").next().unwrap_or_default().split([' ', ',', '.']));
    words.filter(|word| word.starts_with('-')).map(str::to_owned).collect()
}

#[test]
fn every_option_of_cargo_test_is_known_or_refused_in_its_own_words() {
    let options = options_of_cargo_test();
    assert!(options.len() > 30 && options.contains(&"--no-fail-fast".to_owned()), "{options:?}");
    let cli = Cli::command();
    let run = cli.find_subcommand("run").expect("a command").clone();
    let is_known = |option: &str| {
        run.get_arguments().chain(cli.get_arguments()).any(|arg| match option.strip_prefix("--") {
            Some(long) => {
                arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&long))
                    || arg.get_all_aliases().is_some_and(|names| names.contains(&long))
            }
            None => arg.get_short() == option.chars().nth(1),
        })
    };
    for option in options.iter().filter(|option| !["--help", "-h"].contains(&option.as_str())) {
        let refused = REFUSED.iter().any(|(refused, _)| refused == option);
        assert!(is_known(option) != refused, "{option} is to be taken, or refused with what to do");
    }
}

#[test]
fn what_cargo_test_takes_is_taken() {
    for args in [
        "--no-fail-fast",
        "--timings",
        "--timings=html name",
        "--ignore-rust-version",
        "--message-format short",
        "--future-incompat-report",
        "--keep-going --until-fail",
        "-j 3 name",
        "-j default",
        "--jobs=-1",
        "-j -1",
        "--all",
    ] {
        parse(args).unwrap_or_else(|error| panic!("{args}: {error}"));
    }
}

#[test]
fn jobs_are_for_the_build_and_for_attempts() {
    let run = |args: &str| parse(args).expect("arguments").run;
    let both =
        |args: &str| (run(args).selection().build_jobs.map(|jobs| jobs.on(8)), run(args).slots(None, 8));
    assert_eq!(both(""), (None, 8));
    assert_eq!(both("-j3"), (Some(3), 3));
    assert_eq!(both("-j-2"), (Some(6), 6));
    assert_eq!(both("-j3 --build-jobs 5"), (Some(5), 3));
    assert_eq!(both("-j3 --side-by-side 20"), (Some(3), 20));
    assert_eq!(run("-j3").slots(Some(1), 8), 1);
    assert_eq!(run("-j3 --together").slots(Some(1), 8), 3);
}

#[test]
fn run_may_be_omitted() {
    let cli = parse("--until-fail --for 10m some_test -- --exact").expect("arguments");
    assert!(cli.command.is_none() && cli.run.until_fail);
    assert_eq!(cli.run.name.as_deref(), Some("some_test"));
    assert_eq!(cli.run.args, ["--exact"]);
    let cli = parse("run --runs 3 replay").expect("arguments");
    let Some(Command::Run(run)) = cli.command else { panic!("{cli:?}") };
    assert_eq!((run.runs, run.name.as_deref()), (Some(3), Some("replay")));
}

#[test]
fn every_command_takes_the_global_options() {
    for args in [
        "--color never",
        "--color never run",
        "run --color never",
        "replay --color never some",
        "--color never replay some",
        "ls --color never",
        "show --color never",
        "rm --all --color never",
        "exec --color never -- true",
        "doctor --color never",
    ] {
        let cli = parse(args).unwrap_or_else(|error| panic!("{args}: {error}"));
        assert_eq!(cli.color, Some(ColorChoice::Never), "{args}");
    }
}

#[test]
fn levels() {
    let more = |args| parse(args).expect("arguments").run.more_levels();
    assert!(more("--until-fail") && more("--for 1m") && more("--until-fail --runs 500"));
    assert!(!more("") && !more("--runs 5") && !more("--until-fail --seed 1"));
    assert!(!more("--until-fail --preempt sync") && !more("--until-fail --no-chaos"));
}

#[test]
fn strategies() {
    let cli = parse("--strategy pct,fair").expect("arguments");
    assert_eq!(cli.run.strategies(), [StrategyName::Pct, StrategyName::Fair]);
    assert_eq!(parse("--no-chaos").expect("arguments").run.strategies(), [StrategyName::Fair]);
    assert!(parse("--strategy luck").is_err());
    assert!(parse("--no-chaos --strategy walk").is_err());
}

#[test]
fn exec_is_fair_unless_told_otherwise() {
    let strategies = |args: &str| {
        let cli = parse(&format!("exec {args} -- true")).expect("arguments");
        let Some(Command::Exec(exec)) = cli.command else { panic!("{cli:?}") };
        exec.strategies()
    };
    assert_eq!(strategies(""), [StrategyName::Fair]);
    assert_eq!(strategies("--no-chaos --seed 1"), [StrategyName::Fair]);
    assert_eq!(strategies("--strategy walk,pct"), [StrategyName::Walk, StrategyName::Pct]);
    assert_eq!(strategies("--chaos"), []);
    assert_eq!(strategies("--seed 1"), [], "a seed names its strategy");
    assert!(parse("exec --chaos --no-chaos -- true").is_err());
}

#[test]
fn time_and_surprises() {
    let recording = |args: &str| parse(args).expect("arguments").run.recording;
    let default = recording("");
    assert_eq!((default.time, default.surprises), (Time::Real, None));
    let given = recording("--time virtual --surprises early,late");
    let kinds = [Surprise::Early, Surprise::Late].into_iter().collect();
    assert_eq!((given.time, given.surprises), (Time::Virtual, Some(kinds)));
}
