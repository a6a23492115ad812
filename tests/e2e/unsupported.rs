//! What cannot be recorded is said, with the call and the thread, and yields no trace.

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![a_call_that_is_not_described_is_named, is_said_once];

fn ends_unsupported(world: &Harness, source: &str, says: &[&str]) {
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

/// A test whose thread `remapper` makes a call that nobody has needed since Linux 3.16.
const REMAPS: &str = r#"
    unsafe extern "C" {
        fn remap_file_pages(addr: *mut u8, size: usize, prot: i32, offset: usize, flags: i32) -> i32;
    }
    #[test]
    fn remaps() {
        let thread = std::thread::Builder::new().name("remapper".into());
        let call = || unsafe { remap_file_pages(std::ptr::null_mut(), 4096, 0, 0, 0) };
        assert_eq!(thread.spawn(call).unwrap().join().unwrap(), -1);
    }
"#;

fn a_call_that_is_not_described_is_named(world: &Harness) {
    ends_unsupported(world, REMAPS, &["remap_file_pages", "`remapper`"]);
}

fn is_said_once(world: &Harness) {
    let project = Project::of_test(world, REMAPS);
    // Each core may try it once.
    let run = Run::of(&mut project.rrtest(world, &["--runs", "5", "-j2"])).expect(70);
    assert_eq!(run.stderr.matches("remap_file_pages cannot be recorded").count(), 1, "{run}");
}
