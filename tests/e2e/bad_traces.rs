//! Files that are no traces, or no longer: an error that names the file and says what to do, never a panic.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, setrlimit};
use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::tool::Run;

use crate::forged::{Forged, Place, StoredFile, scramble};
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    flipped_bits_are_found,
    truncated_files_are_found,
    appended_bytes_are_found,
    foreign_files_are_refused,
    a_newer_format_is_named,
    a_directory_is_no_trace,
    can_be_listed_and_deleted,
    altered_traces_do_no_harm,
    altered_debug_information_does_no_harm,
];

/// No trace makes us take more address space: the recorded one does with a quarter of it.
const MEMORY: u64 = 2 << 30;

/// A sound trace of a short program, and its directory.
fn sound(world: &Harness) -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let project = Project::new(world, &[("src/main.rs", "fn main() { println!(\"hello\") }")]);
    let program = project.program("p");
    let dir = world.dir();
    let mut command = world.tool.cargo(dir.path());
    command.args(["exec", "--keep", "always", "--trace-dir", "."]).arg("--").arg(program);
    let _run = Run::of(&mut command).expect(0);
    let trace = rrtest_tests::traces(dir.path()).pop().expect("a trace");
    let bytes = fs::read(&trace).expect("a trace");
    (dir, trace, bytes)
}

/// Run a command on a file within [`MEMORY`]. Must end by itself, without a panic.
fn bounded(world: &Harness, command: &[&str], file: &Path) -> Run {
    let mut process = world.tool.cargo(file.parent().expect("a directory"));
    process.args(command).arg(file);
    // SAFETY: setrlimit is async-signal-safe, and nothing else is done between fork and exec.
    unsafe {
        process.pre_exec(|| setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY).map_err(Into::into));
    }
    let run = Run::of(&mut process);
    let _code = run.code();
    run
}

/// All commands that read a file refuse it, for each of these reasons.
fn refused(world: &Harness, file: &Path, says: &[&str]) {
    for command in ["replay", "show", "backtrace", "report"] {
        let run = bounded(world, &[command], file).expect(70).says(says);
        let run = run.says(&["error", &file.display().to_string()]);
        assert_eq!(run.text(), "", "{run}");
    }
}

fn flipped_bits_are_found(world: &Harness) {
    let (dir, trace, bytes) = sound(world);
    let whole = bounded(world, &["replay"], &trace).expect(0);
    assert_eq!(whole.text(), "hello\n");
    let bad = dir.path().join("bad one.rrtrace");
    // All of the header, all around the end, and places in between.
    let len = bytes.len();
    let places = (0..64).chain((64..len).step_by(len / 200)).chain(len - 40..len);
    for at in places {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&bad, damaged).expect("a file");
        let run = bounded(world, &["replay"], &bad);
        // Its end may be damaged after the program has written.
        assert_eq!(run.code(), 70, "a flipped bit in byte {at} of {len} is not found: {run}");
        assert!(run.stderr.contains("bad one.rrtrace"), "{run}");
        let show = bounded(world, &["show"], &bad);
        assert!([0, 70].contains(&show.code()), "{show}");
        if show.code() == 70 {
            let _named = show.says(&["bad one.rrtrace"]);
        }
    }
}

fn truncated_files_are_found(world: &Harness) {
    let (dir, _, bytes) = sound(world);
    let bad = dir.path().join("cut.rrtrace");
    for len in [1, 7, 8, 63, 64, 65, 4096, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&bad, &bytes[..len]).expect("a file");
        let says = if len < 8 { "is not a trace" } else { "is truncated" };
        refused(world, &bad, &[says]);
    }
}

fn appended_bytes_are_found(world: &Harness) {
    let (dir, _, bytes) = sound(world);
    let bad = dir.path().join("long.rrtrace");
    fs::write(&bad, [&bytes[..], b"\n"].concat()).expect("a file");
    refused(world, &bad, &["is damaged", "copy it again"]);
}

fn foreign_files_are_refused(world: &Harness) {
    let dir = world.dir();
    const NAMED: &str = "*.rrtrace";
    let cases: [(&str, &[u8], &[&str]); 5] = [
        ("empty.rrtrace", b"", &["it is empty", NAMED]),
        ("text.rrtrace", b"[package]\nname = 'not a trace'\n", &["is not a trace", NAMED]),
        ("zeros.rrtrace", &[0; 100_000], &["is not a trace", NAMED]),
        (
            "program.rrtrace",
            &fs::read("/proc/self/exe").expect("ourselves")[..100_000],
            &["is not a trace", NAMED],
        ),
        ("artifact.zip", b"PK\x03\x04 and so on", &["it is no sound zip file"]),
    ];
    for (name, bytes, says) in cases {
        let file = dir.path().join(name);
        fs::write(&file, bytes).expect("a file");
        refused(world, &file, says);
    }
}

fn a_newer_format_is_named(world: &Harness) {
    let (dir, _, mut bytes) = sound(world);
    // The header's start never changes: format at 8, version at 14, checksum of all before it at 56.
    bytes[8..12].copy_from_slice(&999_u32.to_le_bytes());
    bytes[14..20].copy_from_slice(b"12.3.4");
    let crc = crc32fast::hash(&bytes[..56]);
    bytes[56..60].copy_from_slice(&crc.to_le_bytes());
    let newer = dir.path().join("newer.rrtrace");
    fs::write(&newer, bytes).expect("a file");
    refused(world, &newer, &["format 999", "cargo install cargo-rrtest --version 12.3.4"]);
}

fn a_directory_is_no_trace(world: &Harness) {
    let dir = world.dir();
    let place = dir.path().join("dir.rrtrace");
    fs::create_dir(&place).expect("a directory");
    for command in ["replay", "show", "backtrace", "rm"] {
        let _run = bounded(world, &[command], &place).expect(2).says(&["dir.rrtrace", "is a directory"]);
    }
    let absent = dir.path().join("absent.rrtrace");
    for command in ["replay", "show", "backtrace", "rm"] {
        let _run = bounded(world, &[command], &absent).expect(2).says(&["absent.rrtrace"]);
    }
}

fn can_be_listed_and_deleted(world: &Harness) {
    let (dir, trace, bytes) = sound(world);
    let bad = dir.path().join("bad.rrtrace");
    fs::write(&bad, &bytes[..bytes.len() / 2]).expect("a file");
    let mut ls = world.tool.cargo(dir.path());
    let ls = Run::of(ls.args(["ls", "--trace-dir"]).arg(dir.path())).expect(0);
    let text = ls.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{ls}");
    assert!(lines.iter().any(|line| line.starts_with("bad ") && line.contains("unreadable")), "{ls}");
    assert!(lines.iter().any(|line| line.starts_with("exec-p-") && line.contains("passed")), "{ls}");
    let _rm = bounded(world, &["rm"], &bad).expect(0);
    assert_eq!(rrtest_tests::traces(dir.path()), [trace]);
}

/// With right checksums, so that what is altered is read. `RRTEST_FUZZ=N` makes N of them, `RRTEST_FUZZ_SEED` others.
fn altered_traces_do_no_harm(world: &Harness) {
    let setting = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let cases: u64 = setting("RRTEST_FUZZ").unwrap_or(12);
    let seed: u64 = setting("RRTEST_FUZZ_SEED").unwrap_or(0);
    let (dir, trace, bytes) = sound(world);
    let forged = Forged::of(&bytes);
    let bad = dir.path().join("altered.rrtrace");
    fs::write(&bad, forged.bytes()).expect("a file");
    assert_eq!(bounded(world, &["replay"], &bad).expect(0).text(), "hello\n");
    let there = fs::read_dir(dir.path()).expect("a directory").count();
    for case in 0..cases {
        let mut random = random(seed << 32 | case);
        let mut forged = forged.clone();
        let bytes = match random() % 8 {
            0 => {
                let mut bytes = bytes.clone();
                scramble(&mut random, &mut bytes);
                bytes
            }
            1 | 2 => {
                let mut index = postcard::to_stdvec(&forged.index).expect("an index");
                scramble(&mut random, &mut index);
                // What is no index is none of its alterations.
                forged.index = postcard::from_bytes(&index).unwrap_or(forged.index);
                forged.bytes()
            }
            _ => {
                // The first ones are events.
                let at = random() as usize % forged.blocks.len().min(4);
                scramble(&mut random, &mut forged.blocks[at]);
                forged.bytes()
            }
        };
        fs::write(&bad, bytes).expect("a file");
        for command in [
            &["show"][..],
            &["show", "--events"],
            &["show", "--privacy"],
            &["replay"],
            &["backtrace", "--all"],
        ] {
            let run = bounded(world, command, &bad);
            assert!([0, 3, 70].contains(&run.code()), "case {case}: {command:?}: {run}");
        }
    }
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), there);
    assert_eq!(rrtest_tests::traces(dir.path()).len(), 2, "{}", trace.display());
}

/// The same with what is attached for debuggers, and is not mapped: replay does not need it.
fn altered_debug_information_does_no_harm(world: &Harness) {
    let setting = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let cases: u64 = setting("RRTEST_FUZZ").unwrap_or(12);
    let seed: u64 = setting("RRTEST_FUZZ_SEED").unwrap_or(0);
    let project = Project::of_test(world, "#[test]\nfn t() { panic!(\"on purpose\") }\n");
    let trace = project.report(world, &["--no-chaos", "-j1"], 101).traces().remove(0);
    let forged = Forged::of(&fs::read(&trace).expect("a trace"));
    let here = |at| match at {
        Place::Here(number) => Some(number as usize),
        Place::Beside { .. } => None,
    };
    let files = |files: &[StoredFile]| -> BTreeSet<usize> {
        files.iter().flat_map(|file| file.blocks.values()).filter_map(|block| here(block.at)).collect()
    };
    let mapped = files(&forged.index.files);
    let attached: Vec<usize> = files(&forged.index.attached).difference(&mapped).copied().collect();
    assert!(!attached.is_empty());
    let bad = trace.with_file_name("altered.rrtrace");
    for case in 0..cases {
        let mut random = random(seed << 32 | case);
        let mut forged = forged.clone();
        for _ in 0..1 << (random() % 16) {
            let block = &mut forged.blocks[attached[random() as usize % attached.len()]];
            let at = random() as usize % block.len();
            block[at] ^= 1 << (random() % 8);
        }
        fs::write(&bad, forged.bytes()).expect("a file");
        let run = bounded(world, &["backtrace", "--all", "--full"], &bad);
        assert!([0, 70].contains(&run.code()), "case {case}: {run}");
        assert!(!run.stderr.contains("fault of rrtest"), "case {case}: {run}");
    }
}

/// SplitMix64.
fn random(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
