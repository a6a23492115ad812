//! What a trace carries for debuggers: programs with their debug information, and sources.

use std::fs;
use std::path::{Path, PathBuf};

use rrtest_engine::trace::Trace;
use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    a_debugger_finds_program_and_named_sources_in_the_trace,
    sources_and_debug_information_are_a_choice
];

/// A failure in the library, which a test in another file calls.
fn failing(world: &Harness) -> Project {
    Project::new(
        world,
        &[
            ("src/lib.rs", "pub mod named;\npub mod other;\n"),
            ("src/named.rs", "pub fn fails() { panic!(\"it fails\") }\n"),
            ("src/other.rs", "pub fn works() -> u32 { 7 }\n"),
            ("tests/it.rs", "#[test]\nfn t() { p::other::works(); p::named::fails() }\n"),
        ],
    )
}

/// Lets the test fail with these options, and returns what is attached to its trace.
fn attached(world: &Harness, project: &Project, options: &[&str]) -> (PathBuf, Vec<PathBuf>) {
    for trace in project.traces() {
        fs::remove_file(trace).expect("one trace less");
    }
    let args = [&["--test", "it", "--no-chaos", "-j1"], options].concat();
    let _ = project.report(world, &args, 101);
    let [path] = &project.traces()[..] else { panic!("not one trace") };
    let trace = Trace::open(path).expect("a trace");
    (path.clone(), trace.attached().map(|file| file.path.to_owned()).collect())
}

/// The names of the project's own sources among these.
fn sources(project: &Project, files: &[PathBuf]) -> Vec<String> {
    let root = project.path().canonicalize().expect("a directory");
    let own = files.iter().filter_map(|path| path.strip_prefix(&root).ok());
    let own = own.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    own.map(|path| path.display().to_string()).collect()
}

/// Whether something with symbols is among these: the program.
fn program(files: &[PathBuf]) -> Option<&PathBuf> {
    files.iter().find(|path| path.to_string_lossy().contains("/deps/it-"))
}

fn a_debugger_finds_program_and_named_sources_in_the_trace(world: &Harness) {
    let project = failing(world);
    let (path, files) = attached(world, &project, &[]);
    assert_eq!(sources(&project, &files), ["src/named.rs"]);
    let program = program(&files).expect("the program");
    let contents = fs::read(program).expect("its file");

    // As on a machine that does not have it.
    fs::remove_file(program).expect("a program");
    let trace = Trace::open(&path).expect("a trace");
    let extract = |file: &Path| {
        let to = tempfile::NamedTempFile::new().expect("a file");
        trace.extract(file, to.as_file()).expect("what is attached");
        fs::read(to.path()).expect("its contents")
    };
    assert!(extract(program) == contents);
    let source = files.iter().find(|path| path.ends_with("src/named.rs")).expect("a source");
    assert_eq!(extract(source), fs::read(project.path().join("src/named.rs")).expect("a source"));
    let shown = Run::of(&mut project.rrtest(world, &["show"])).expect(0).text();
    assert!(shown.contains("for debuggers in"), "{shown}");
    let privacy = Run::of(&mut project.rrtest(world, &["show", "--privacy"])).expect(0).text();
    assert!(privacy.contains("src/named.rs") && !privacy.contains("src/other.rs"), "{privacy}");
    let _ = Run::of(&mut project.rrtest(world, &["replay"])).expect(0);
}

fn sources_and_debug_information_are_a_choice(world: &Harness) {
    let project = failing(world);
    let (_, all) = attached(world, &project, &["--with-sources", "all", "--no-debug-info"]);
    assert_eq!(sources(&project, &all), ["src/named.rs", "src/other.rs", "tests/it.rs"]);
    assert!(program(&all).is_none(), "{all:?}");
    let (_, none) = attached(world, &project, &["--with-sources=none"]);
    assert!(sources(&project, &none).is_empty() && program(&none).is_some(), "{none:?}");
    let (_, nothing) = attached(world, &project, &["--with-sources=none", "--no-debug-info"]);
    assert!(nothing.is_empty(), "{nothing:?}");
}
