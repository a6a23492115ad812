//! What people have of a failure in CI: a zip file, a folder, a run's address, a pipe. What works with a trace takes it as it is.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::tool::Run;
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::verify::{TORN, adding, explained};
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    a_zip_file_is_taken_as_it_was_downloaded,
    one_is_pinned_and_verified_from_a_zip_file,
    a_folder_of_several_says_how_to_choose,
    standard_input_is_a_trace_or_a_zip_file,
    hostile_zip_files_are_refused_by_name,
    a_run_is_fetched_by_gh,
    without_gh_the_error_says_how_to_get_it,
];

const BOTH: &str = "#[test] fn one() { panic!(\"the first\") }\n#[test] fn two() { panic!(\"the second\") }";

/// A directory without a project, and the traces of two failures, of which one needs the other.
fn two(world: &Harness) -> (Project, TempDir, Vec<PathBuf>) {
    let project = Project::of_test(world, BOTH);
    let _report = project.report(world, &["-j1", "--no-chaos"], 101);
    let traces = project.traces();
    assert_eq!(traces.len(), 2);
    let dir = world.dir();
    (project, dir, traces)
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

fn zipped(path: &Path, files: &[(String, Vec<u8>)]) {
    let mut zip = ZipWriter::new(File::create(path).expect("a file"));
    for (name, bytes) in files {
        zip.start_file(name.as_str(), SimpleFileOptions::default()).expect("an entry");
        zip.write_all(bytes).expect("its bytes");
    }
    zip.finish().expect("a zip file");
}

/// The artifact of these traces.
fn artifact(path: &Path, traces: &[PathBuf]) {
    let entry = |trace: &PathBuf| (name(trace), fs::read(trace).expect("a trace"));
    let mut files: Vec<_> = traces.iter().map(entry).collect();
    files.push(("junit.xml".to_owned(), b"<x/>".to_vec()));
    zipped(path, &files);
}

fn a_zip_file_is_taken_as_it_was_downloaded(world: &Harness) {
    let (_project, dir, traces) = two(world);
    artifact(&dir.path().join("both.zip"), &traces);
    let both = |command: &str, more: &[&str]| {
        Run::of(world.tool.cargo(dir.path()).args([command, "both.zip"]).args(more))
    };
    // Whichever of the two needs the other: it has it.
    for trace in &traces {
        let name = name(trace);
        let test = if name.contains("-one-") { "the first" } else { "the second" };
        let run = both("replay", &[&name]).expect(0);
        assert!(run.stderr.contains(test) && run.stderr.contains(&format!("both.zip/{name}")), "{run}");
        let run = both("show", &[name.trim_end_matches(".rrtrace")]).expect(0);
        assert!(run.text().contains(&format!("both.zip/{name}")), "{run}");
    }
    let names =
        traces.iter().map(|trace| name(trace).trim_end_matches(".rrtrace").to_owned()).collect::<Vec<_>>();
    let says = ["there are several traces in both.zip", "add a part of the name", &names[0], &names[1]];
    let _run = both("replay", &[]).expect(2).says(&says);
    let _run = both("replay", &["three"]).expect(2).says(&["has `three` in its name", &names[0]]);
    let alone: Vec<_> =
        traces.iter().filter(|trace| trace.metadata().expect("a trace").len() > 1 << 20).cloned().collect();
    artifact(&dir.path().join("one.zip"), &alone);
    let _run = Run::of(world.tool.cargo(dir.path()).args(["replay", "one.zip"])).expect(0);
    zipped(&dir.path().join("none.zip"), &[("a.txt".into(), vec![])]);
    let _run = Run::of(world.tool.cargo(dir.path()).args(["replay", "none.zip"]))
        .expect(2)
        .says(&["no trace", "none.zip"]);
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 3, "nothing is unpacked here");
}

fn one_is_pinned_and_verified_from_a_zip_file(world: &Harness) {
    let project = explained(world, &adding("", TORN));
    let traces = project.traces();
    artifact(&project.path().join("one.zip"), &traces);
    traces.iter().for_each(|trace| fs::remove_file(trace).expect("a trace"));
    let from_it =
        |command: &str, more: &[&str]| Run::of(project.rrtest(world, &[command, "one.zip"]).args(more));
    let _run = from_it("pin", &[]).expect(0).says(&["Pinned p::it adds"]);
    let _run = from_it("verify", &["--for", "6s"]).expect(101).says(&["now: in 50 of 50"]);
}

fn a_folder_of_several_says_how_to_choose(world: &Harness) {
    let (_project, dir, traces) = two(world);
    let leg = dir.path().join("artifacts/leg");
    fs::create_dir_all(&leg).expect("a directory");
    for trace in &traces {
        fs::copy(trace, leg.join(name(trace))).expect("a copy");
    }
    let replay = |args: &[&str]| Run::of(world.tool.cargo(dir.path()).arg("replay").args(args));
    let _run = replay(&["artifacts"]).expect(2).says(&["several traces in artifacts", "leg/p-it-one-"]);
    let run = replay(&["artifacts", "one"]).expect(0);
    assert!(run.stderr.contains("the first"), "{run}");
    // A name says nothing about a single file.
    let file = leg.join(name(&traces[0]));
    let _run =
        replay(&[file.to_str().expect("text"), "one"]).expect(2).says(&["neither a folder nor a zip file"]);
}

fn standard_input_is_a_trace_or_a_zip_file(world: &Harness) {
    let (_project, dir, traces) = two(world);
    let piped = |bytes: Vec<u8>, args: &[&str]| {
        let mut command = world.tool.cargo(dir.path());
        command.arg("replay").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("cargo-rrtest");
        let mut stdin = child.stdin.take().expect("a pipe");
        // One that refuses it reads only a part.
        let _written = stdin.write_all(&bytes);
        drop(stdin);
        Run::rest(child, "replay -".into())
    };
    let alone = traces.iter().find(|trace| trace.metadata().expect("a trace").len() > 1 << 20).expect("one");
    let _run = piped(fs::read(alone).expect("a trace"), &["-"]).expect(0).says(&["standard input"]);
    let zip = dir.path().join("both.zip");
    artifact(&zip, &traces);
    let bytes = fs::read(&zip).expect("a file");
    let _run = piped(bytes.clone(), &["-", "two"]).expect(0).says(&["the second"]);
    let _run = piped(bytes, &["-"]).expect(2).says(&["several traces in standard input"]);
    let _run = piped(Vec::new(), &["-"]).expect(70).says(&["standard input has nothing"]);
    let _run = piped(b"garbage".to_vec(), &["-"]).expect(70);
}

fn hostile_zip_files_are_refused_by_name(world: &Harness) {
    let dir = world.dir();
    let path = dir.path().join("bad.zip");
    let refused = |says: &[&str]| {
        for command in ["replay", "show"] {
            let run = Run::of(world.tool.cargo(dir.path()).args([command, "bad.zip"])).expect(70);
            let _run = run.says(&["bad.zip"]).says(says);
        }
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1, "nothing appears");
    };
    zipped(&path, &[("../../outside.rrtrace".into(), b"x".to_vec())]);
    refused(&["`../../outside.rrtrace` names a place outside"]);
    let mut zip = ZipWriter::new(File::create(&path).expect("a file"));
    zip.add_symlink("link.rrtrace", "/etc/passwd", SimpleFileOptions::default()).expect("a link");
    zip.finish().expect("a zip file");
    refused(&["`link.rrtrace` is a symbolic link"]);
    zipped(&path, &[("bomb.rrtrace".into(), vec![0; 64 << 20])]);
    refused(&["`bomb.rrtrace` unpacks to too much"]);
    let many: Vec<_> = (0..5000).map(|number| (format!("{number}.rrtrace"), Vec::new())).collect();
    zipped(&path, &many);
    refused(&["it has 5000 entries"]);
    let mut bytes = fs::read(&path).expect("a file");
    bytes.truncate(bytes.len() / 2);
    fs::write(&path, &bytes).expect("a file");
    refused(&["no sound zip file"]);
}

/// A program `gh` that hands out what lies in its folder: `list`, and artifacts by their numbers.
fn stand_in(world: &Harness) -> TempDir {
    let dir = world.dir();
    let script = "#!/bin/sh\nset -e\ncd \"$(dirname \"$0\")\"\necho \"$@\" >> calls\n\
        [ \"$1\" = api ]\n\
        case $2 in\n\
        'repos/owner/name/actions/runs/42/artifacts?per_page=100&page=1') cat list ;;\n\
        repos/owner/name/actions/artifacts/*/zip) cat \"artifact-$(basename \"$(dirname \"$2\")\")\" ;;\n\
        *) echo 'gh: Not Found (HTTP 404)' >&2; exit 1 ;;\nesac\n";
    let path = dir.path().join("gh");
    fs::write(&path, script).expect("a file");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("permissions");
    dir
}

/// `replay` with that program in front of all others.
fn with_gh(world: &Harness, dir: &Path, gh: &Path, args: &[&str]) -> Run {
    let mut command = world.tool.cargo(dir);
    let path = format!("{}:{}", gh.display(), std::env::var("PATH").expect("a path"));
    Run::of(command.arg("replay").args(args).env("PATH", path))
}

fn a_run_is_fetched_by_gh(world: &Harness) {
    let (_project, dir, traces) = two(world);
    let gh = stand_in(world);
    let alone = traces.iter().find(|trace| trace.metadata().expect("a trace").len() > 1 << 20).expect("one");
    let list = format!(
        r#"{{"total_count":3,"artifacts":[{{"id":7,"name":"rrtest-traces-test-0-1","expired":false}},
           {{"id":8,"name":"{}","expired":false}},{{"id":9,"name":"logs","expired":false}}]}}"#,
        name(alone)
    );
    fs::write(gh.path().join("list"), list).expect("a file");
    artifact(&gh.path().join("artifact-7"), &traces);
    // As it is uploaded with `archive: false`.
    fs::copy(alone, gh.path().join("artifact-8")).expect("a copy");
    let replay = |args: &[&str]| with_gh(world, dir.path(), gh.path(), args);
    let test = |name: &str| if name.contains("-one-") { "the first" } else { "the second" };
    let run = replay(&["gh:owner/name/42", name(alone).trim_end_matches(".rrtrace")]).expect(0);
    assert!(run.stderr.contains(test(&name(alone))), "{run}");
    let calls = fs::read_to_string(gh.path().join("calls")).expect("calls");
    assert!(calls.contains("artifacts/8/zip") && !calls.contains("artifacts/7/zip"), "{calls}");
    let run = replay(&["gh:owner/name/42/rrtest-traces-test-0-1", "two"]).expect(0);
    assert!(run.stderr.contains("the second"), "{run}");
    let _run = replay(&["gh:owner/name/42/rrtest-traces-test-0-1"]).expect(2).says(&["several traces"]);
    let _run = replay(&["gh:owner/name/42/none"]).expect(2).says(&["no artifact `none`", "logs"]);
    let _run = replay(&["gh:owner/name/43"]).expect(70).says(&["gh api", "HTTP 404"]);
    let _run = replay(&["gh:owner/name"]).expect(2).says(&["gh:OWNER/REPOSITORY/RUN"]);
}

fn without_gh_the_error_says_how_to_get_it(world: &Harness) {
    let dir = world.dir();
    let empty = world.dir();
    let mut command = Command::new(&world.tool.path);
    command.args(["rrtest", "replay", "gh:owner/name/42"]).current_dir(dir.path()).env("PATH", empty.path());
    let _run = Run::of(&mut command).expect(70).says(&["https://cli.github.com", "download the artifact"]);
}
