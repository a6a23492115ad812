//! The options that mean what they mean to `cargo test`, and their way back onto cargo's command line.

use std::path::PathBuf;

use clap::Args;

use super::jobs::Jobs;

/// What to build and test.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Package to test (may be given several times)
    #[arg(short, long = "package", value_name = "SPEC", help_heading = "Package selection")]
    packages: Vec<String>,
    /// Test all packages in the workspace
    #[arg(long, alias = "all", help_heading = "Package selection")]
    workspace: bool,
    /// Leave out packages
    #[arg(long, value_name = "SPEC", requires = "workspace", help_heading = "Package selection")]
    exclude: Vec<String>,

    /// Test only this package's library
    #[arg(long, help_heading = "Target selection")]
    lib: bool,
    /// Test all binaries
    #[arg(long, help_heading = "Target selection")]
    bins: bool,
    /// Test only this binary
    #[arg(long, value_name = "NAME", help_heading = "Target selection")]
    bin: Vec<String>,
    /// Test all targets that have tests [default]
    #[arg(long, help_heading = "Target selection")]
    tests: bool,
    /// Test only this integration test
    #[arg(long, value_name = "NAME", help_heading = "Target selection")]
    test: Vec<String>,
    /// Test all examples
    #[arg(long, help_heading = "Target selection")]
    examples: bool,
    /// Test only this example
    #[arg(long, value_name = "NAME", help_heading = "Target selection")]
    example: Vec<String>,
    /// Test all benches
    #[arg(long, help_heading = "Target selection")]
    benches: bool,
    /// Test only this bench
    #[arg(long, value_name = "NAME", help_heading = "Target selection")]
    bench: Vec<String>,
    /// Test all targets (doctests are never recorded)
    #[arg(long, help_heading = "Target selection")]
    all_targets: bool,

    /// Features to activate, separated by spaces or commas
    #[arg(short = 'F', long, help_heading = "Feature selection")]
    features: Vec<String>,
    /// Activate all features
    #[arg(long, help_heading = "Feature selection")]
    all_features: bool,
    /// Do not activate the `default` feature
    #[arg(long, help_heading = "Feature selection")]
    no_default_features: bool,

    /// Build in release mode, with optimizations
    #[arg(short, long, conflicts_with = "profile", help_heading = "Compilation")]
    release: bool,
    /// Build with this profile
    #[arg(long, value_name = "NAME", help_heading = "Compilation")]
    profile: Option<String>,
    /// Build for this target triple (x86-64 Linux only)
    #[arg(long, value_name = "TRIPLE", help_heading = "Compilation")]
    pub(crate) target: Option<String>,
    /// Directory for all generated artifacts; ours go to its subdirectory `rrtest`
    #[arg(long, value_name = "DIR", help_heading = "Compilation")]
    pub(crate) target_dir: Option<PathBuf>,
    /// Build jobs side by side [default: as -j says]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Compilation")]
    pub(crate) build_jobs: Option<Jobs>,
    /// Write a report of how long each unit took to build
    #[arg(long, value_name = "FORMATS", num_args = 0..=1, require_equals = true, default_missing_value = "", help_heading = "Compilation")]
    timings: Option<String>,
    /// Show the report of what future Rust versions will reject
    #[arg(long, help_heading = "Compilation")]
    future_incompat_report: bool,

    /// Path to Cargo.toml
    #[arg(long, value_name = "PATH", help_heading = "Manifest")]
    pub(crate) manifest_path: Option<PathBuf>,
    /// Ignore the `rust-version` of packages
    #[arg(long, help_heading = "Manifest")]
    ignore_rust_version: bool,
    /// Assert that `Cargo.lock` will remain unchanged
    #[arg(long, help_heading = "Manifest")]
    locked: bool,
    /// Run without accessing the network
    #[arg(long, help_heading = "Manifest")]
    offline: bool,
    /// Equivalent to both --locked and --offline
    #[arg(long, help_heading = "Manifest")]
    frozen: bool,
    /// Override a cargo configuration value
    #[arg(long, value_name = "KEY=VALUE|PATH", help_heading = "Manifest")]
    pub(crate) config: Vec<String>,
    /// Unstable (nightly-only) flags to cargo
    #[arg(short = 'Z', value_name = "FLAG", help_heading = "Manifest")]
    unstable: Vec<String>,
}

impl Selection {
    /// The project that is meant where nothing is built.
    pub(crate) fn of_project(manifest_path: Option<PathBuf>, target_dir: Option<PathBuf>) -> Self {
        Self { manifest_path, target_dir, ..Self::default() }
    }

    /// The arguments of `cargo test` that build and run what is selected. `--target` and `--target-dir` are not among
    /// them: the caller has its own. Without a target selection, `--tests`: what `cargo test` runs, without doctests,
    /// which have no executable to record.
    pub(crate) fn test_args(&self) -> Vec<String> {
        let default: &[&str] = if self.names_targets() { &[] } else { &["--tests"] };
        self.args(default)
    }

    /// The arguments of `cargo test` that build what a plain `cargo test` builds beyond that, without running it: the
    /// examples, which tests may start. None if targets are selected.
    pub(crate) fn default_build_args(&self) -> Option<Vec<String>> {
        (!self.names_targets()).then(|| self.args(&["--no-run"]))
    }

    /// Whether `-Z help` is given: cargo then lists the flags that it has, whatever the command.
    pub(crate) fn asks_for_unstable_flags(&self) -> bool {
        self.unstable.iter().any(|flag| flag == "help")
    }

    fn names_targets(&self) -> bool {
        let named = [&self.bin, &self.test, &self.example, &self.bench];
        let all = [self.lib, self.bins, self.tests, self.examples, self.benches, self.all_targets];
        named.iter().any(|names| !names.is_empty()) || all.contains(&true)
    }

    fn args(&self, default_targets: &[&str]) -> Vec<String> {
        let mut args = Vec::new();
        valued(&mut args, "--package", &self.packages);
        flag(&mut args, "--workspace", self.workspace);
        valued(&mut args, "--exclude", &self.exclude);
        flag(&mut args, "--lib", self.lib);
        flag(&mut args, "--bins", self.bins);
        valued(&mut args, "--bin", &self.bin);
        flag(&mut args, "--tests", self.tests);
        valued(&mut args, "--test", &self.test);
        flag(&mut args, "--examples", self.examples);
        valued(&mut args, "--example", &self.example);
        flag(&mut args, "--benches", self.benches);
        valued(&mut args, "--bench", &self.bench);
        flag(&mut args, "--all-targets", self.all_targets);
        args.extend(default_targets.iter().map(|arg| (*arg).to_owned()));
        valued(&mut args, "--features", &self.features);
        flag(&mut args, "--all-features", self.all_features);
        flag(&mut args, "--no-default-features", self.no_default_features);
        flag(&mut args, "--release", self.release);
        valued(&mut args, "--profile", &self.profile);
        valued(&mut args, "--jobs", &self.build_jobs.map(|jobs| jobs.to_string()));
        args.extend(self.timings.iter().map(|formats| match formats.as_str() {
            "" => "--timings".to_owned(),
            formats => format!("--timings={formats}"),
        }));
        flag(&mut args, "--future-incompat-report", self.future_incompat_report);
        flag(&mut args, "--ignore-rust-version", self.ignore_rust_version);
        args.extend(self.manifest_args());
        args
    }

    /// The arguments that every cargo command takes: manifest, lock file, network, configuration.
    pub(crate) fn manifest_args(&self) -> Vec<String> {
        let mut args = Vec::new();
        if let Some(path) = &self.manifest_path {
            args.extend(["--manifest-path".to_owned(), path.display().to_string()]);
        }
        flag(&mut args, "--locked", self.locked);
        flag(&mut args, "--offline", self.offline);
        flag(&mut args, "--frozen", self.frozen);
        valued(&mut args, "--config", &self.config);
        valued(&mut args, "-Z", &self.unstable);
        args
    }
}

fn flag(args: &mut Vec<String>, name: &str, given: bool) {
    if given {
        args.push(name.to_owned());
    }
}

fn valued<'a>(args: &mut Vec<String>, name: &str, values: impl IntoIterator<Item = &'a String>) {
    for value in values {
        args.extend([name.to_owned(), value.clone()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        selection: Selection,
    }

    fn selection(args: &str) -> Selection {
        let cli = Cli::try_parse_from(std::iter::once("x").chain(args.split_whitespace()));
        cli.expect("arguments of cargo test").selection
    }

    fn test_args(args: &str) -> String {
        selection(args).test_args().join(" ")
    }

    #[test]
    fn tests_are_the_default_target_selection() {
        assert_eq!(test_args(""), "--tests");
        assert_eq!(test_args("-p a --package b"), "--package a --package b --tests");
        assert_eq!(test_args("--test it"), "--test it");
        assert_eq!(test_args("--lib --bin b"), "--lib --bin b");
    }

    #[test]
    fn examples_are_built_where_no_targets_are_selected() {
        let args = |args| selection(args).default_build_args().map(|args| args.join(" "));
        assert_eq!(args("-p a -r").as_deref(), Some("--package a --no-run --release"));
        assert_eq!(args("--test it"), None);
        assert_eq!(args("--all-targets"), None);
    }

    #[test]
    fn everything_else_is_passed_on() {
        assert_eq!(
            test_args(
                "--workspace --exclude x -F a,b --no-default-features -r --build-jobs 3 --timings \
                 --future-incompat-report --ignore-rust-version --locked -Z unstable"
            ),
            "--workspace --exclude x --tests --features a,b --no-default-features --release --jobs 3 --timings \
             --future-incompat-report --ignore-rust-version --locked -Z unstable"
        );
    }

    #[test]
    fn target_and_target_dir_are_the_callers() {
        assert_eq!(
            test_args("--target x86_64-unknown-linux-musl --target-dir d --profile p"),
            "--tests --profile p"
        );
    }
}
