//! What a trace does not disclose, and what `show --privacy` says that it does.

use std::os::unix::fs::PermissionsExt;

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::stored::discloses;
use rrtest_tests::tool::Run;
use serde_json::Value;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] =
    tests![secrets_stay_out_of_traces, a_trace_is_its_owners, what_a_trace_discloses_is_listed,];

/// Fails, and says what it has got of the environment.
const TEST: &str = r#"
#[test]
fn fails() {
    for name in ["MY_SECRET_TOKEN", "DATABASE", "CONFIGURED_TOKEN", "HARMLESS"] {
        println!("{name}={:?}", std::env::var(name).ok());
    }
    panic!();
}
"#;

const SECRET: &str = "dont-look-at-me-7391";

/// Cargo sets variables as its configuration says: those that look like secrets are no less secret.
const CONFIG: &str = "[env]\nCONFIGURED_TOKEN = 'dont-look-at-me-either-5518'\n";
const CONFIGURED: &str = "dont-look-at-me-either-5518";

fn secrets_stay_out_of_traces(world: &Harness) {
    let project = Project::new(world, &[("tests/it.rs", TEST), (".cargo/config.toml", CONFIG)]);
    let run = |args: &[&str], says: &[&str]| {
        let traces = world.dir();
        let _run = Run::of(
            project
                .rrtest(world, &["--trace-dir"])
                .arg(traces.path())
                .args(args)
                .env("MY_SECRET_TOKEN", SECRET)
                .env("DATABASE", format!("postgres://me:{SECRET}@localhost/db"))
                .env("HARMLESS", "harmless-2604"),
        )
        .expect(101)
        .says(says);
        let path = rrtest_tests::traces(traces.path()).pop().expect("a trace");
        [SECRET, CONFIGURED, "harmless-2604"].map(|text| discloses(&path, text))
    };
    let kept = "kept from the tests, since traces hold their environment: ";
    let says = [
        kept,
        "CONFIGURED_TOKEN, DATABASE, MY_SECRET_TOKEN",
        "MY_SECRET_TOKEN=None",
        "CONFIGURED_TOKEN=None",
        "HARMLESS=Some(\"harmless-2604\")",
    ];
    // What the test gets does stand in the trace: the search finds it.
    assert_eq!(run(&[], &says), [false, false, true]);
    let passed = ["--no-chaos", "--pass-env", "my_secret_token", "--hide-env", "HARM*"];
    let says = [kept, "CONFIGURED_TOKEN, DATABASE, HARMLESS", SECRET, "HARMLESS=None"];
    assert_eq!(run(&passed, &says), [true, false, false]);
    let passed = ["--no-chaos", "--pass-env", "CONFIGURED_TOKEN"];
    assert_eq!(run(&passed, &[CONFIGURED]), [false, true, true]);
}

fn a_trace_is_its_owners(world: &Harness) {
    let project = Project::of_test(world, TEST);
    let _run = Run::of(&mut project.rrtest(world, &["--no-chaos"])).expect(101);
    let path = project.traces().pop().expect("a trace");
    assert_eq!(path.metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
}

/// Reads, writes, talks and starts a program, from within threads as without.
const TALKATIVE: &str = r#"
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;

#[test]
fn talks() {
    for _ in 0..4 {
        // Of these, some do not stop.
        std::fs::read_to_string("note.txt").unwrap();
    }
    std::fs::write("made.txt", "x").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    println!("listens at {address}");
    let client = std::thread::spawn(move || TcpStream::connect(address).unwrap().write_all(b"x").unwrap());
    listener.accept().unwrap().0.read(&mut [0; 1]).unwrap();
    client.join().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.send_to(b"x", "127.0.0.2:47110").unwrap();
    let _ = UnixDatagram::unbound().unwrap().connect("socket");
    std::env::set_current_dir("src").unwrap();
    std::fs::read("lib.rs").unwrap();
    let mut sh = std::process::Command::new("/bin/sh");
    sh.args(["-c", "exec < ../Cargo.toml"]).env("ONLY_THE_SHELL", "secret-0815").status().unwrap();
    panic!();
}
"#;

fn what_a_trace_discloses_is_listed(world: &Harness) {
    let project = Project::new(world, &[("tests/it.rs", TALKATIVE), ("note.txt", "a note")]);
    let run = Run::of(project.rrtest(world, &["--no-chaos"]).env("USER", "somebody")).expect(101);
    let show = |args: &[&str]| {
        let mut command = project.rrtest(world, &["show", "--privacy"]);
        Run::of(command.args(args)).expect(0)
    };
    let text = show(&["--message-format", "json"]).text();
    let json: Value = serde_json::from_str(&text).expect("an object");
    let at = |name: &str| project.path().join(name).canonicalize().expect("a file").display().to_string();
    let has = |list: &str, value: &str| {
        let list = json[list].as_array().expect("a list");
        assert!(list.iter().any(|it| it.as_str() == Some(value)), "{value} is not in {list:?}");
    };
    let sh = std::fs::canonicalize("/bin/sh").expect("a shell").display().to_string();
    has("environment", "CARGO_MANIFEST_DIR");
    has("environment", "ONLY_THE_SHELL");
    has("users", "somebody");
    has("read", &at("note.txt"));
    has("read", &at("src/lib.rs"));
    has("read", &at("Cargo.toml"));
    has("written", &at("made.txt"));
    has("directories", &at("."));
    has("directories", &at("src"));
    has("mapped", &sh);
    assert!(!text.contains("secret-0815"), "{text}");
    let uid = nix::unistd::getuid().as_raw();
    assert_eq!(json["uids"], serde_json::json!([uid]));
    let programs = json["programs"].as_array().expect("a list");
    let shell = serde_json::json!([sh, "-c", "exec < ../Cargo.toml"]);
    assert!(programs.contains(&shell), "{shell} is not in {programs:?}");
    let said = run.stderr.lines().find_map(|line| line.trim().strip_prefix("listens at "));
    let listens = said.expect("an address");
    let endpoint = |list: &str, protocol: &str, address: &str| {
        let endpoint = serde_json::json!({ "protocol": protocol, "address": address });
        assert!(json[list].as_array().expect("a list").contains(&endpoint), "{endpoint} is not in {json}");
    };
    endpoint("bound", "tcp", listens);
    endpoint("talked_to", "tcp", listens);
    endpoint("talked_to", "udp", "127.0.0.2:47110");
    endpoint("talked_to", "unix", &format!("{}/socket", at(".")));
    // The same for people, who are told what no list can.
    let told = show(&[]).text();
    for words in [
        "the program's memory",
        "can be found in the trace",
        &*at("note.txt"),
        "ONLY_THE_SHELL",
        "127.0.0.2:47110 (udp)",
        "somebody",
    ] {
        assert!(told.contains(words), "{words} is not in {told}");
    }
    let _refused = Run::of(&mut project.rrtest(world, &["show", "--message-format", "json"])).expect(2);
}
