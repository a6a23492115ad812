//! C and C++ code that build scripts compile gets the clock too, through the flags that the `cc` and `cmake` crates take
//! from the environment.
//!
//! `-fsanitize=thread` of gcc and clang makes the same calls as LLVM's pass in rustc, at plain accesses too, whatever the
//! level: C code seldom says which of its accesses are atomic. A compiler that sees that flag also links the
//! sanitizer's own runtime into the programs and shared objects that a build script may make (if only to see whether the
//! compiler works); those must have ours instead.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::config::Config;
use super::instrument::{Runtime, names, put};
use crate::base::hash::fnv1a;
use crate::base::home::home;

/// What names a language's compiler and flags in the environment.
#[derive(Debug)]
struct Language {
    compiler: &'static str,
    flags: &'static str,
    default: &'static str,
    /// What gcc calls it (`-x`).
    name: &'static str,
}

const LANGUAGES: [Language; 2] = [
    Language { compiler: "CC", flags: "CFLAGS", default: "cc", name: "c" },
    Language { compiler: "CXX", flags: "CXXFLAGS", default: "c++", name: "c++" },
];

/// A program that is instrumented at one access, and what that calls.
const SAMPLE: &str = "int place; int main(void) { place++; return 0; }";
const ENTRY_POINT: &str = "__tsan_write4";

/// The environment variables that have C and C++ code for `target` instrumented, with their values: none for a language
/// whose compiler is not there or cannot do it. What that takes is written into `build_dir`.
pub(crate) fn variables(target: &str, build_dir: &Path, config: &Config) -> Vec<(String, String)> {
    let Some(runtime) = place(build_dir).and_then(|dir| Runtime::put_into(&dir).ok()) else {
        return Vec::new();
    };
    LANGUAGES.iter().filter_map(|language| language.variable(target, &runtime, build_dir, config)).collect()
}

/// The directory for the files that the flags name, which must be such that nobody splits or unquotes it.
fn place(build_dir: &Path) -> Option<PathBuf> {
    let is_plain = |path: &Path| {
        path.to_str().is_some_and(|path| {
            path.chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@' | ',' | ':'))
        })
    };
    let cache = || {
        let cache = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
        let cache = cache.or_else(|| Some(home()?.join(".cache")))?;
        let name = format!("{:016x}", fnv1a(build_dir.as_os_str().as_encoded_bytes()));
        Some(cache.join("rrtest").join(name))
    };
    Some(build_dir.to_owned()).filter(|path| is_plain(path)).or_else(cache).filter(|path| is_plain(path))
}

impl Language {
    fn variable(
        &self,
        target: &str,
        runtime: &Runtime,
        build_dir: &Path,
        config: &Config,
    ) -> Option<(String, String)> {
        let compiler = given(self.compiler, target, config).map_or_else(
            || {
                if target.ends_with("-musl") && self.name == "c" { "musl-gcc" } else { self.default }
                    .to_owned()
            },
            |(_, compiler)| compiler,
        );
        let (name, users) = given(self.flags, target, config)
            .unwrap_or_else(|| (format!("{}_{}", self.flags, target.replace('-', "_")), String::new()));
        // No two sanitizers go together.
        if users.contains("-fsanitize") {
            return None;
        }
        let version = output(&compiler, &["--version"])?;
        let flags = Family::of(&version)?.flags(runtime)?;
        let about = format!("{compiler}{version}{flags}");
        let mark = build_dir.join(format!("compiler-{}-{:016x}", self.compiler, fnv1a(about.as_bytes())));
        let works = match std::fs::read(&mark) {
            Ok(answer) => answer == b"yes",
            Err(_) => {
                let works = self.instruments(&compiler, &flags, build_dir);
                // Where the answer cannot be kept, it is asked for again.
                let _kept = put(&mark, if works { b"yes" } else { b"no" });
                works
            }
        };
        works.then(|| (name, format!("{users} {flags}").trim_start().to_owned()))
    }

    /// Whether a program comes out that calls what it is to call.
    fn instruments(&self, compiler: &str, flags: &str, build_dir: &Path) -> bool {
        let dir = std::fs::create_dir_all(build_dir).and_then(|()| tempfile::tempdir_in(build_dir));
        let Ok(dir) = dir else { return false };
        let (source, program) = (dir.path().join("sample.c"), dir.path().join("sample"));
        if std::fs::write(&source, SAMPLE).is_err() {
            return false;
        }
        let [source, program] = [&source, &program].map(|path| path.display().to_string());
        let args = ["-x", self.name, &source, "-x", "none", "-o", &program];
        let args: Vec<_> = args.into_iter().chain(flags.split(' ')).collect();
        output(compiler, &args).is_some()
            && std::fs::read(&program).is_ok_and(|bytes| names(&bytes, ENTRY_POINT))
    }
}

/// The compilers, as far as their command lines differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Gcc,
    Clang,
}

impl Family {
    /// By what it says of its version.
    fn of(version: &str) -> Option<Self> {
        if version.contains("clang") {
            Some(Self::Clang)
        } else if version.contains("Free Software Foundation") {
            Some(Self::Gcc)
        } else {
            None
        }
    }

    fn flags(self, runtime: &Runtime) -> Option<String> {
        let object = runtime.object.display();
        match self {
            // The compiler proper is told, but not its driver, which would link the sanitizer's runtime
            // (https://gcc.gnu.org/onlinedocs/gcc/Spec-Files.html).
            Self::Gcc => {
                let specs = runtime.object.with_file_name("gcc.specs");
                let text = format!(
                    "*cc1_options:\n+ -fsanitize=thread --param=tsan-instrument-func-entry-exit=0\n\n*endfile:\n+ {object}\n"
                );
                put(&specs, text.as_bytes()).ok()?;
                Some(format!("-specs={}", specs.display()))
            }
            Self::Clang => Some(format!(
                "-fsanitize=thread -fno-sanitize-link-runtime -mllvm -tsan-instrument-func-entry-exit=0 \
                 -Wno-unused-command-line-argument {object}"
            )),
        }
    }
}

/// The strongest of the variables by which a user says something of a language's compiler, and its value, in the order
/// of the `cc` crate. Those of cargo's configuration are there too.
fn given(name: &str, target: &str, config: &Config) -> Option<(String, String)> {
    let names = [
        format!("{name}_{target}"),
        format!("{name}_{}", target.replace('-', "_")),
        format!("HOST_{name}"),
        format!("TARGET_{name}"),
        name.to_owned(),
    ];
    names.into_iter().find_map(|name| {
        let value = env::var(&name).ok().or_else(|| config.get(&["env", &name]).map(|(value, _)| value));
        Some((name, value.filter(|value| !value.is_empty())?))
    })
}

/// What a compiler, which may have words of its own (`ccache gcc`), prints if it succeeds.
fn output(compiler: &str, args: &[&str]) -> Option<String> {
    let mut words = compiler.split_whitespace();
    let output = Command::new(words.next()?)
        .args(words)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "x86_64-unknown-linux-gnu";

    #[test]
    fn compilers_are_known_by_what_they_say() {
        assert_eq!(Family::of("Debian clang version 14.0.6"), Some(Family::Clang));
        let gcc = "cc (Debian 12.2.0-14) 12.2.0\nCopyright (C) 2022 Free Software Foundation, Inc.";
        assert_eq!(Family::of(gcc), Some(Family::Gcc));
        assert_eq!(Family::of("tcc version 0.9.27"), None);
    }

    #[test]
    fn files_are_where_flags_can_name_them() {
        assert_eq!(place(Path::new("/a/b-c_1.2")).as_deref(), Some(Path::new("/a/b-c_1.2")));
        let elsewhere = place(Path::new("/with space")).expect("a place");
        assert!(!elsewhere.to_string_lossy().contains(' ') && elsewhere.is_absolute());
    }

    #[test]
    fn flags_of_the_user_stay() {
        let arguments = ["env.CFLAGS='-O1'", "env.TARGET_CXXFLAGS='-fsanitize=address'"].map(str::to_owned);
        let config = Config::load(Path::new("/"), &arguments);
        assert_eq!(given("CFLAGS", TARGET, &config), Some(("CFLAGS".to_owned(), "-O1".to_owned())));
        let dir = tempfile::tempdir().expect("a directory");
        let variables = variables(TARGET, dir.path(), &config);
        // None where there is no compiler.
        assert!(
            variables.iter().all(|(name, value)| name == "CFLAGS" && value.starts_with("-O1 -")),
            "{variables:?}"
        );
    }
}
