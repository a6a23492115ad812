//! What cannot be recorded is said, with the call and the thread, and yields no trace.

use rrtest_tests::World;
use rrtest_tests::project::Project;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![a_new_process_is_named, a_call_that_is_not_described_is_named];

fn ends_unsupported(world: &World, source: &str, says: &[&str]) {
    let project = Project::of_test(world, source);
    let report = project.report(world, &["--until-fail", "--runs", "5", "-j1", "--keep", "always"], 70);
    let [attempt] = &report.attempts[..] else {
        panic!("a test that cannot be recorded is tried once: {report:?}")
    };
    assert_eq!(attempt.text("outcome"), "unsupported");
    for text in says {
        assert!(attempt.text("message").contains(text), "{attempt:?}");
    }
    assert!(attempt.0["trace"].is_null());
    assert_eq!(project.traces(), [] as [std::path::PathBuf; 0]);
}

fn a_new_process_is_named(world: &World) {
    let source = r#"
        #[test]
        fn starts_a_program() {
            let thread = std::thread::Builder::new().name("starter".into());
            let thread = thread.spawn(|| std::process::Command::new("true").status().unwrap());
            assert!(thread.unwrap().join().unwrap().success());
        }
    "#;
    ends_unsupported(world, source, &["process", "`starter`"]);
}

fn a_call_that_is_not_described_is_named(world: &World) {
    let source = r#"
        unsafe extern "C" { fn shmget(key: i32, size: usize, flags: i32) -> i32; }
        #[test]
        fn shares() {
            let thread = std::thread::Builder::new().name("sharer".into());
            let id = thread.spawn(|| unsafe { shmget(0, 4096, 0) }).unwrap().join().unwrap();
            assert!(id >= 0);
        }
    "#;
    ends_unsupported(world, source, &["shmget", "`sharer`"]);
}
