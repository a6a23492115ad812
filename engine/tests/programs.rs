//! C programs that do what is hard to record: each is recorded under several seeds and replayed from memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rrtest_engine::ending::Ending;
use rrtest_engine::program::Program;
use rrtest_engine::record::{self, Recording, Stdin};
use rrtest_engine::replay;
use rrtest_engine::schedule::{StrategyName, portfolio};
use rrtest_engine::task::TaskId;

const STRATEGIES: [StrategyName; 3] = [StrategyName::Fair, StrategyName::Walk, StrategyName::Pct];

/// The program of this name, compiled; none, with the reason printed, where there is no C compiler.
fn compile(name: &str, directory: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(format!("{name}.c"));
    let program = directory.join(name);
    let status = Command::new("cc")
        .args(["-O1", "-D_GNU_SOURCE", "-pthread", "-w", "-o"])
        .args([&program, &source])
        .status();
    match status {
        Ok(status) => {
            assert!(status.success(), "cc fails on {}", source.display());
            Some(program)
        }
        Err(error) => {
            eprintln!("skipped: cannot run cc: {error}");
            None
        }
    }
}

fn record(path: &Path, args: &[&str], directory: &Path, strategy: StrategyName, seed: u64) -> Recording {
    let program = Program {
        path: path.to_owned(),
        args: args.iter().map(Into::into).collect(),
        env: Vec::new(),
        cwd: directory.to_owned(),
    };
    let options = record::Options {
        plan: portfolio::plan(portfolio::seed(seed, 0, &[strategy], 100), &[]),
        core: core(),
        pretend_cores: 2,
        timeout: Duration::from_secs(20),
        stdin: Stdin::Null,
        listener: None,
        watchdog_main: false,
        stop: &AtomicBool::new(false),
    };
    record::record(&program, &options).expect("a recording")
}

/// The first core that we may use.
fn core() -> usize {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("our cores");
    (0..nix::sched::CpuSet::count()).find(|core| set.is_set(*core).unwrap_or(false)).expect("a core")
}

/// Record and replay the program; each recording must end as said, each replay as its recording.
fn check(name: &str, args: &[&str], ending: &Ending) {
    check_ending(name, args, &|end| end == ending);
}

/// The same for a program that a signal kills.
fn check_killed(name: &str, args: &[&str], number: i32) {
    check_ending(name, args, &|end| matches!(end, Ending::Killed { signal, .. } if *signal == number));
}

fn check_ending(name: &str, args: &[&str], is_right: &dyn Fn(&Ending) -> bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(path) = compile(name, directory.path()) else { return };
    for strategy in STRATEGIES {
        for seed in 0..4 {
            let recording = record(&path, args, directory.path(), strategy, seed);
            let said: String =
                recording.output.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect();
            assert!(is_right(&recording.ending), "{strategy:?} {seed}: {:?} {said}", recording.ending);
            let mut output = Vec::new();
            let replayed = replay::replay(
                &recording.log,
                replay::Options {
                    core: core(),
                    stop: &AtomicBool::new(false),
                    patience: Duration::from_secs(60),
                    output: &mut |stream, bytes| output.push((stream, bytes.to_vec())),
                },
            )
            .unwrap_or_else(|error| panic!("{strategy:?} {seed}: {error}\n{said}"));
            assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
            assert_eq!(output, recording.output);
        }
    }
}

#[test]
fn several_threads_read_one_pipe() {
    check("two_readers", &[], &Ending::Exited(0));
}

#[test]
fn a_write_that_a_pipe_has_no_room_for() {
    check("bigpipe", &[], &Ending::Exited(0));
}

#[test]
fn threads_start_while_another_is_in_the_kernel() {
    check("spawn_while_blocked", &[], &Ending::Exited(0));
}

#[test]
fn outputs_are_bounded_by_their_buffers() {
    check("outs", &[], &Ending::Exited(0));
}

#[test]
fn threads_wait_for_file_locks() {
    check("flocks", &["ofd"], &Ending::Exited(0));
    check("flocks", &["flock"], &Ending::Exited(0));
}

#[test]
fn threads_meet_at_a_fifo() {
    check("flocks", &["open"], &Ending::Exited(0));
}

#[test]
fn processes_fork_and_are_waited_for() {
    check("forks", &["forks"], &Ending::Exited(0));
    check("forks", &["orphans"], &Ending::Exited(0));
}

#[test]
fn processes_borrow_memory_and_execute_programs() {
    check("forks", &["vforks"], &Ending::Exited(0));
    check("forks", &["itself"], &Ending::Exited(0));
}

#[test]
fn a_program_takes_the_place_of_several_threads() {
    check("forks", &["exec"], &Ending::Exited(0));
    check("forks", &["exec-other"], &Ending::Exited(0));
}

#[test]
fn processes_are_killed() {
    check("forks", &["kills"], &Ending::Exited(0));
}

#[test]
fn select_waits_for_sets_of_descriptors() {
    check("selects", &[], &Ending::Exited(0));
}

#[test]
fn several_messages_at_once() {
    check("messages", &[], &Ending::Exited(0));
}

#[test]
fn timers_and_waited_for_signals() {
    check("timers", &[], &Ending::Exited(0));
}

#[test]
fn attributes_handles_and_mounts_of_files() {
    check("files", &[], &Ending::Exited(0));
}

#[test]
fn terminals_interfaces_and_other_devices() {
    check("ioctls", &[], &Ending::Exited(0));
}

#[test]
fn message_queues_and_semaphores() {
    check("queues", &[], &Ending::Exited(0));
}

#[test]
fn options_and_commands() {
    check("controls", &[], &Ending::Exited(0));
}

#[test]
fn splicing_and_other_processes() {
    check("pipes", &[], &Ending::Exited(0));
    check("pipes", &["output"], &Ending::Exited(0));
}

#[test]
fn a_thread_splices_pipes_between_others() {
    check("spliced", &[], &Ending::Exited(0));
}

#[test]
fn a_call_that_cannot_be_recorded_is_named() {
    let (what, task, name) = ("restart_syscall".into(), TaskId(0), "unsupported".into());
    let directory = tempfile::tempdir().expect("a directory");
    let Some(path) = compile("unsupported", directory.path()) else { return };
    let recording = record(&path, &[], directory.path(), StrategyName::Fair, 0);
    assert_eq!(recording.ending, Ending::Unsupported { what, task, name });
}

#[test]
fn signals_interrupt_calls_that_wait() {
    check("signals", &["waits"], &Ending::Exited(0));
    check("signals", &["restarts"], &Ending::Exited(0));
    check("signals", &["masks"], &Ending::Exited(0));
}

#[test]
fn signals_keep_their_order_and_values() {
    check("signals", &["queues"], &Ending::Exited(0));
    check("signals", &["nests"], &Ending::Exited(0));
}

#[test]
fn timers_send_signals() {
    check("signals", &["alarms"], &Ending::Exited(0));
    check("signals", &["timers"], &Ending::Exited(0));
    check("signals", &["vectors"], &Ending::Exited(0));
}

#[test]
fn programs_recover_from_faults() {
    check("signals", &["faults"], &Ending::Exited(0));
    check("signals", &["no-room"], &Ending::Exited(0));
}

#[test]
fn signals_reach_threads_and_processes() {
    check("signals", &["cancels"], &Ending::Exited(0));
    check("signals", &["leaves"], &Ending::Exited(0));
    check("signals", &["processes"], &Ending::Exited(0));
    check("signals", &["children"], &Ending::Exited(0));
}

#[test]
fn processes_are_stopped_and_continued() {
    check("signals", &["stops"], &Ending::Exited(0));
    check("signals", &["stops-threads"], &Ending::Exited(0));
}

#[test]
fn signals_kill() {
    check_killed("signals", &["reset"], libc::SIGTERM);
    check_killed("signals", &["pipes"], libc::SIGPIPE);
}

#[test]
fn threads_wait_in_the_kernel_for_what_is_written_to_them() {
    check("inside", &[], &Ending::Exited(0));
}

#[test]
fn waiting_in_the_kernel_for_each_other_is_a_deadlock() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(path) = compile("stuck", directory.path()) else { return };
    for what in ["pipe", "pair", "epoll", "children"] {
        let recording = record(&path, &[what], directory.path(), StrategyName::Fair, 0);
        assert!(matches!(recording.ending, Ending::Deadlocked(_)), "{what}: {:?}", recording.ending);
    }
    let recording = record(&path, &["alarm"], directory.path(), StrategyName::Fair, 0);
    assert!(
        matches!(recording.ending, Ending::Killed { signal: libc::SIGALRM, .. }),
        "{:?}",
        recording.ending
    );
}
