//! `report`: a failure as a page that explains itself, and its schedule for trace viewers; from the trace alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rrtest_tests::Harness;
use rrtest_tests::browser::Browser;
use rrtest_tests::project::Project;
use rrtest_tests::races::{ENOUGH, LONG_ENOUGH};
use rrtest_tests::tool::Run;
use serde_json::Value;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    are_read_and_clicked_through_in_a_browser,
    say_who_waits_for_whom,
    show_what_happened_without_an_explanation,
    do_nothing_that_a_trace_says,
    need_neither_program_nor_sources,
    are_schedules_for_trace_viewers_too,
    overwrite_only_pages,
    mistakes_are_told,
];

/// The size of a usual failure's page is at most this.
const SMALL: u64 = 300 << 10;

/// A failing attempt's trace of a fixture, explained as the options say.
fn failing(world: &Harness, traces: &Path, package: &str, options: &[&str]) -> PathBuf {
    let mut command = world.fixture(package, traces);
    command.args(["--until-fail", "--runs", ENOUGH, "-j1", "--seed", "3"]).args(options);
    let _run = Run::of(&mut command).expect(101);
    rrtest_tests::traces(traces).pop().expect("a trace")
}

/// `cargo rrtest report`, as on a machine where there is nothing else.
fn report(world: &Harness, trace: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(&world.tool.path);
    command.args(["rrtest", "report"]).arg(trace).args(options).current_dir("/").env_clear();
    command
}

/// The page of a trace, beside it, and its text.
fn page(world: &Harness, trace: &Path) -> (PathBuf, String) {
    let run = Run::of(&mut report(world, trace, &[])).expect(0);
    let path = trace.with_extension("html");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{error}: {run}"));
    assert!(text.len() as u64 <= SMALL, "{} bytes", text.len());
    (path, text)
}

/// A browser, unless there is none on this machine: that is told.
fn browser(world: &Harness) -> Option<Browser> {
    Browser::start().map_err(|why| world.skip("pages in a browser", &why)).ok()
}

fn are_read_and_clicked_through_in_a_browser(world: &Harness) {
    let traces = world.dir();
    let trace = failing(world, traces.path(), "lost-update", &["--explain", LONG_ENOUGH]);
    let (path, text) = page(world, &trace);
    for says in [
        "What it needs",
        "is preempted",
        "self.used.load(Ordering::Relaxed)",
        "assertion `left == right` failed",
        "cargo rrtest replay",
    ] {
        assert!(text.contains(says), "{says}");
    }
    let Some(mut browser) = browser(world) else { return };
    browser.resize(1280, 900);
    browser.prefer("light");
    browser.open(&path);
    let count = |browser: &mut Browser, selector: &str| {
        browser.value(&format!("document.querySelectorAll({selector:?}).length")).as_u64().expect("a number")
    };
    assert_eq!(count(&mut browser, ".switch.needed"), 1, "the preemption is marked");
    assert!(count(&mut browser, "line.needed") == 1 && count(&mut browser, ".bar.c1") > 0);
    // In front of it a thread reads, behind it that thread writes what it has made of that.
    let order =
        "Array.from(document.querySelectorAll('.lanes > .step.hot, .switch.needed')).map(it => it.innerText)";
    let order = browser.value(order);
    let order: Vec<&str> = order.as_array().expect("rows").iter().filter_map(Value::as_str).collect();
    let at = order.iter().position(|row| row.contains("needed")).expect("the switch");
    assert!(at > 0 && order[at - 1].contains("used.load") && order[at - 1].contains("reads"), "{order:?}");
    assert!(
        order[at + 1..].iter().any(|row| row.contains("used.store") && row.contains("writes")),
        "{order:?}"
    );

    // Everything is reached by the key Tab.
    let wanted = "summary, button, input, [tabindex]";
    let all = format!("Array.from(document.querySelectorAll({wanted:?})).filter(it => it.offsetParent)");
    let focusable = browser.value(&format!("({all}).length")).as_u64().expect("a number");
    assert!(focusable > 10, "{focusable}");
    for _ in 0..focusable + 2 {
        browser.press("Tab");
        browser.value("document.activeElement.dataset.reached = 1");
    }
    let missed = browser
        .value(&format!("({all}).filter(it => !it.dataset.reached).map(it => it.outerHTML.slice(0, 200))"));
    assert_eq!(missed, serde_json::json!([]));

    // A step opens and closes; the arrows go to the next one and back.
    browser.value("document.querySelector('.step summary').focus()");
    browser.press("Enter");
    assert_eq!(browser.value("document.querySelector('.step details').open"), true);
    assert_ne!(browser.value("document.querySelector('.step .more-of-it').offsetHeight"), 0);
    browser.press("ArrowDown");
    let steps = "Array.from(document.querySelectorAll('.step summary')).indexOf(document.activeElement)";
    assert_eq!(browser.value(steps), 1);
    browser.press("ArrowUp");
    assert_eq!(browser.value(steps), 0);

    // A letter shows where its object is touched, and the filter leaves only what matters.
    browser.click("button[data-object]");
    assert!(count(&mut browser, ".step.touched") > 1);
    browser.click("button[data-object]");
    assert_eq!(count(&mut browser, ".step.touched"), 0);
    let shown = "Array.from(document.querySelectorAll('.lanes > li')).filter(it => it.offsetParent).length";
    let before = browser.value(shown).as_u64();
    browser.click("label[for=only-hot]");
    assert!(browser.value(shown).as_u64() < before);

    // Dark or light, as the reader's system has it or as the reader chooses.
    let color = "getComputedStyle(document.body).backgroundColor";
    let light = browser.value(color);
    browser.prefer("dark");
    let dark = browser.value(color);
    assert_ne!(light, dark);
    browser.click("button.theme");
    assert_eq!(browser.value(color), light);

    browser.resize(360, 740);
    browser.open(&path);
    assert_eq!(browser.value("document.documentElement.scrollWidth <= innerWidth"), true);
    assert_eq!(browser.value("getComputedStyle(document.querySelector('.step .who')).display"), "inline");
    assert_eq!(browser.requests().len(), 1, "{:?}", browser.requests());
    assert_eq!(browser.problems(), [""; 0]);

    // Without scripts it says the same.
    browser.allow_scripts(false);
    browser.open(&path);
    let shows = browser.value("document.body.innerText");
    assert!(shows.as_str().is_some_and(|text| text.contains("What the threads did")), "{shows}");
    browser.click(".step summary");
    assert_eq!(browser.value("document.querySelector('.step details').open"), true);
}

fn say_who_waits_for_whom(world: &Harness) {
    let traces = world.dir();
    let trace = failing(world, traces.path(), "lock-order", &["--explain", LONG_ENOUGH]);
    let (path, text) = page(world, &trace);
    assert!(text.contains("waits for a mutex") && text.contains("held by <code>reform</code>"), "{text}");
    let Some(mut browser) = browser(world) else { return };
    browser.resize(1280, 900);
    browser.open(&path);
    assert_eq!(browser.value("document.querySelectorAll('.graph .node.in-cycle').length"), 2);
    assert_eq!(browser.value("document.querySelectorAll('.graph .edge.in-cycle').length"), 2);
    assert_eq!(browser.problems(), [""; 0]);
}

fn show_what_happened_without_an_explanation(world: &Harness) {
    for (package, options, says) in [
        (
            "lost-update",
            &["--explain", "never"][..],
            &["has not been found out", "Meter::record", "does not carry the sources of some of these lines"]
                [..],
        ),
        ("crash", &["--explain", "never"], &["SIGSEGV", "is killed here", "crash::Table::get"]),
        (
            "livelock",
            &["--timeout", "2s", "--explain", "never"],
            &["hung", "can run", "What the threads did"],
        ),
    ] {
        let traces = world.dir();
        let trace = failing(world, traces.path(), package, options);
        let (_, text) = page(world, &trace);
        for says in says {
            assert!(text.contains(says), "{says} of {package}: {text}");
        }
        assert!(text.contains("class=\"step"), "{package} has operations: {text}");
    }
}

fn do_nothing_that_a_trace_says(world: &Harness) {
    let project = Project::of_test(
        world,
        "use std::io::Write;
        #[test]
        fn hostile() {
            let it = std::thread::Builder::new().name(\"<img src=x>`\\\"'\".into());
            it.spawn(|| {}).unwrap().join().unwrap();
            let mut out = std::io::stdout().lock();
            out.write_all(b\"</pre></script><script>window.hacked = 1</script>\\x1b]0;title\\x07 \\xff\\xfe\\0 <!--\").unwrap();
            out.write_all(\"\\u{202e}desrever\\n\".as_bytes()).unwrap();
            panic!(\"<img src=x onerror='window.hacked = 1'> {}\", '\\u{202e}');
        }",
    );
    let traces = project.path().join("traces");
    let _run =
        Run::of(project.rrtest(world, &["--runs", "1", "--trace-dir", "traces"]).arg("--explain=never"))
            .expect(101);
    let trace = rrtest_tests::traces(&traces).pop().expect("a trace");
    let (path, text) = page(world, &trace);
    assert_eq!(text.matches("<script>").count(), 1, "ours");
    assert!(
        !text.contains("<img")
            && !text.contains('\u{1b}')
            && !text.contains('\u{202e}')
            && !text.contains('\0')
    );
    assert!(text.contains("&lt;/script&gt;&lt;script&gt;window.hacked"), "{text}");
    if let Some(mut browser) = browser(world) {
        browser.open(&path);
        assert_eq!(browser.value("typeof window.hacked"), "undefined");
        assert_eq!(browser.requests().len(), 1, "{:?}", browser.requests());
        assert_eq!(browser.problems(), [""; 0]);
        // Even what got into the page would not run.
        browser.value(
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked = 1\">')",
        );
        browser.value("document.body.append(Object.assign(document.createElement('script'), { text: 'window.hacked = 1' }))");
        assert_eq!(browser.value("typeof window.hacked"), "undefined");
    }
    let run = Run::of(&mut report(world, &trace, &["--format", "perfetto", "-o", "-"])).expect(0);
    let schedule: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    let names = schedule.to_string();
    assert!(names.contains("<img src=x>`"), "{names}");
}

fn need_neither_program_nor_sources(world: &Harness) {
    let source = "#[test] fn fails() { assert_eq!(1, 2, \"no such luck\") }";
    let project = Project::of_test(world, source);
    let args = ["--runs", "1", "--trace-dir", "traces", "--no-debug-info", "--with-sources", "none"];
    let _run = Run::of(&mut project.rrtest(world, &args)).expect(101);
    let dir = world.dir();
    let trace = dir.path().join("it.rrtrace");
    let kept = rrtest_tests::traces(&project.path().join("traces")).pop().expect("a trace");
    fs::copy(kept, &trace).expect("a copy");
    drop(project);
    let (_, text) = page(world, &trace);
    assert!(text.contains("does not carry these sources") && text.contains("no such luck"), "{text}");
    assert!(text.contains("does not carry these files"), "{text}");
}

fn are_schedules_for_trace_viewers_too(world: &Harness) {
    let traces = world.dir();
    let trace = failing(world, traces.path(), "lost-update", &["--explain", LONG_ENOUGH]);
    let _run = Run::of(&mut report(world, &trace, &["--format", "perfetto"])).expect(0);
    let text = fs::read_to_string(trace.with_extension("json")).expect("a schedule");
    let schedule: Value = serde_json::from_str(&text).expect("JSON");
    let events = schedule["traceEvents"].as_array().expect("events");
    let of = |kind: &str| events.iter().filter(|event| event["ph"] == kind).collect::<Vec<_>>();
    let names: Vec<_> = of("M").iter().filter_map(|event| event["args"]["name"].as_str()).collect();
    assert!(names.iter().filter(|name| name.starts_with("every_transfer_")).count() == 3, "{names:?}");
    let moments: Vec<_> = of("i").iter().filter_map(|event| event["name"].as_str()).collect();
    assert!(moments.contains(&"failure") && moments.contains(&"needed preemption"), "{moments:?}");

    // On each track, a slice lies within another or beside it.
    let mut tracks: BTreeMap<u64, Vec<(u64, u64, &str, &str)>> = BTreeMap::new();
    for event in of("X") {
        let number = |key: &str| event[key].as_u64().unwrap_or_else(|| panic!("{key} of {event}"));
        let word = |key: &str| event[key].as_str().expect("a word");
        let slice = (number("ts"), number("ts") + number("dur"), word("cat"), word("name"));
        tracks.entry(number("tid")).or_default().push(slice);
    }
    for (track, slices) in &mut tracks {
        slices.sort_by_key(|(from, to, ..)| (*from, u64::MAX - *to));
        let mut open: Vec<u64> = Vec::new();
        for (from, to, category, name) in slices.iter() {
            open.retain(|end| end > from);
            assert!(open.iter().all(|end| to <= end), "{name} at {from} of track {track}");
            if *category == "call" {
                assert!(!open.is_empty(), "the call {name} at {from} of track {track} is in no turn");
            }
            if to > from {
                open.push(*to);
            }
        }
    }
    // One thread runs at a time.
    let mut turns: Vec<_> = tracks.values().flatten().filter(|slice| slice.2 == "turn").collect();
    turns.sort();
    assert!(turns.windows(2).all(|two| two[0].1 <= two[1].0), "{turns:?}");
    assert!(tracks.values().flatten().any(|slice| slice.2 == "wait" && slice.3 == "preempted"), "{tracks:?}");
    assert!(tracks.values().flatten().any(|slice| slice.3 == "clone3"), "{tracks:?}");
}

/// A trace of a program that does nothing wrong.
fn sound(world: &Harness, dir: &Path) -> PathBuf {
    let mut command = world.tool.cargo(dir);
    command.args(["exec", "--keep", "always", "--trace-dir", ".", "--", "true"]);
    let _run = Run::of(&mut command).expect(0);
    rrtest_tests::traces(dir).pop().expect("a trace")
}

fn overwrite_only_pages(world: &Harness) {
    let dir = world.dir();
    let trace = sound(world, dir.path());
    let (path, first) = page(world, &trace);
    let (_, second) = page(world, &trace);
    assert_eq!(first, second, "a page is the same each time");
    let run = Run::of(&mut report(world, &trace, &["--output", "-"])).expect(0);
    assert_eq!(run.stdout, first.as_bytes());
    fs::write(&path, "mine").expect("a file");
    let _run = Run::of(&mut report(world, &trace, &[]))
        .expect(2)
        .says(&["is no such report, so it is not overwritten"]);
    assert_eq!(fs::read_to_string(&path).expect("a file"), "mine");
    // Not even by one of the other kind.
    fs::write(&path, first).expect("a file");
    let output = path.to_str().expect("text");
    let _run = Run::of(&mut report(world, &trace, &["--format", "perfetto", "-o", output])).expect(2);
}

fn mistakes_are_told(world: &Harness) {
    let dir = world.dir();
    let trace = sound(world, dir.path());
    for (options, code, says) in [
        (&["-o", "/nowhere/it.html"][..], 70, "cannot write /nowhere/it.html"),
        (&["-o", "/proc"], 2, "is a directory: name a file in it"),
        (&["--format", "pdf"], 2, "pdf"),
    ] {
        let _run = Run::of(&mut report(world, &trace, options)).expect(code).says(&[says]);
    }
    let nothing = dir.path().join("nothing.rrtrace");
    let run = Run::of(&mut report(world, &nothing, &[]));
    assert!(run.status.code().is_some_and(|code| code != 0) && !run.stderr.contains("panicked"), "{run}");
    fs::write(&nothing, "no trace").expect("a file");
    let _run = Run::of(&mut report(world, &nothing, &[])).expect(70).says(&["nothing.rrtrace"]);
    assert!(!nothing.with_extension("html").exists());
}
