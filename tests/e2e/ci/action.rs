//! The action, step by step as GitHub's runner takes them: its shell, its files, its expressions, in a workspace elsewhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rrtest_tests::Harness;
use rrtest_tests::tool::{self, Run};
use tempfile::TempDir;
use yaml_rust2::{Yaml, YamlLoader};

use super::expression::{self, Context, evaluated, interpolated, truth};
use super::github::orders;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    expressions_mean_what_they_mean,
    what_is_typed_into_inputs_reaches_no_shell,
    with_its_defaults_it_finds_and_uploads,
    what_stays_green_uploads_no_trace,
    nothing_leaves_where_strangers_code_runs,
    a_release_that_is_not_what_it_should_be_is_not_used,
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

fn action() -> Yaml {
    let text = fs::read_to_string(root().join("action.yml")).expect("action.yml");
    YamlLoader::load_from_str(&text).expect("yaml").remove(0)
}

fn entries(yaml: &Yaml) -> Vec<(String, &Yaml)> {
    let hash = yaml.as_hash().into_iter().flatten();
    hash.map(|(key, value)| (key.as_str().expect("a name").to_owned(), value)).collect()
}

fn text(yaml: &Yaml) -> String {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        Yaml::Boolean(value) => value.to_string(),
        _ => String::new(),
    }
}

fn expressions_mean_what_they_mean(_: &Harness) {
    expression::check();
}

/// What somebody writes into a branch's name or an input must not become a part of a script.
fn what_is_typed_into_inputs_reaches_no_shell(_: &Harness) {
    let action = action();
    for step in action["runs"]["steps"].as_vec().expect("steps") {
        if let Some(script) = step["run"].as_str() {
            assert!(!script.contains("${{"), "{script}");
            assert_eq!(step["shell"].as_str(), Some("bash"), "{script}");
        }
    }
}

/// A runner: where the action, the workspace and its own files are.
struct Runner<'a> {
    world: &'a Harness,
    dir: TempDir,
    context: Context,
    log: String,
    uploads: Vec<Context>,
    /// The steps that ended with another exit code than 0.
    failed: Vec<(String, i32)>,
}

/// The program under test, packed as a release has it.
fn packed(world: &Harness) -> &'static [u8] {
    static PACKED: OnceLock<Vec<u8>> = OnceLock::new();
    PACKED.get_or_init(|| {
        let (dir, path) = (world.dir(), &world.tool.path);
        // Of a debug build there is much to pack.
        let mut tar = Command::new("tar");
        tar.args(["-I", "gzip -1", "-cf", "packed", "-C"]).arg(path.parent().expect("a directory"));
        let _packed = Run::of(tar.arg("cargo-rrtest").current_dir(dir.path())).expect(0);
        fs::read(dir.path().join("packed")).expect("a file")
    })
}

impl<'a> Runner<'a> {
    /// One with a project that has these tests, and a release with the program under test.
    fn new(world: &'a Harness, tests: &str, inputs: &[(&str, &str)]) -> Self {
        let dir = world.dir();
        for place in ["action/.github/action", "workspace/tests", "workspace/src", "temp", "files", "home"] {
            fs::create_dir_all(dir.path().join(place)).expect("directories");
        }
        for package in ["cargo-rrtest", "engine", "preload"] {
            fs::create_dir(dir.path().join("action").join(package)).expect("a directory");
        }
        for file in ["action.yml", ".github/action/find", ".github/action/run", "Cargo.lock"] {
            fs::copy(root().join(file), dir.path().join("action").join(file)).expect("a copy");
        }
        let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
        let manifest = manifest.lines().map(|line| match line.starts_with("repository = ") {
            // As an address has it.
            true => format!(
                "repository = \"file://{}\"",
                dir.path().display().to_string().replace(' ', "%20") + "/here"
            ),
            false => line.to_owned(),
        });
        let manifest = manifest.collect::<Vec<_>>().join("\n");
        fs::write(dir.path().join("action/Cargo.toml"), manifest).expect("a manifest");
        fs::write(dir.path().join("workspace/Cargo.toml"), rrtest_tests::project::MANIFEST)
            .expect("a manifest");
        fs::write(dir.path().join("workspace/src/lib.rs"), "").expect("a file");
        fs::write(dir.path().join("workspace/tests/it.rs"), tests).expect("a file");
        let mut context = Context::new();
        for (name, input) in entries(&action()["inputs"]) {
            context.insert(format!("inputs.{name}"), text(&input["default"]));
        }
        context.extend(inputs.iter().map(|(name, value)| (format!("inputs.{name}"), (*value).to_owned())));
        let facts = [
            ("github.event_name", "push"),
            ("github.job", "the job"),
            ("github.run_attempt", "1"),
            ("strategy.job-index", "0"),
            ("runner.os", "Linux"),
            ("runner.arch", "X64"),
        ];
        context.extend(facts.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut runner =
            Self { world, dir, context, log: String::new(), uploads: Vec::new(), failed: Vec::new() };
        runner.release();
        runner
    }

    /// Has the program under test as a release.
    fn release(&mut self) {
        let version = env!("CARGO_PKG_VERSION");
        let place = self.path(&format!("here/releases/download/v{version}"));
        fs::create_dir_all(&place).expect("directories");
        let name = format!("cargo-rrtest-{version}-x86_64-linux.tar.gz");
        fs::write(place.join(&name), packed(self.world)).expect("a file");
        let mut shell = Command::new("bash");
        shell.args(["-ec", "sha256sum \"$1\" > \"$1.sha256\"", "-", &name]).current_dir(&place);
        let _summed = Run::of(&mut shell).expect(0);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Takes all steps.
    fn run(&mut self) {
        let action = action();
        for (number, step) in action["runs"]["steps"].as_vec().expect("steps").iter().enumerate() {
            let id = step["id"].as_str().map_or_else(|| number.to_string(), str::to_owned);
            let condition = step["if"].as_str().map(|condition| interpolated(condition, &self.context));
            let goes_on = condition.as_deref().is_none_or(truth);
            // Without a condition about it, a step is not taken after one that failed.
            let whatever = step["if"].as_str().is_some_and(|condition| condition.contains("cancelled()"));
            if !goes_on || (!self.failed.is_empty() && !whatever) {
                continue;
            }
            if step["run"].is_badvalue() { self.used(&id, step) } else { self.shell(&id, step) }
        }
    }

    /// A step of another action: noted, and done as far as it takes no network.
    fn used(&mut self, id: &str, step: &Yaml) {
        let uses = step["uses"].as_str().expect("an action");
        let with: Context = entries(&step["with"])
            .into_iter()
            .map(|(key, value)| (key, interpolated(&text(value), &self.context)))
            .collect();
        match uses.split_once('@').expect("a version") {
            ("actions/upload-artifact", "v7") => self.uploads.push(with),
            ("actions/cache/restore", _) => {
                self.context.insert(format!("steps.{id}.outputs.cache-primary-key"), with["key"].clone());
                for key in with["restore-keys"].lines() {
                    assert!(with["key"].starts_with(key), "{with:?}");
                }
                let start = format!("rrtest-tests-Linux-X64-{}-", env!("CARGO_PKG_VERSION"));
                let rest = with["key"].strip_prefix(&start).and_then(|rest| rest.split_once('-'));
                assert!(rest.is_some_and(|(toolchain, _)| toolchain.len() == 16), "{with:?}");
            }
            ("actions/cache/save", _) => {
                assert!(with["key"].starts_with("rrtest-tests-Linux-X64-"), "{with:?}")
            }
            _ => panic!("{uses} is not expected: {with:?}\n{}", self.log),
        }
    }

    /// A step with a script: `bash --noprofile --norc -eo pipefail`, with files for what it says.
    fn shell(&mut self, id: &str, step: &Yaml) {
        let script = self.path("files/script");
        fs::write(&script, step["run"].as_str().expect("a script")).expect("a file");
        let output = self.path(&format!("files/output-{id}"));
        fs::write(&output, "").expect("a file");
        let dir = text(&step["working-directory"]);
        let dir = self.path("workspace").join(interpolated(&dir, &self.context));
        let mut bash = Command::new("bash");
        tool::clean(&mut bash);
        bash.args(["--noprofile", "--norc", "-eo", "pipefail"]).arg(&script).current_dir(dir);
        let paths = fs::read_to_string(self.path("files/path")).unwrap_or_default();
        let paths: Vec<_> = paths.lines().rev().map(str::to_owned).chain(std::env::var("PATH")).collect();
        bash.env("PATH", paths.join(":")).env("GITHUB_PATH", self.path("files/path"));
        bash.env("GITHUB_ACTIONS", "true").env("CI", "true").env("GITHUB_OUTPUT", &output);
        bash.env("GITHUB_STEP_SUMMARY", self.path("files/summary")).env("GITHUB_ENV", self.path("files/env"));
        bash.env("GITHUB_WORKSPACE", self.path("workspace")).env("GITHUB_ACTION_PATH", self.path("action"));
        bash.env("RUNNER_TEMP", self.path("temp"));
        bash.env("GITHUB_REPOSITORY", "owner/name").env("GITHUB_RUN_ID", "42");
        for (name, value) in entries(&step["env"]) {
            bash.env(name, interpolated(&text(value), &self.context));
        }
        let run = Run::of(&mut bash);
        self.log.push_str(&format!("── {id}\n{run}\n"));
        let code = run.status.code().unwrap_or(-1);
        if code != 0 {
            self.failed.push((id.to_owned(), code));
        }
        self.take_outputs(id, &fs::read_to_string(output).expect("outputs"));
    }

    /// Reads outputs as the runner does: `name=value`, or `name<<word`, lines, `word`.
    fn take_outputs(&mut self, id: &str, said: &str) {
        let mut lines = said.lines();
        while let Some(line) = lines.next() {
            let (name, value) = match (line.find('='), line.find("<<")) {
                (at, Some(before)) if at.is_none_or(|at| before < at) => {
                    let word = &line[before + 2..];
                    let value: Vec<_> = lines.by_ref().take_while(|line| *line != word).collect();
                    (&line[..before], value.join("\n"))
                }
                (Some(at), _) => (&line[..at], line[at + 1..].to_owned()),
                _ => panic!("neither form: {line}\n{said}"),
            };
            self.context.insert(format!("steps.{id}.outputs.{name}"), value);
        }
    }

    /// An output of the action.
    fn output(&self, name: &str) -> String {
        interpolated(&text(&action()["outputs"][name]["value"]), &self.context)
    }

    /// What runs when nothing is wrong: until the tests are.
    fn expect(&self, code: i32) {
        let failed: Vec<_> = self.failed.iter().map(|(id, code)| (id.as_str(), *code)).collect();
        let expected: &[(&str, i32)] = if code == 0 { &[] } else { &[("run", code)] };
        assert_eq!(failed, expected, "{}", self.log);
        assert_eq!(self.output("exit-code"), code.to_string(), "{}", self.log);
    }
}

const BAD: &str = "#[test]\nfn bad() { panic!(\"so be it\") }\n";
const TWICE: &str = "#[test]\nfn bad() { panic!(\"one\") }\n#[test]\nfn worse() { panic!(\"two\") }\n";

fn with_its_defaults_it_finds_and_uploads(world: &Harness) {
    let mut runner = Runner::new(world, BAD, &[]);
    runner.run();
    runner.expect(101);
    assert_eq!(runner.output("failed"), "1", "{}", runner.log);
    assert!(runner.output("seed").starts_with("0x"), "{}", runner.log);
    let trace = PathBuf::from(runner.output("traces"));
    assert!(trace.is_file() && trace.starts_with(runner.path("workspace")), "{}", runner.log);
    let [alone, report] = &runner.uploads[..] else { panic!("{:?}\n{}", runner.uploads, runner.log) };
    assert_eq!((&alone["path"], &alone["archive"]), (&trace.display().to_string(), &"false".to_owned()));
    assert!(report["path"].ends_with("/rrtest-report-the-job-0-1.xml") && report["archive"] == "false");
    assert!(fs::read_to_string(&report["path"]).expect("a report").contains("so be it"));
    assert_eq!(
        orders(&runner.log)
            .iter()
            .filter(|order| order.starts_with("::error file=tests/it.rs,line=2"))
            .count(),
        1
    );
    assert!(
        fs::read_to_string(runner.path("files/summary")).expect("a summary").contains("gh:owner/name/42")
    );

    let inputs = [
        ("args", "--until-fail --keep-going --runs 3 'd'"),
        ("for", "5m"),
        ("name", "a/b"),
        ("cache", "false"),
    ];
    let mut runner = Runner::new(world, TWICE, &[]);
    let inputs = inputs.map(|(name, value)| (format!("inputs.{name}"), value.replace(" 'd'", "")));
    runner.context.extend(inputs);
    runner.run();
    runner.expect(101);
    assert_eq!(runner.output("traces").lines().count(), 2, "{}", runner.log);
    let [several, report] = &runner.uploads[..] else { panic!("{:?}\n{}", runner.uploads, runner.log) };
    assert_eq!(several["name"], "rrtest-traces-the-job-0-1-a-b");
    assert_eq!((&several["path"], &*several["compression-level"]), (&runner.output("traces"), "0"));
    assert!(report["path"].ends_with("/rrtest-report-the-job-0-1-a-b.xml"));
}

fn what_stays_green_uploads_no_trace(world: &Harness) {
    let tests = "#[test]\nfn good() {}\n#[test]\nfn it_is_not_run() { panic!() }\n";
    let mut runner =
        Runner::new(world, tests, &[("args", "--runs 2 -- --exact 'good' --skip \"not run\""), ("for", "")]);
    runner.run();
    runner.expect(0);
    assert_eq!((runner.output("failed"), runner.output("traces")), ("0".into(), String::new()));
    let [report] = &runner.uploads[..] else { panic!("{:?}\n{}", runner.uploads, runner.log) };
    assert!(report["path"].ends_with(".xml"));
}

fn nothing_leaves_where_strangers_code_runs(world: &Harness) {
    let uploads = |upload: &str| {
        let mut runner = Runner::new(world, BAD, &[("upload", upload)]);
        runner.context.insert("github.event_name".into(), "pull_request_target".into());
        runner.run();
        runner.expect(101);
        runner.uploads.len()
    };
    assert_eq!(uploads("auto"), 0);
    assert_eq!(uploads("always"), 2);
}

fn a_release_that_is_not_what_it_should_be_is_not_used(world: &Harness) {
    let version = env!("CARGO_PKG_VERSION");
    let found = |version: &str, alter: &dyn Fn(&Path)| {
        let mut runner = Runner::new(world, BAD, &[("version", version)]);
        alter(&runner.path(&format!("here/releases/download/v{}", env!("CARGO_PKG_VERSION"))));
        let steps = action();
        runner.shell("find", &steps["runs"]["steps"][0]);
        let found = evaluated("steps.find.outputs.found", &runner.context);
        let program = runner.path("temp/rrtest/bin/cargo-rrtest");
        assert_eq!(program.exists(), found == "true", "{}", runner.log);
        (found, runner.failed.len())
    };
    let altered = |dir: &Path| {
        let path = dir.join(format!("cargo-rrtest-{version}-x86_64-linux.tar.gz"));
        let mut bytes = fs::read(&path).expect("a file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("permissions");
    };
    assert_eq!(found("", &|_| {}), ("true".into(), 0));
    assert_eq!(found(&format!("v{version}"), &|_| {}), ("true".into(), 0));
    assert_eq!(found("", &altered), ("false".into(), 0));
    assert_eq!(found("source", &|_| {}), ("false".into(), 0));
    assert_eq!(found("9.9.9", &|_| {}), (String::new(), 1));
    assert_eq!(found("x; touch y", &|_| {}), (String::new(), 1));
}
