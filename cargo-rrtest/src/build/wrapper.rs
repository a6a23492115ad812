//! As `RUSTC_WRAPPER`: cargo calls us in rustc's place, and we call rustc with the flags of the instrumented build.
//!
//! So RUSTFLAGS and cargo's configuration stay the user's, and build scripts and proc-macros, which cargo compiles
//! without `--target` when one is given, stay as they are.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::config::Config;
use super::front_end;
use crate::base::exit::CliError;
use crate::base::group;
use crate::discover::runner;

/// The environment variable that carries an [`Order`] from us to us, through cargo.
pub(crate) const VARIABLE: &str = "__RRTEST_WRAPPER";

/// What the wrapper is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// What to add for units that are compiled for the target.
    pub(crate) flags: Vec<String>,
    /// What to add for those of them that are linked.
    pub(crate) link_flags: Vec<String>,
    /// What to add for others that are linked: build scripts and proc-macros.
    pub(crate) host_link_flags: Vec<String>,
    /// The wrapper that the user has.
    pub(crate) chain: Option<PathBuf>,
    /// Whether the compiler is not to outlive the cargo that calls it.
    pub(crate) in_background: bool,
}

impl Order {
    /// The order in the environment, if cargo has called us as its wrapper.
    pub(crate) fn from_env() -> Option<Self> {
        serde_json::from_str(&env::var(VARIABLE).ok()?).ok()
    }

    /// Become the compiler. `args` is rustc's path and what follows it. Returns only on failure.
    pub(crate) fn execute(&self, args: &[OsString]) -> CliError {
        let mut words =
            self.chain.iter().map(|chain| chain.as_os_str()).chain(args.iter().map(OsString::as_os_str));
        let Some(program) = words.next() else {
            return CliError::usage("called as a rustc wrapper without a command");
        };
        let mut command = Command::new(program);
        command.args(words);
        let linked = |flags| Some(flags).filter(|_| is_linked(args)).into_iter().flatten();
        match unit(args) {
            Unit::Target => command.args(&self.flags).args(linked(&self.link_flags)),
            Unit::Host => command.args(linked(&self.host_link_flags)),
            Unit::None => &mut command,
        };
        if self.in_background {
            group::end_with_parent();
        }
        let error = command.exec();
        CliError::os(format!("cannot run `{}`", program.display()), &error)
    }
}

/// What a command compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// A unit for the target.
    Target,
    /// One for the machine that builds.
    Host,
    /// Nothing: it asks the compiler something.
    None,
}

/// What this command compiles. Cargo puts arguments into a file when they are very long.
fn unit(args: &[OsString]) -> Unit {
    let asks = |arg: &OsStr| arg == "-vV" || arg.as_encoded_bytes().starts_with(b"--print");
    let names_target = |arg: &OsStr| arg == "--target" || arg.as_encoded_bytes().starts_with(b"--target=");
    let names_target_in_file = |arg: &OsStr| {
        arg.to_str().and_then(|arg| arg.strip_prefix('@')).is_some_and(|file| {
            std::fs::read_to_string(file)
                .is_ok_and(|text| text.lines().any(|line| names_target(OsStr::new(line))))
        })
    };
    if args.iter().any(|arg| asks(arg)) {
        Unit::None
    } else if args.iter().any(|arg| names_target(arg) || names_target_in_file(arg)) {
        Unit::Target
    } else {
        Unit::Host
    }
}

/// Whether what a command compiles is linked: a program or a library that stands alone, not one for other crates.
fn is_linked(args: &[OsString]) -> bool {
    let mut types = Vec::new();
    let mut words = args.iter().map(|arg| arg.to_str().unwrap_or_default());
    while let Some(word) = words.next() {
        // What is in a file of arguments is not worth a look.
        if word == "--test" || word.starts_with('@') {
            return true;
        }
        match word.strip_prefix("--crate-type") {
            Some("") => types.extend(words.next()),
            Some(value) => types.extend(value.strip_prefix('=')),
            None => {}
        }
    }
    types.is_empty()
        || types.iter().flat_map(|types| types.split(',')).any(|it| !["lib", "rlib"].contains(&it))
}

/// The wrapper that the user has: `RUSTC_WRAPPER`, or cargo's configuration.
pub(crate) fn of_user(config: &Config) -> Option<PathBuf> {
    match env::var_os("RUSTC_WRAPPER") {
        // Set but empty means none, whatever the configuration says.
        Some(path) => (!path.is_empty()).then(|| path.into()),
        None => config.program(&["build", "rustc-wrapper"]),
    }
}

/// Whether our own status as wrapper makes sense: the first argument is the compiler, not a command of ours.
pub(crate) fn is_wrapper_call(args: &[OsString]) -> bool {
    let ours = ["rrtest", runner::COMMAND, group::COMMAND, front_end::COMMAND];
    args.first().is_some_and(|first| !ours.iter().any(|name| first == name) && !is_option(first))
}

fn is_option(arg: &OsStr) -> bool {
    arg.as_encoded_bytes().starts_with(b"-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit_of(args: &str) -> Unit {
        unit(&args.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn units_are_told_apart() {
        assert_eq!(unit_of("rustc --crate-name a --target x86_64-unknown-linux-gnu a.rs"), Unit::Target);
        assert_eq!(unit_of("rustc --target=x86_64-unknown-linux-gnu a.rs"), Unit::Target);
        assert_eq!(unit_of("rustc --crate-name build_script_build build.rs"), Unit::Host);
        let asks = "rustc - --crate-name ___ --print=file-names --target x86_64-unknown-linux-gnu";
        assert_eq!(unit_of(asks), Unit::None);
        assert_eq!(unit_of("rustc -vV"), Unit::None);
    }

    #[test]
    fn what_is_linked() {
        let linked = |args: &str| is_linked(&args.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(!linked("rustc --crate-name a --crate-type lib a.rs"));
        assert!(!linked("rustc --crate-name a --crate-type=lib,rlib a.rs"));
        assert!(linked("rustc --crate-name a --crate-type lib --test a.rs"));
        assert!(linked("rustc --crate-name a --crate-type lib --crate-type cdylib a.rs"));
        assert!(linked("rustc --crate-name a --crate-type proc-macro a.rs"));
        assert!(linked("rustc --crate-name a a.rs") && linked("rustc @arguments"));
    }

    #[test]
    fn arguments_in_a_file() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        std::io::Write::write_all(&mut file, b"--crate-name\na\n--target\nx86_64-unknown-linux-gnu\n")
            .expect("text");
        assert_eq!(unit_of(&format!("rustc @{}", file.path().display())), Unit::Target);
    }
}
