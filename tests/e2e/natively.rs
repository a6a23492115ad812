//! A program sees of itself what it would see if nobody recorded it.

use std::process::Command;

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![what_the_kernel_tells, a_program_that_fixes_its_addresses_itself];

/// Prints what the kernel says of how it runs: of itself, of a thread, and of a child.
const ASKS: &str = r#"
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
unsafe extern "C" {
    fn personality(persona: u64) -> i32;
    fn prctl(option: i32, a: u64, b: u64, c: u64, d: u64) -> i32;
}
const LINES: [&str; 5] = ["State:", "TracerPid:", "NoNewPrivs:", "Seccomp:", "Seccomp_filters:"];
fn interesting(text: &str) -> String {
    let lines = text.lines().filter(|line| LINES.iter().any(|start| line.starts_with(start)));
    lines.collect::<Vec<_>>().join(", ")
}
fn main() {
    const GET_NO_NEW_PRIVS: i32 = 39;
    const SET_NO_NEW_PRIVS: i32 = 38;
    let mut file = std::fs::File::open("/proc/self/status").unwrap();
    let mut whole = String::new();
    file.read_to_string(&mut whole).unwrap();
    println!("{}", interesting(&whole));
    // In small pieces, from the beginning and from somewhere.
    file.seek(SeekFrom::Start(0)).unwrap();
    let (mut pieces, mut piece) = (Vec::new(), [0; 13]);
    while let count @ 1.. = file.read(&mut piece).unwrap() {
        pieces.extend_from_slice(&piece[..count]);
    }
    println!("{}", interesting(std::str::from_utf8(&pieces).unwrap()));
    file.read_exact_at(&mut piece, 6).unwrap();
    println!("{:?} {}", whole.get(6..19), String::from_utf8_lossy(&piece));
    let state = |path: &str| {
        let stat = std::fs::read_to_string(path).unwrap();
        stat.rsplit_once(')').unwrap().1[..2].to_owned()
    };
    println!("{}", state("/proc/self/stat"));
    println!("{}", std::fs::read_to_string("/proc/self/personality").unwrap());
    println!("{:x} {}", unsafe { personality(0xffff_ffff) }, unsafe { prctl(GET_NO_NEW_PRIVS, 0, 0, 0, 0) });
    std::thread::spawn(move || {
        println!("{}", interesting(&std::fs::read_to_string("/proc/thread-self/status").unwrap()));
        println!("{}", interesting(&std::fs::read_to_string("/proc/self/status").unwrap().replace("R (", "S (")));
    }).join().unwrap();
    println!("{} {}", unsafe { prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, unsafe { prctl(GET_NO_NEW_PRIVS, 0, 0, 0, 0) });
    println!("{}", interesting(&std::fs::read_to_string("/proc/self/status").unwrap()));
    let script = "grep -E 'State|TracerPid|NoNew|Seccomp' /proc/self/status; cat /proc/self/personality; \
                  grep TracerPid /proc/$PPID/status";
    let child = std::process::Command::new("sh").args(["-c", script]).output().unwrap();
    println!("{}", String::from_utf8_lossy(&child.stdout));
}
"#;

/// What it prints natively, and recorded. The trace replays.
fn both_ways(world: &Harness, source: &str) -> [String; 2] {
    let project = Project::new(world, &[("src/main.rs", source)]);
    let (program, traces) = (project.program("p"), world.dir());
    let native = Run::of(Command::new(&program).current_dir(project.path())).expect(0);
    let mut command = project.rrtest(world, &["exec", "--keep", "always", "--trace-dir"]);
    let recorded = Run::of(command.arg(traces.path()).arg("--").arg(program)).expect(0).says(&["(verified)"]);
    [native.text(), recorded.text()]
}

fn what_the_kernel_tells(world: &Harness) {
    let [native, recorded] = both_ways(world, ASKS);
    assert_eq!(recorded, native);
    assert!(recorded.contains("TracerPid:\t0"), "{recorded}");
}

/// Executes itself again with fixed addresses, unless it has them, as debuggers and sanitizers do.
const FIXES: &str = r#"
use std::os::unix::process::CommandExt;
unsafe extern "C" { fn personality(persona: u64) -> i32; }
const NO_RANDOMIZE: u64 = 0x0040000;
fn main() {
    let persona = unsafe { personality(0xffff_ffff) } as u64;
    println!("{persona:x}");
    if persona & NO_RANDOMIZE == 0 {
        println!("{:x}", unsafe { personality(persona | NO_RANDOMIZE) });
        panic!("{}", std::process::Command::new("/proc/self/exe").exec());
    }
    let child = std::process::Command::new("cat").arg("/proc/self/personality").output().unwrap();
    println!("{}", String::from_utf8_lossy(&child.stdout));
}
"#;

fn a_program_that_fixes_its_addresses_itself(world: &Harness) {
    let [native, recorded] = both_ways(world, FIXES);
    assert_eq!(recorded, native);
}
