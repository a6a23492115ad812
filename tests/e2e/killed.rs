//! The recorder is killed (SIGKILL), when what it records has come to some point and at random moments: nothing that it
//! recorded lives on, and there is no half trace, and no other file of its.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rrtest_tests::Harness;
use rrtest_tests::latch::FifoLatch;
use rrtest_tests::project::Project;
use rrtest_tests::tool::{PATIENCE, Run};

use crate::replay::elsewhere;
use crate::{Test, Tests, tests};

pub(crate) const TESTS: &[Test] = tests![threads, a_tree, a_campaign];

/// Kills of each kind in a quick test, and in a slow one.
const FEW: u32 = 3;
const MANY: u32 = 50;

/// Says which processes are of a test: they inherit it.
const MARK: &str = "RRTEST_TEST_MARK";

/// Threads that write to files, and one that ends the program after a while. With the path of a latch they write to it
/// after each file, and do not end.
const THREADS: &str = r#"
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
static COUNT: AtomicU32 = AtomicU32::new(0);
fn main() {
    let latch = std::env::args().nth(1).map(|path| std::fs::OpenOptions::new().write(true).open(path).unwrap());
    let rounds = if latch.is_some() { u32::MAX } else { 100 };
    let latch = &latch;
    std::thread::scope(|threads| for n in 0..4 {
        threads.spawn(move || for i in 0..rounds {
            std::fs::write(format!("file{n}"), format!("{i}")).unwrap();
            COUNT.fetch_add(1, Ordering::Relaxed);
            if let Some(mut latch) = latch.as_ref() { latch.write_all(b"!").unwrap() }
        });
    });
    println!("{}", COUNT.load(Ordering::Relaxed));
}
"#;

/// Pipelines, children that nobody waits for, daemons in sessions of their own. All end at last: whether a recorder
/// waits for those whose parent is gone is not the question here. With the path of a latch it is written to after each
/// step, and does not end.
const TREE: &str = r#"
    step() { :; }
    if [ "$1" ]; then exec 3> "$1"; step() { printf '!' >&3; }; fi
    step
    for n in 1 2 3; do (seq 500 | sort -r | cat > sorted$n) & step; done
    (setsid sleep 1 &)
    step
    setsid sh -c 'sleep 1 & sleep 1 & exec sleep 1' &
    (trap '' HUP TERM; sleep 1) &
    step
    wait %1 %2 %3
    echo sorted
    while [ "$1" ]; do step; sleep 0.01; done
    sleep 0.2
"#;

fn threads(world: &Harness) {
    leaves_nothing(world, &Subject::Threads, FEW);
}

fn a_tree(world: &Harness) {
    leaves_nothing(world, &Subject::Tree, FEW);
}

/// Attempts that pass quickly, of two tests, so that some are forked at any moment.
const PASSING: &str = "
#[test]
fn one() { std::thread::spawn(|| ()).join().unwrap() }
#[test]
fn other() { std::thread::spawn(|| ()).join().unwrap() }
";

fn a_campaign(world: &Harness) {
    let project = Project::of_test(world, PASSING);
    for kill in 0..2 * FEW {
        let place = Place::new(world);
        let mut command = project.rrtest(world, &["--until-fail", "-j2", "--message-format", "json"]);
        command.env(MARK, place.tmp.path()).env("TMPDIR", place.tmp.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut recorder = command.spawn().expect("the tool");
        let lines = BufReader::new(recorder.stdout.take().expect("a pipe")).lines();
        let attempts: Vec<String> = lines.map_while(Result::ok).take(5 + 10 * kill as usize).collect();
        recorder.kill().expect("a signal");
        recorder.wait().expect("a child");
        assert!(attempts.last().is_some_and(|line| line.contains("\"start\":\"forked\"")), "{attempts:?}");
        let at = format!("kill {kill}");
        place.assert_dead(&at);
        place.remove_of_compilers();
        place.assert_clean(world, &at);
    }
}

/// The same with many kills.
pub(crate) fn add_slow(tests: &mut Tests) {
    tests.add("slow::killed::threads".to_owned(), |world| leaves_nothing(world, &Subject::Threads, MANY));
    tests.add("slow::killed::a_tree".to_owned(), |world| leaves_nothing(world, &Subject::Tree, MANY));
}

/// What is recorded.
enum Subject {
    Threads,
    Tree,
}

/// When the recorder is killed.
#[derive(Clone, Copy, Debug)]
enum Kill {
    Never,
    /// When the program, which does not end by itself, has written so often.
    AtStep(u32),
    /// After this time, at which it may have ended, or be about to replay or write what it has recorded.
    After(Duration),
}

/// Kill the recorder so often when the program has come to some point, and at moments spread at random over the time
/// that recording takes; look around each time.
fn leaves_nothing(world: &Harness, subject: &Subject, kills: u32) {
    let project = Project::new(world, &[("src/main.rs", THREADS)]);
    let program = match subject {
        Subject::Threads => vec![project.program("p").into_os_string()],
        Subject::Tree => ["bash", "-c", TREE, "bash"].map(Into::into).to_vec(),
    };
    let seed = std::env::var("RRTEST_KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random(seed);
    let whole = Place::new(world).record(world, &program, Kill::Never);
    let points = (0..kills).map(|kill| Kill::AtStep(1 + 3 * kill));
    let moments = (0..kills).map(|_| Kill::After(whole.mul_f64(random.next())));
    for kill in points.chain(moments) {
        let place = Place::new(world);
        place.record(world, &program, kill);
        place.assert_clean(world, &format!("seed {seed}, {kill:?} of {whole:?}"));
    }
}

/// Where one recording takes place.
struct Place {
    cwd: tempfile::TempDir,
    /// For temporary files; its name is the mark of the processes.
    tmp: tempfile::TempDir,
}

impl Place {
    fn new(world: &Harness) -> Self {
        Self { cwd: world.dir(), tmp: world.dir() }
    }

    /// Record, and kill the recorder. Returns how long that took.
    fn record(&self, world: &Harness, program: &[OsString], kill: Kill) -> Duration {
        let mut command = world.tool.cargo(self.cwd.path());
        command.args(["exec", "--keep", "always", "--"]).args(program);
        command.env(MARK, self.tmp.path()).env("TMPDIR", self.tmp.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let path = self.cwd.path().join("latch");
        let latch = matches!(kill, Kill::AtStep(_)).then(|| FifoLatch::new(&path));
        command.args(latch.as_ref().map(|_| &path));
        let start = Instant::now();
        let mut recorder = command.spawn().expect("the tool");
        match kill {
            Kill::Never => {}
            Kill::AtStep(steps) => (0..steps).for_each(|_| latch.as_ref().expect("a latch").wait()),
            Kill::After(moment) => thread::sleep(moment),
        }
        if !matches!(kill, Kill::Never) {
            recorder.kill().expect("a signal");
        }
        let status = recorder.wait().expect("a child");
        match kill {
            Kill::Never => assert_eq!(status.code(), Some(0), "{}", Run::of(&mut command)),
            Kill::AtStep(_) => assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "ended by itself"),
            Kill::After(_) => {}
        }
        start.elapsed()
    }

    /// Nothing lives.
    fn assert_dead(&self, at: &str) {
        let start = Instant::now();
        // The kernel kills what a dead tracer traced; that may take a moment.
        while let Some(living) = self.living().first() {
            assert!(start.elapsed() < PATIENCE, "{at}: lives on: {living}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Remove what compilers leave that are killed, for the build beside the attempts: rustc's directory, gcc's files.
    fn remove_of_compilers(&self) {
        for file in files(self.tmp.path()) {
            let name = file.strip_prefix(self.tmp.path()).unwrap_or(&file).to_string_lossy();
            if name.starts_with("rustc") || name.starts_with("cc") {
                fs::remove_file(&file).expect("a file to remove");
            }
        }
    }

    /// Nothing lives, and there are no files but whole traces and what the program itself wrote.
    fn assert_clean(&self, world: &Harness, at: &str) {
        self.assert_dead(at);
        // What all campaigns on the machine share stays, and is empty.
        let shared = |file: &PathBuf| {
            file.ends_with("rrtest-in-use") && file.metadata().is_ok_and(|metadata| metadata.len() == 0)
        };
        let left: Vec<_> = files(self.tmp.path()).into_iter().filter(|file| !shared(file)).collect();
        assert_eq!(left, [] as [PathBuf; 0], "{at}");
        for file in files(&self.cwd.path().join("target")) {
            assert!(
                file.extension().is_some_and(|extension| extension == "rrtrace"),
                "{at}: {}",
                file.display()
            );
            let replay = Run::of(&mut elsewhere(world, &file));
            assert!(replay.status.success(), "{at}: a half trace: {replay}");
        }
    }

    /// The command lines of processes that have the mark in their environment.
    fn living(&self) -> Vec<String> {
        let mark = format!("{MARK}={}", self.tmp.path().display());
        let marked = |dir: &Path| {
            // Of processes that are not ours, or no longer there, it cannot be read.
            let environment = fs::read(dir.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let dirs = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
        dirs.filter(|dir| marked(dir))
            .map(|dir| {
                let words = fs::read(dir.join("cmdline")).unwrap_or_default();
                format!("{} {}", dir.display(), String::from_utf8_lossy(&words).replace('\0', " "))
            })
            .collect()
    }
}

/// All files in a directory, and in its directories. None if there is no directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type().expect("a type").is_dir() {
            true => files.extend(self::files(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files
}

/// Numbers from 0 to 1, after Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
