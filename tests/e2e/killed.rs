//! The recorder is killed (SIGKILL) at random moments: nothing that it recorded lives on, and there is no half trace,
//! and no other file of its.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rrtest_tests::World;
use rrtest_tests::project::Project;
use rrtest_tests::tool::{PATIENCE, Run};

use crate::replay::elsewhere;
use crate::{Test, Tests, tests};

pub(crate) const TESTS: &[Test] = tests![threads, a_tree, a_campaign];

/// Kills in a quick test, and in a slow one.
const FEW: u32 = 6;
const MANY: u32 = 100;

/// Says which processes are of a test: they inherit it.
const MARK: &str = "RRTEST_TEST_MARK";

/// Threads that write to files, and one that ends the program after a while.
const THREADS: &str = r#"
use std::sync::atomic::{AtomicU32, Ordering};
static COUNT: AtomicU32 = AtomicU32::new(0);
fn main() {
    let threads: Vec<_> = (0..4).map(|n| std::thread::spawn(move || {
        for i in 0..100 {
            std::fs::write(format!("file{n}"), format!("{i}")).unwrap();
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
    })).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    println!("{}", COUNT.load(Ordering::Relaxed));
}
"#;

/// Pipelines, children that nobody waits for, daemons in sessions of their own. All end at last: whether a recorder
/// waits for those whose parent is gone is not the question here.
const TREE: &str = "
    for n in 1 2 3; do (seq 500 | sort -r | cat > sorted$n) & done
    (setsid sleep 1 &)
    setsid sh -c 'sleep 1 & sleep 1 & exec sleep 1' &
    (trap '' HUP TERM; sleep 1) &
    wait %1 %2 %3
    echo sorted
    sleep 0.2
";

fn threads(world: &World) {
    leaves_nothing(world, &Subject::Threads, FEW);
}

fn a_tree(world: &World) {
    leaves_nothing(world, &Subject::Tree, FEW);
}

/// Attempts that pass quickly, of two tests, so that some are forked at any moment.
const PASSING: &str = "
#[test]
fn one() { std::thread::spawn(|| ()).join().unwrap() }
#[test]
fn other() { std::thread::spawn(|| ()).join().unwrap() }
";

fn a_campaign(world: &World) {
    let project = Project::of_test(world, PASSING);
    for kill in 0..FEW {
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

/// Kill the recorder this often, at moments spread at random over the time that it takes, and look around each time.
fn leaves_nothing(world: &World, subject: &Subject, kills: u32) {
    let project = Project::new(world, &[("src/main.rs", THREADS)]);
    let program = match subject {
        Subject::Threads => vec![project.program("p").into_os_string()],
        Subject::Tree => ["bash", "-c", TREE].map(Into::into).to_vec(),
    };
    let seed = std::env::var("RRTEST_KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random(seed);
    let mut whole = None;
    let mut cut_off = 0;
    for kill in 0..kills {
        // What the first takes, unharmed, the others are killed within.
        let moment = whole.map(|whole: Duration| whole.mul_f64(random.next()));
        let place = Place::new(world);
        let took = place.record(world, &program, moment);
        let at = format!("seed {seed}, kill {kill} after {moment:?} of {whole:?}");
        cut_off += u32::from(took.is_none());
        if whole.is_none() {
            whole = Some(took.expect("nothing killed it"));
        }
        place.assert_clean(world, &at);
    }
    assert!(cut_off >= kills / 4, "only {cut_off} of {kills} came before the end");
}

/// Where one recording takes place.
struct Place {
    cwd: tempfile::TempDir,
    /// For temporary files; its name is the mark of the processes.
    tmp: tempfile::TempDir,
}

impl Place {
    fn new(world: &World) -> Self {
        Self { cwd: world.dir(), tmp: world.dir() }
    }

    /// Record, and kill the recorder at this moment. Returns how long it took, if it came to its end.
    fn record(&self, world: &World, program: &[OsString], moment: Option<Duration>) -> Option<Duration> {
        let mut command = world.tool.cargo(self.cwd.path());
        command.args(["exec", "--keep", "always", "--"]).args(program);
        command.env(MARK, self.tmp.path()).env("TMPDIR", self.tmp.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let mut recorder = command.spawn().expect("the tool");
        if let Some(moment) = moment {
            thread::sleep(moment);
            recorder.kill().expect("a signal");
        }
        let status = recorder.wait().expect("a child");
        if moment.is_none() {
            assert_eq!(status.code(), Some(0), "{}", Run::of(&mut command));
        }
        status.code().map(|_| start.elapsed())
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
    fn assert_clean(&self, world: &World, at: &str) {
        self.assert_dead(at);
        assert_eq!(files(self.tmp.path()), [] as [PathBuf; 0], "{at}");
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
