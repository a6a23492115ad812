//! A replay needs nothing of the world: it runs where there is nothing but the tool, its libraries, /proc and the
//! trace, with no network, and leaves there no file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;
use rrtest_tests::Harness;
use rrtest_tests::machines;
use rrtest_tests::project::Project;
use rrtest_tests::tool::Run;

use crate::{Test, Tests, tests};

pub(crate) const TESTS: &[Test] = tests![of_files_and_threads, of_sockets, of_processes];

/// Reads and writes files, maps one, and has threads.
const FILES: &str = r#"
fn main() {
    std::fs::write("made", "some text").unwrap();
    let text = std::fs::read_to_string("made").unwrap();
    let threads: Vec<_> = (0..4).map(|n| {
        let text = text.clone();
        std::thread::spawn(move || text.len() + n)
    }).collect();
    let sum: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let host = std::fs::read_to_string("/etc/passwd").unwrap().len();
    println!("{sum} {}", host > 0);
    eprintln!("in {}", std::env::current_dir().unwrap().file_name().unwrap().display());
    std::process::exit(9);
}
"#;

/// Talks to itself over the loopback interface.
const SOCKETS: &str = r#"
use std::io::{Read, Write};
fn main() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut peer, _) = server.accept().unwrap();
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        peer.write_all(text.to_uppercase().as_bytes()).unwrap();
    });
    let mut client = std::net::TcpStream::connect(address).unwrap();
    client.write_all(b"words").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    thread.join().unwrap();
    println!("{answer} from port {}", address.port());
}
"#;

/// Starts programs, also through a shell.
const PROCESSES: &str = r#"
use std::process::{Command, Stdio};
fn main() {
    let output = Command::new("sh").args(["-c", "echo one | tr a-z A-Z; ls / | head -n 2; exit 4"]).output().unwrap();
    print!("{} {}", output.status, String::from_utf8_lossy(&output.stdout));
    let children: Vec<_> = (0..3)
        .map(|n| Command::new("expr").args(["40", "+", &n.to_string()]).stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        print!("{}", String::from_utf8_lossy(&output.stdout));
    }
    assert!(Command::new("cat").arg("/proc/self/comm").status().unwrap().success());
}
"#;

fn of_files_and_threads(world: &Harness) {
    replays_in_nothing(world, "files_and_threads", FILES, 9);
}

fn of_sockets(world: &Harness) {
    replays_in_nothing(world, "sockets", SOCKETS, 0);
}

fn of_processes(world: &Harness) {
    replays_in_nothing(world, "processes", PROCESSES, 0);
}

pub(crate) fn add_slow(tests: &mut Tests) {
    tests.add("slow::static_program".to_owned(), a_static_program);
}

/// One file is enough, for an ordinary user, too. It takes /proc, and says so.
fn a_static_program(world: &Harness) {
    let program = machines::static_program().expect("a static program");
    for user in [None, Some("65534")] {
        let nowhere = Nowhere::of_static(world, &program, user);
        replays_there(world, &nowhere, "slow::static_program", FILES, 9);
        replays_there(world, &nowhere, "slow::static_program", PROCESSES, 0);
        if nowhere.forbidden().is_none() {
            let mut command = nowhere.command_without_proc();
            let run = Run::of(command.args(["/cargo-rrtest", "rrtest", "replay", "/trace"])).expect(70);
            let run = run.says(&["there is no /proc here", "mount -t proc proc /proc"]);
            assert_eq!(run.text(), "", "{run}");
        }
    }
}

/// Record a program that exits with this code, and replay it in an empty world.
fn replays_in_nothing(world: &Harness, what: &str, source: &str, code: i32) {
    replays_there(world, &Nowhere::new(world), &format!("isolated::of_{what}"), source, code);
}

fn replays_there(world: &Harness, nowhere: &Nowhere, test: &str, source: &str, code: i32) {
    if let Some(why) = nowhere.forbidden() {
        world.skip(test, &format!("no namespaces of one's own here: {why}"));
        return;
    }
    let project = Project::new(world, &[("src/main.rs", source)]);
    let program = project.program("p");
    let traces = world.dir();
    let mut command = project.rrtest(world, &["exec", "--keep", "always", "--trace-dir"]);
    command.arg(traces.path()).arg("--").arg(program);
    let recorded = Run::of(&mut command).expect(code).says(&["(verified)"]);
    let trace = rrtest_tests::traces(traces.path()).pop().expect("a trace");
    let copy = nowhere.root.path().join("trace");
    fs::copy(trace, &copy).expect("a copy");
    fs::set_permissions(copy, Permissions::from_mode(0o644)).expect("a file for everybody");
    drop((project, traces));

    let before = nowhere.files();
    let replayed = Run::of(nowhere.command().args(["/cargo-rrtest", "rrtest", "replay", "/trace"])).expect(0);
    assert_eq!(replayed.text(), recorded.text(), "{replayed}");
    let own = recorded.stderr.split_once(" trace /").map_or("", |(own, _)| own).trim_end();
    assert!(replayed.stderr.starts_with(own), "{recorded}\n{replayed}");
    let _same_ending = replayed.says(&[&format!("exit code {code}")]);
    assert_eq!(nowhere.files(), before);
}

/// A root directory with the tool in it, and what the tool is linked with.
struct Nowhere {
    root: tempfile::TempDir,
    /// As whom the tool runs there, if not as us.
    user: Option<&'static str>,
}

impl Nowhere {
    fn new(world: &Harness) -> Self {
        let nowhere = Self::of_static(world, &world.tool.path, None);
        let libraries = Run::of(Command::new("ldd").arg(&world.tool.path)).expect(0).text();
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            let copy = nowhere.root.path().join(library.trim_start_matches('/'));
            fs::create_dir_all(copy.parent().expect("a parent")).expect("directories");
            fs::copy(library, copy).expect("a copy");
        }
        nowhere
    }

    /// One of a program that is linked with nothing. If we are root, it runs as `user`.
    fn of_static(world: &Harness, program: &Path, user: Option<&'static str>) -> Self {
        let root = world.dir();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("a root for everybody");
        fs::create_dir(root.path().join("proc")).expect("a directory");
        fs::copy(program, root.path().join("cargo-rrtest")).expect("a copy");
        Self { root, user: user.filter(|_| geteuid().is_root()) }
    }

    /// What comes after it runs with this root, no network, and processes of its own: see unshare(1).
    fn command(&self) -> Command {
        self.unshare(&["--mount-proc"])
    }

    fn command_without_proc(&self) -> Command {
        self.unshare(&[])
    }

    fn unshare(&self, options: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child"]).args(options);
        command.args((!geteuid().is_root()).then_some("--map-root-user"));
        if let Some(user) = self.user {
            command.args(["--setuid", user, "--setgid", user]);
        }
        command.arg("--root").arg(self.root.path()).arg("--").env_clear().env("PATH", "/usr/bin:/bin");
        command
    }

    /// Why this cannot be done here.
    fn forbidden(&self) -> Option<String> {
        let run = Run::of(self.command().args(["/cargo-rrtest", "rrtest", "--version"]));
        (!run.status.success() && run.stderr.starts_with("unshare: ")).then_some(run.stderr)
    }

    /// All its files but those of /proc.
    fn files(&self) -> Vec<PathBuf> {
        fn add(dir: &Path, files: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry")) {
                files.push(entry.path());
                if entry.file_type().expect("a type").is_dir() {
                    add(&entry.path(), files);
                }
            }
        }
        let mut files = Vec::new();
        add(self.root.path(), &mut files);
        files.sort();
        files
    }
}
