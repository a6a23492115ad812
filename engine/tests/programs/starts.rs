//! Copies of a start, and starts that cannot be copied.

use crate::common::{PATIENCE, program};
use crate::harness::{compile, options, replay_recording, text};
use rrtest_engine::ending::Ending;
use rrtest_engine::record::{self, ForkServer, Recording};
use rrtest_engine::schedule::StrategyName;

/// What an early call, or what the program does before it, makes of its start.
fn start_of(early: &str) -> (Result<ForkServer, String>, Recording) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("early", directory.path());
    let program = program(&path, &[early], directory.path());
    let fork_server =
        ForkServer::start(&program, &options(PATIENCE, StrategyName::Fair, 0)).expect("a start");
    (fork_server, record::record(&program, &options(PATIENCE, StrategyName::Walk, 7)).expect("a recording"))
}

#[test]
fn copies_see_what_new_starts_would() {
    for early in ["id", "time", "random", "counter", "file", "output", "nothing"] {
        let (fork_server, full) = start_of(early);
        let mut fork_server = fork_server.unwrap_or_else(|reason| panic!("{early}: {reason}"));
        let mut said = Vec::new();
        for _ in 0..3 {
            let copy = fork_server.record(&options(PATIENCE, StrategyName::Walk, 7)).expect("a recording");
            // The program checks itself that its ids are its own.
            assert_eq!(copy.ending, Ending::Exited(0), "{early}: {}", text(&copy));
            assert_eq!(copy.stats, full.stats, "{early}: equal seeds");
            let (replayed, output) =
                replay_recording(&copy).unwrap_or_else(|error| panic!("{early}: {error}"));
            assert_eq!((replayed.ending, replayed.stats), (copy.ending.clone(), copy.stats), "{early}");
            assert_eq!(output, copy.output, "{early}");
            said.push(text(&copy));
        }
        let alike = said.iter().all(|text| *text == said[0]);
        match early {
            "id" | "time" => assert!(!alike, "{early}: {said:?}"),
            _ => assert!(alike && said[0] == text(&full), "{early}: {said:?}"),
        }
    }
}

#[test]
fn random_numbers_are_those_of_the_seed() {
    let (fork_server, full) = start_of("random");
    let mut fork_server = fork_server.unwrap_or_else(|reason| panic!("{reason}"));
    let mut random =
        |seed| text(&fork_server.record(&options(PATIENCE, StrategyName::Walk, seed)).expect("a recording"));
    assert_eq!(random(7), text(&full));
    assert_ne!(random(8), random(9));
}

#[test]
fn what_cannot_be_copied_says_why() {
    for (early, why) in
        [("text", "different each time"), ("open", "files open"), ("crash", "does not start up")]
    {
        let (fork_server, full) = start_of(early);
        let reason = fork_server.err().unwrap_or_else(|| panic!("{early}: a template"));
        assert!(reason.contains(why), "{early}: {reason}");
        match early {
            "crash" => assert!(matches!(full.ending, Ending::Killed { signal: libc::SIGSEGV, .. })),
            _ => assert_eq!(full.ending, Ending::Exited(0), "{early}: {}", text(&full)),
        }
    }
}
