//! Where things are not as they should be around us, the message says which thing, and what was found is not lost.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::report::Report;
use rrtest_tests::tool::{self, Run};

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    a_target_directory_that_cannot_be_written,
    a_disk_that_is_full,
    a_failure_that_cannot_be_kept_is_told_once,
    a_limit_of_file_sizes,
    a_quota_of_processor_time,
    nobody_reads_the_report,
    unstable_flags_are_listed,
    paths_are_whole_wherever_we_are,
    a_leak_check,
    a_container,
];

const GOOD: &str = "#[test]\nfn good() {}";
const BAD: &str = "#[test]\nfn bad() { panic!(\"on purpose\") }";

fn a_target_directory_that_cannot_be_written(world: &Harness) {
    let project = Project::of_test(world, GOOD);
    project.write("a file", "");
    let run = Run::of(&mut project.rrtest(world, &["--target-dir", "a file/target"]));
    let run = run.expect(101).says(&["target directory", "a file/target", "Not a directory"]);
    assert!(!run.stderr.contains("toolchain"), "{run}");
}

/// A command in a place of its own where `dir` is a disk of 256 KiB.
fn on_a_small_disk(dir: &Path, command: &Command) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount").args((!geteuid().is_root()).then_some("--map-root-user"));
    let script = "mount -t tmpfs -o size=256k none \"$0\" && exec \"$@\"";
    unshare.args(["--", "sh", "-c", script]).arg(dir).arg(command.get_program()).args(command.get_args());
    unshare.current_dir(command.get_current_dir().expect("a directory"));
    tool::clean(&mut unshare);
    unshare
}

fn a_disk_that_is_full(world: &Harness) {
    let (project, traces) = (Project::of_test(world, BAD), world.dir());
    let allowed = Run::of(&mut on_a_small_disk(traces.path(), Command::new("true").current_dir("/")));
    if !allowed.status.success() {
        world.skip(
            "surroundings::a_disk_that_is_full",
            &format!("no disk of one's own here: {}", allowed.stderr),
        );
        return;
    }
    let mut command =
        project.rrtest(world, &["--until-fail", "-j1", "--message-format", "json", "--trace-dir"]);
    let run = Run::of(&mut on_a_small_disk(traces.path(), command.arg(traces.path()))).expect(101);
    let report = Report::of(&run);
    let [attempt] = &report.attempts[..] else { panic!("the first one fails: {run}") };
    assert_eq!((attempt.text("outcome"), attempt.number("exit_code")), ("failed", 101), "{run}");
    assert!(attempt.text("message").contains("No space left"), "{run}");
    assert_eq!(report.summary["failed"], serde_json::json!(["p::it bad"]), "{run}");
    let _said = run.says(&["on purpose", attempt.text("seed"), "cannot be kept", "0 passed, 1 failed"]);
}

fn a_failure_that_cannot_be_kept_is_told_once(world: &Harness) {
    let project = Project::of_test(world, BAD);
    project.write("a file", "");
    let args = [
        "--until-fail",
        "--keep-going",
        "--runs",
        "3",
        "-j1",
        // Those that are like the first one are counted; this names them.
        "-v",
        "--junit",
        "report.xml",
        "--trace-dir",
        "a file/x",
    ];
    let run = Run::of(&mut project.rrtest(world, &args))
        .expect(101)
        .says(&["0 passed, 3 failed", "3 of 3 attempts"]);
    assert_eq!(run.stderr.matches("panicked at").count(), 1, "{run}");
    assert_eq!(run.stderr.matches("whose trace cannot be kept either").count(), 2, "{run}");
    let junit = std::fs::read_to_string(project.path().join("report.xml")).expect("a report");
    assert!(junit.contains("failures=\"1\"") && junit.contains("errors=\"0\""), "{junit}");
    assert!(junit.contains("on purpose") && junit.contains("cannot be kept"), "{junit}");
}

fn a_limit_of_file_sizes(world: &Harness) {
    let project = Project::of_test(world, GOOD);
    let _built = Run::of(&mut project.rrtest(world, &["--no-run"])).expect(0);
    // In blocks of 512 or 1,024 bytes, as shells have it.
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -f 100 && exec \"$0\" rrtest -j1"])
        .arg(&world.tool.path)
        .current_dir(project.path());
    tool::clean(&mut limited);
    let _run = Run::of(&mut limited).expect(70).says(&["File too large", "ulimit -f"]);
}

/// A control group (cgroups(7)) with a quota of half a core, removed in the end.
struct HalfACore(PathBuf);

impl HalfACore {
    fn new() -> std::io::Result<Self> {
        let [cpu, unified] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"].map(Path::new);
        let hierarchy = if cpu.exists() { cpu } else { unified };
        let group = hierarchy.join(format!("rrtest-{}", std::process::id()));
        std::fs::create_dir(&group)?;
        let group = Self(group);
        let [version_1, version_2] = ["cpu.cfs_quota_us", "cpu.max"].map(|name| group.0.join(name));
        // A file that does not exist cannot be made in a group: the controller is not on.
        match version_1.exists() {
            true => std::fs::write(version_1, "50000")?,
            false => std::fs::write(version_2, "50000 100000")?,
        }
        Ok(group)
    }

    /// Runs a command in the group.
    fn run(&self, command: &Command) -> Command {
        let mut inside = Command::new("sh");
        inside.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.0);
        inside.arg(command.get_program()).args(command.get_args());
        inside.current_dir(command.get_current_dir().expect("a directory"));
        tool::clean(&mut inside);
        inside
    }
}

impl Drop for HalfACore {
    fn drop(&mut self) {
        // A group that is left behind does no harm.
        let _removed = std::fs::remove_dir(&self.0);
    }
}

/// Tests see the cores that they are told of, not those of the container that they run in.
fn a_quota_of_processor_time(world: &Harness) {
    const CORES: &str =
        "#[test]\nfn cores() { assert_eq!(std::thread::available_parallelism().unwrap().get(), 4) }";
    let half = match HalfACore::new() {
        Ok(group) => group,
        Err(error) => {
            world.skip("surroundings::a_quota_of_processor_time", &format!("no control group: {error}"));
            return;
        }
    };
    let project = Project::of_test(world, CORES);
    let _built = Run::of(&mut project.rrtest(world, &["--no-run"])).expect(0);
    let mut natively = Command::new("cargo");
    natively.args(["test", "--quiet", "--", "--nocapture"]).current_dir(project.path());
    let _quota_is_there = Run::of(&mut half.run(&natively)).expect(101).says(&["left: 1", "right: 4"]);
    let recorded = project.rrtest(world, &["--no-chaos", "--keep", "always", "-j1"]);
    let _not_told = Run::of(&mut half.run(&recorded)).expect(0).says(&["1 passed"]);
    let _replayed = Run::of(&mut project.rrtest(world, &["replay"])).expect(0);
    let eight = project.rrtest(world, &["--surprises", "cores", "--runs", "20", "-j1"]);
    let _other_cores = Run::of(&mut half.run(&eight)).expect(101).says(&["right: 4"]);
}

fn nobody_reads_the_report(world: &Harness) {
    let project = Project::of_test(world, GOOD);
    let args = ["--runs", "1000000", "--no-chaos", "--message-format", "json"];
    let mut command = project.rrtest(world, &args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a child");
    let mut first = String::new();
    // The pipe is closed with the reader.
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut first).expect("a line");
    let run = Run::rest(child, "| head -n 1".to_owned()).expect(141);
    assert!(first.starts_with("{\"event\":\"attempt\"") && !run.stderr.contains("error"), "{run}");
}

fn unstable_flags_are_listed(world: &Harness) {
    let project = Project::of_test(world, GOOD);
    let run = Run::of(&mut project.rrtest(world, &["-Z", "help"])).expect(0);
    assert!(run.text().contains("Available unstable"), "{run}");
}

fn paths_are_whole_wherever_we_are(world: &Harness) {
    let (project, traces) = (Project::of_test(world, BAD), world.dir());
    let manifest = project.path().join("Cargo.toml");
    for dir in [Path::new("/"), traces.path().parent().expect("a parent")] {
        let mut command = project.rrtest(world, &["--manifest-path"]);
        command.arg(&manifest).arg("--trace-dir").arg(traces.path()).current_dir(dir);
        let run = Run::of(&mut command).expect(101);
        let path = run
            .stderr
            .lines()
            .find_map(|line| line.trim().strip_prefix("trace ")?.strip_suffix(" (verified)"));
        let path = path.unwrap_or_else(|| panic!("no trace: {run}"));
        assert!(dir.join(path).is_file() && (dir != Path::new("/") || path.starts_with('/')), "{path}");
        // What it says to do about it, as it says it, where it says it.
        let replay = run.stderr.lines().find_map(|line| line.trim().strip_prefix("replay cargo rrtest "));
        let replay = replay.unwrap_or_else(|| panic!("no hint: {run}"));
        let mut hint = Command::new("sh");
        hint.args(["-c", &format!("exec \"$0\" rrtest {replay}")]).arg(&world.tool.path).current_dir(dir);
        tool::clean(&mut hint);
        let _replayed = Run::of(&mut hint).expect(0).says(&["as recorded"]);
    }
}

fn a_leak_check(world: &Harness) {
    // Any program that has somebody trace it does.
    let source = r#"
        unsafe extern "C" { fn syscall(number: i64, ...) -> i64; }
        fn main() {
            const CLONE: i64 = 56;
            const UNTRACED: u64 = 0x0080_0000;
            let result = unsafe { syscall(CLONE, UNTRACED | 17, 0_u64, 0_u64, 0_u64, 0_u64) };
            std::process::exit(i32::from(result < 0));
        }
    "#;
    let project = Project::new(world, &[("src/main.rs", source)]);
    let program = project.program("p");
    let run = Run::of(project.rrtest(world, &["exec", "--"]).arg(program)).expect(70);
    let _said =
        run.says(&["clone with CLONE_UNTRACED cannot be recorded yet", "ASAN_OPTIONS=detect_leaks=0"]);
}

/// What `docker run` allows without further options is enough to record and to replay.
fn a_container(world: &Harness) {
    let dir = world.dir();
    let contained = dir.path().join("contained");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/contained.c");
    let _compiled = Run::of(Command::new("cc").arg(source).arg("-o").arg(&contained)).expect(0);
    let project = Project::of_test(
        world,
        "#[test]
        fn spawns() {
            let threads: Vec<_> = (0..3).map(|n| std::thread::spawn(move || {
                std::process::Command::new(\"expr\").arg(n.to_string()).arg(\"+\").arg(\"1\").output().unwrap()
            })).collect();
            for thread in threads {
                print!(\"{}\", String::from_utf8(thread.join().unwrap().stdout).unwrap());
            }
            panic!(\"on purpose\");
        }",
    );
    let inside = |args: &[&str]| {
        let mut command = Command::new(&contained);
        command.arg(&world.tool.path).arg("rrtest").args(args).current_dir(project.path());
        tool::clean(&mut command);
        Run::of(&mut command)
    };
    let _failed = inside(&["-j1"]).expect(101).says(&["on purpose", "(verified)"]);
    let replayed = inside(&["replay"]).expect(0).says(&["on purpose", "as recorded"]);
    assert!(replayed.text().contains("1\n2\n3\n"), "{replayed}");
}
