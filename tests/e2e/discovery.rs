//! Tests are built and found as cargo and libtest do it, and run as cargo runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rrtest_tests::Harness;
use rrtest_tests::project::{MANIFEST, Project};
use rrtest_tests::races::ENOUGH;
use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    all_kinds_of_targets,
    own_harnesses,
    a_noisy_binary_does_not_end_the_run,
    ignored_tests_and_filters,
    packages_of_a_workspace,
    features_and_profiles,
    build_scripts_and_proc_macros,
    a_build_script_that_refuses_our_flags,
    rustflags_of_the_user_count,
    a_wrapper_of_the_user_is_called,
    tests_see_what_cargo_gives_them,
    examples_are_there_for_tests_to_start,
    target_directories,
];

/// A manifest that begins as [`MANIFEST`].
fn manifest(more: &str) -> String {
    format!("{MANIFEST}{more}")
}

fn all_kinds_of_targets(world: &Harness) {
    let project = Project::new(
        world,
        &[
            (
                "src/lib.rs",
                "/// ```\n/// panic!()\n/// ```\npub fn f() {}\n#[cfg(test)]\nmod tests { #[test] fn unit() {} }",
            ),
            ("src/main.rs", "fn main() {}\n#[test]\nfn in_main() {}"),
            ("src/bin/other.rs", "fn main() {}\n#[test]\nfn in_bin() {}"),
            ("tests/it.rs", "#[test]\nfn integration() {}\nmod deep { #[test] fn er() {} }"),
            ("tests/dir/main.rs", "#[test]\nfn in_dir() {}"),
            ("examples/ex.rs", "fn main() { panic!() }\n#[test]\nfn in_example() {}"),
        ],
    );
    let all = [
        "p tests::unit",
        "p::bin/other in_bin",
        "p::bin/p in_main",
        "p::dir in_dir",
        "p::it deep::er",
        "p::it integration",
    ];
    assert_eq!(project.report(world, &[], 0).tests(), all);
    assert_eq!(project.report(world, &["--lib"], 0).tests(), all[..1]);
    assert_eq!(project.report(world, &["--bins"], 0).tests(), all[1..3]);
    assert_eq!(project.report(world, &["--bin", "other"], 0).tests(), all[1..2]);
    assert_eq!(project.report(world, &["--test", "it"], 0).tests(), all[4..]);
    assert_eq!(project.report(world, &["--example", "ex"], 0).tests(), ["p::example/ex in_example"]);
}

fn own_harnesses(world: &Harness) {
    let manifest = manifest(
        "[[test]]\nname = 'lists'\nharness = false\n[[test]]\nname = 'single'\nharness = false\n\
         [[test]]\nname = 'failing'\nharness = false\n",
    );
    let lists = r#"
        fn main() {
            let args: Vec<String> = std::env::args().collect();
            let has = |flag: &str| args.iter().any(|arg| arg == flag);
            if has("--list") {
                println!("{}", if has("--ignored") { "" } else { "alpha: test\nbeta: test" });
            } else {
                assert!(has("--exact") && (has("alpha") || has("beta")), "{args:?}");
            }
        }
    "#;
    let project = Project::new(
        world,
        &[
            ("Cargo.toml", &manifest),
            ("tests/lists.rs", lists),
            ("tests/single.rs", "fn main() { println!(\"I do not answer questions\") }"),
            ("tests/failing.rs", "fn main() { std::process::exit(3) }"),
        ],
    );
    let report = project.report(world, &[], 101);
    assert_eq!(report.tests(), ["p::failing failing", "p::lists alpha", "p::lists beta", "p::single single"]);
    let failing: Vec<_> =
        report.failing().map(|attempt| (attempt.text("test"), attempt.number("exit_code"))).collect();
    assert_eq!(failing, [("failing", 3)]);
}

fn a_noisy_binary_does_not_end_the_run(world: &Harness) {
    const BEFORE_MAIN: &str = "
        #[used] #[unsafe(link_section = \".init_array\")]
        static BEFORE_MAIN: extern \"C\" fn() = { extern \"C\" fn f() { print!(NOISE); } f };
        #[test] fn one() {}
        #[test] fn two() { panic!() }
        #[test] #[ignore] fn slow() {}
    ";
    let noisy = |noise: &str| BEFORE_MAIN.replace("NOISE", noise);
    let project = Project::new(
        world,
        &[
            ("tests/a_lines.rs", &noisy("\"plugins loaded\\nplugins: 3\\n\"")),
            ("tests/b_no_end_of_line.rs", &noisy("\"loading: \"")),
            ("tests/c_looks_like_a_test.rs", &noisy("\"self: test\\n\"")),
            ("tests/d_fails.rs", &noisy("\"{}\", std::process::exit(3)")),
            ("tests/quiet.rs", "#[test] fn fine() {}"),
        ],
    );
    let mut command = project.rrtest(world, &["--message-format", "json"]);
    let run = Run::of(&mut command).expect(101);
    let report = Report::of(&run);
    assert_eq!(
        report.tests(),
        [
            "p::a_lines one",
            "p::a_lines two",
            "p::b_no_end_of_line b_no_end_of_line",
            // That one is taken for an ignored one: it is in both lists.
            "p::c_looks_like_a_test one",
            "p::c_looks_like_a_test two",
            "p::d_fails d_fails",
            "p::quiet fine",
        ],
        "{run}"
    );
    let failing: Vec<_> = report.failing().map(|attempt| attempt.text("test")).collect();
    assert_eq!(failing.len(), 4, "{failing:?}");
    let _said = run.says(&["  plugins loaded", "  loading: ", "run all together"]);
}

fn ignored_tests_and_filters(world: &Harness) {
    let source = "
        #[test] fn one() {}
        #[test] fn one_more() {}
        #[test] fn two() {}
        #[test] #[ignore] fn slow() {}
        #[test] #[should_panic] fn panics() { panic!() }
        #[test] fn result() -> Result<(), String> { Ok(()) }
    ";
    let project = Project::of_test(world, source);
    let names = |args: &[&str]| -> Vec<String> {
        let tests = project.report(world, args, 0).tests();
        tests.into_iter().map(|test| test.replace("p::it ", "")).collect()
    };
    assert_eq!(names(&[]), ["one", "one_more", "panics", "result", "two"]);
    assert_eq!(names(&["one"]), ["one", "one_more"]);
    assert_eq!(names(&["one", "--", "--exact"]), ["one"]);
    assert_eq!(names(&["--", "one", "two"]), ["one", "one_more", "two"]);
    assert_eq!(names(&["one", "--", "--skip", "more"]), ["one"]);
    assert_eq!(names(&["--", "--ignored"]), ["slow"]);
    assert_eq!(names(&["o", "--", "--include-ignored", "--nocapture"]), ["one", "one_more", "slow", "two"]);
}

fn packages_of_a_workspace(world: &Harness) {
    let member = |name| format!("[package]\nname = '{name}'\nversion = '0.1.0'\nedition = '2021'\n");
    let project = Project::new(
        world,
        &[
            ("Cargo.toml", "[workspace]\nresolver = '2'\nmembers = ['a', 'b']\ndefault-members = ['a']\n"),
            ("a/Cargo.toml", &format!("{}[dependencies]\nb = {{ path = '../b' }}\n", member("a"))),
            ("a/src/lib.rs", "#[test]\nfn of_a() { assert_eq!(b::two(), 2) }"),
            ("b/Cargo.toml", &member("b")),
            ("b/src/lib.rs", "pub fn two() -> u32 { 2 }\n#[test]\nfn of_b() {}"),
        ],
    );
    assert_eq!(project.report(world, &[], 0).tests(), ["a of_a"]);
    assert_eq!(project.report(world, &["-p", "b"], 0).tests(), ["b of_b"]);
    assert_eq!(project.report(world, &["--workspace"], 0).tests(), ["a of_a", "b of_b"]);
    assert_eq!(project.report(world, &["--workspace", "--exclude", "a"], 0).tests(), ["b of_b"]);
    assert_eq!(project.report(world, &["--manifest-path", "b/Cargo.toml"], 0).tests(), ["b of_b"]);
}

fn features_and_profiles(world: &Harness) {
    let manifest = manifest(
        "[features]\ndefault = ['usual']\nusual = []\nextra = []\n[profile.quick]\ninherits = 'release'\n",
    );
    let source = "
        #[cfg(feature = \"usual\")] #[test] fn usual() {}
        #[cfg(feature = \"extra\")] #[test] fn extra() {}
        #[cfg(debug_assertions)] #[test] fn debug() {}
        #[cfg(not(debug_assertions))] #[test] fn release() {}
    ";
    let project = Project::new(world, &[("Cargo.toml", &manifest), ("src/lib.rs", source)]);
    assert_eq!(project.report(world, &[], 0).tests(), ["p debug", "p usual"]);
    assert_eq!(project.report(world, &["--features", "extra"], 0).tests(), ["p debug", "p extra", "p usual"]);
    assert_eq!(project.report(world, &["--no-default-features"], 0).tests(), ["p debug"]);
    assert_eq!(
        project.report(world, &["--all-features", "--release"], 0).tests(),
        ["p extra", "p release", "p usual"]
    );
    assert_eq!(project.report(world, &["--profile", "quick"], 0).tests(), ["p release", "p usual"]);
}

fn build_scripts_and_proc_macros(world: &Harness) {
    let project = Project::new(
        world,
        &[
            ("Cargo.toml", &manifest("members = ['made']\n[dependencies]\nmade = { path = 'made' }\n")),
            (
                "build.rs",
                "
                use std::sync::atomic::{AtomicU32, Ordering};
                fn main() {
                    // Would not link, were it built as tests are.
                    static COUNT: AtomicU32 = AtomicU32::new(40);
                    COUNT.fetch_add(2, Ordering::SeqCst);
                    println!(\"cargo::rustc-env=ANSWER={}\", COUNT.load(Ordering::SeqCst));
                }",
            ),
            (
                "made/Cargo.toml",
                "[package]\nname = 'made'\nversion = '0.1.0'\nedition = '2021'\n[lib]\nproc-macro = true\n",
            ),
            (
                "made/src/lib.rs",
                "
                use std::sync::atomic::{AtomicU32, Ordering};
                static COUNT: AtomicU32 = AtomicU32::new(1);
                #[proc_macro]
                pub fn number(_: proc_macro::TokenStream) -> proc_macro::TokenStream {
                    COUNT.fetch_add(1, Ordering::SeqCst).to_string().parse().unwrap()
                }",
            ),
            (
                "tests/it.rs",
                "
                #[test]
                fn uses_both() { assert_eq!((env!(\"ANSWER\"), made::number!()), (\"42\", 1)) }",
            ),
        ],
    );
    let report = project.report(world, &["--test", "it"], 0);
    assert!(report.attempts[0].number("ticks") > 0);
}

fn a_build_script_that_refuses_our_flags(world: &Harness) {
    let script = r#"
        fn main() {
            let flags: Vec<_> = std::env::vars().filter(|(name, _)| name.starts_with("CFLAGS")).collect();
            assert!(flags.iter().all(|(_, flags)| flags == "-DUSERS"), "no: {flags:?}");
            assert!(!std::path::Path::new("broken").exists());
        }
    "#;
    let source = r#"#[test] fn sees() { assert_eq!(std::env::var("CFLAGS").unwrap(), "-DUSERS"); }"#;
    let project = Project::new(world, &[("build.rs", script), ("src/lib.rs", ""), ("tests/it.rs", source)]);
    let run = || Run::of(project.rrtest(world, &[]).env("CFLAGS", "-DUSERS"));
    for _ in 0..2 {
        let run = run().expect(0);
        assert!(run.stderr.contains("C or C++ code does not build with the clock compiled in"), "{run}");
    }
    // One that fails whatever the flags.
    project.write("broken", "");
    project.write("build.rs", &format!("{script}//"));
    let _run = run().expect(101);
}

fn rustflags_of_the_user_count(world: &Harness) {
    let source = "#[test]\nfn flagged() { assert!(cfg!(by_user)) }";
    let by_environment = Project::of_test(world, source);
    let run = Run::of(by_environment.rrtest(world, &[]).env("RUSTFLAGS", "--cfg by_user")).expect(0);
    let _run = run.says(&["1 passed"]);
    let by_file = Project::of_test(world, source);
    by_file.write(".cargo/config.toml", "[build]\nrustflags = ['--cfg', 'by_user']\n");
    // A race is still found: our flags came along.
    by_file.write(
        "tests/race.rs",
        "
        use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
        #[test]
        fn races() {
            let count = AtomicU32::new(0);
            let add = || for _ in 0..4 { count.store(count.load(Relaxed) + 1, Relaxed) };
            std::thread::scope(|scope| { scope.spawn(add); scope.spawn(add); });
            assert_eq!(count.load(Relaxed), 8);
        }",
    );
    let _passes = by_file.report(world, &["--test", "it"], 0);
    let report =
        by_file.report(world, &["--test", "race", "--until-fail", "--runs", ENOUGH, "--seed", "1"], 101);
    assert!(report.failing().count() > 0);
}

fn a_wrapper_of_the_user_is_called(world: &Harness) {
    let source =
        "#[test]\nfn good() { assert!(std::env::var(\"RUSTC_WRAPPER\").unwrap().ends_with(\"wrap it\")) }";
    let project = Project::of_test(world, source);
    project.write("wrap it", "#!/bin/sh\necho \"$*\" >> \"$WRAPPER_LOG\"\nexec \"$@\"\n");
    let wrapper = project.path().join("wrap it");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("permissions");
    let log = project.path().join("log");
    let mut command = project.rrtest(world, &[]);
    let _run = Run::of(command.env("RUSTC_WRAPPER", &wrapper).env("WRAPPER_LOG", &log)).expect(0);
    let calls = fs::read_to_string(&log).expect("a log");
    let ours = calls.lines().find(|call| call.contains("--crate-name it ")).expect("the test's compilation");
    assert!(ours.contains("passes=tsan"), "{ours}");
}

fn tests_see_what_cargo_gives_them(world: &Harness) {
    let source = r#"
        use std::path::Path;
        #[test]
        fn sees() {
            let here = std::env::current_dir().unwrap();
            assert_eq!(here, Path::new(env!("CARGO_MANIFEST_DIR")));
            assert_eq!(here, Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()));
            assert_eq!(std::env::var("CARGO_PKG_VERSION").unwrap(), "1.2.3");
            assert!(Path::new(env!("CARGO_BIN_EXE_p")).is_file());
            assert!(Path::new(env!("CARGO_TARGET_TMPDIR")).is_dir());
            assert_eq!(std::env::var("MINE").unwrap(), "of the user");
            assert_eq!(std::fs::read_to_string("data.txt").unwrap(), "data");
            let ours = std::env::vars().find(|(name, _)| name.starts_with("__RRTEST") || name == "RUSTC_WRAPPER");
            assert_eq!(ours, None);
            let args: Vec<_> = std::env::args().skip(1).collect();
            assert_eq!(args, ["--exact", "sees", "--nocapture"]);
            assert_eq!(std::thread::current().name(), Some("sees"));
        }
    "#;
    let project = Project::new(
        world,
        &[("data.txt", "data"), ("src/main.rs", "fn main() {}"), ("sub/keep", ""), ("tests/it.rs", source)],
    );
    let mut command = project.rrtest(world, &["--test", "it"]);
    // From a directory below: tests run in their package's.
    let _run = Run::of(command.env("MINE", "of the user").current_dir(project.path().join("sub"))).expect(0);
}

fn examples_are_there_for_tests_to_start(world: &Harness) {
    let source = r#"
        #[test]
        fn starts() {
            let ourselves = std::env::current_exe().unwrap();
            let example = ourselves.ancestors().nth(2).unwrap().join("examples/ex");
            assert!(std::process::Command::new(example).status().unwrap().success());
        }
    "#;
    let project = Project::new(
        world,
        &[("src/lib.rs", ""), ("tests/it.rs", source), ("examples/ex.rs", "fn main() {}")],
    );
    let _run = Run::of(&mut project.rrtest(world, &[])).expect(0);
    // As `cargo test` would.
    project.write("examples/ex.rs", "fn main() { nothing() }");
    let run = Run::of(&mut project.rrtest(world, &[])).expect(101);
    assert!(run.stderr.contains("nothing"), "{run:?}");
    // Where targets are selected, cargo does not look at the examples.
    let _run = Run::of(&mut project.rrtest(world, &["--test", "it"])).expect(0);
}

fn target_directories(world: &Harness) {
    let project = Project::of_test(world, "#[test]\nfn bad() { panic!() }");
    let report = project.report(world, &["--target-dir", "else where"], 101);
    assert!(report.traces()[0].starts_with(project.path().join("else where/rrtest/traces")), "{report:?}");
    let report = project.report(world, &["--target-dir", "else where", "--trace-dir", "kept"], 101);
    assert!(report.traces()[0].starts_with(project.path().join("kept")), "{report:?}");
    assert!(!project.path().join("target").exists());
}
