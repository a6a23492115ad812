//! `show --privacy`: what a trace discloses to whoever gets it.

use std::ffi::OsString;
use std::path::Path;

use rrtest_engine::disclosed::{Disclosed, Endpoint, Listed, Protocol};
use rrtest_engine::trace::Trace;
use serde::Serialize;

use crate::base::exit::{CliError, Status};
use crate::base::terminal::{fact_line, print};
use crate::base::words::{self, shell_word};

/// What no list can name.
const MEMORY: &str = "the program's memory from its beginning to its end: whatever it knew, also secrets that it\n\
                      read from files or got over the network, can be found in the trace";

/// Print what a trace discloses.
pub(crate) fn show(path: &Path, trace: &Trace, json: bool) -> Result<Status, CliError> {
    let disclosed = Disclosed::of(trace).map_err(|error| CliError::new(Status::Recorder, error))?;
    print(&if json { to_json(path, &disclosed) } else { to_text(path, &disclosed) })?;
    Ok(Status::Success)
}

fn to_text(path: &Path, disclosed: &Disclosed) -> String {
    let Disclosed {
        programs,
        environment,
        uids,
        users,
        directories,
        mapped,
        attached,
        read,
        written,
        bound,
        talked_to,
    } = disclosed;
    [
        fact_line("trace", &words::relative(path).display().to_string()),
        fact_line("memory", MEMORY),
        section("programs", "programs that ran", programs, |words| command(words)),
        section("uids", "users, by number", uids, u32::to_string),
        section("users", "users, by name", users, text),
        section("environment", "names of variables, whose values are in the trace", environment, text),
        section("directories", "working directories", directories, of_path),
        section("mapped", "files that were mapped, whose contents are in the trace", mapped, of_path),
        section("attached", "files that are attached whole, for who debugs the failure", attached, of_path),
        section(
            "read",
            "files and directories that were opened to be read; what was read is in the trace",
            read,
            of_path,
        ),
        section("written", "files and directories that were made or changed", written, of_path),
        section("bound", "addresses of its own sockets", bound, endpoint),
        section("talked to", "addresses of others", talked_to, endpoint),
    ]
    .concat()
}

fn section<T: Ord>(name: &str, what: &str, list: &Listed<T>, line: impl Fn(&T) -> String) -> String {
    let more = if list.is_cut_off() { " and more" } else { "" };
    let head = format!("{what} ({}{more})", list.iter().len());
    let lines = list.iter().map(line);
    fact_line(name, &std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n  "))
}

fn command(words: &[OsString]) -> String {
    words.iter().map(|word| shell_word(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn text(name: &OsString) -> String {
    name.to_string_lossy().into_owned()
}

fn of_path(path: &impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

fn protocol(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::Tcp => Some("tcp"),
        Protocol::Udp => Some("udp"),
        Protocol::Unknown => None,
    }
}

/// What Unix sockets have in place of a protocol.
const UNIX: &str = "unix";

fn endpoint(endpoint: &Endpoint) -> String {
    let Address { protocol, address } = address(endpoint);
    match protocol {
        Some(UNIX) => format!("{address} (Unix socket)"),
        Some(name) => format!("{address} ({name})"),
        None => address,
    }
}

/// The object of `--message-format json`.
#[derive(Serialize)]
struct Report<'a> {
    event: &'static str,
    trace: String,
    /// The trace has the program's memory.
    memory: bool,
    programs: Vec<Vec<String>>,
    uids: Vec<u32>,
    users: Vec<String>,
    environment: Vec<String>,
    directories: Vec<String>,
    mapped: Vec<String>,
    attached: Vec<String>,
    read: Vec<String>,
    written: Vec<String>,
    bound: Vec<Address>,
    talked_to: Vec<Address>,
    /// The lists that are cut off.
    cut_off: Vec<&'a str>,
}

#[derive(Serialize)]
struct Address {
    /// `tcp`, `udp`, `unix`; null if it is not known.
    protocol: Option<&'static str>,
    address: String,
}

fn to_json(path: &Path, disclosed: &Disclosed) -> String {
    let Disclosed {
        programs,
        environment,
        uids,
        users,
        directories,
        mapped,
        attached,
        read,
        written,
        bound,
        talked_to,
    } = disclosed;
    let cut_off = [
        ("programs", programs.is_cut_off()),
        ("uids", uids.is_cut_off()),
        ("users", users.is_cut_off()),
        ("environment", environment.is_cut_off()),
        ("directories", directories.is_cut_off()),
        ("mapped", mapped.is_cut_off()),
        ("attached", attached.is_cut_off()),
        ("read", read.is_cut_off()),
        ("written", written.is_cut_off()),
        ("bound", bound.is_cut_off()),
        ("talked_to", talked_to.is_cut_off()),
    ];
    let report = Report {
        event: "privacy",
        trace: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string(),
        memory: true,
        programs: all(programs, |words| words.iter().map(text).collect()),
        uids: all(uids, |uid| *uid),
        users: all(users, text),
        environment: all(environment, text),
        directories: all(directories, of_path),
        mapped: all(mapped, of_path),
        attached: all(attached, of_path),
        read: all(read, of_path),
        written: all(written, of_path),
        bound: all(bound, address),
        talked_to: all(talked_to, address),
        cut_off: cut_off.iter().filter(|(_, cut)| *cut).map(|(name, _)| *name).collect(),
    };
    let json = serde_json::to_string(&report).expect("names and numbers");
    json + "\n"
}

fn all<T: Ord, U>(list: &Listed<T>, one: impl Fn(&T) -> U) -> Vec<U> {
    list.iter().map(one).collect()
}

fn address(endpoint: &Endpoint) -> Address {
    let unix = |address| Address { protocol: Some(UNIX), address };
    match endpoint {
        Endpoint::Port(its, address) => Address { protocol: protocol(*its), address: address.to_string() },
        Endpoint::Path(path) => unix(path.display().to_string()),
        Endpoint::Abstract(name) => unix(format!("@{}", name.to_string_lossy())),
    }
}

#[cfg(test)]
mod tests {
    use nix::libc;
    use rrtest_engine::disclosed::Pass;
    use rrtest_engine::program::Program;
    use rrtest_engine::trace::event::{Effect, Event, Image, Name, Position, Registers, Syscall, Write};

    use super::*;

    /// A call with what it named, and what the kernel told.
    fn call(number: i64, args: [u64; 6], result: i64, names: &[&[u8]], writes: Vec<Write>) -> Event {
        Event::Syscall(Syscall {
            position: Position { left: 1, registers: Registers([0; _]) },
            number: number as u64,
            args,
            result,
            writes,
            given: 0,
            names: names.iter().map(|name| Name(name.to_vec())).collect(),
            effect: Effect::None,
        })
    }

    fn disclosed() -> Disclosed {
        const CREATE: u64 = (libc::O_WRONLY | libc::O_CREAT) as u64;
        const ADDRESS: &[u8] = &[2, 0, 0x1f, 0x90, 10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0];
        const STREAM: u64 = libc::SOCK_STREAM as u64;
        let variables = [("HOME", "/home/me"), ("USER", "me"), ("LANG", "C")];
        let mut pass = Pass::new(&Program {
            path: "/build/it".into(),
            args: vec!["--exact".into()],
            env: variables.map(|(name, value)| (name.into(), value.into())).into(),
            cwd: "/build".into(),
        });
        let here = libc::AT_FDCWD as u64;
        let told = Write { address: 7, bytes: ADDRESS.to_vec() };
        let image = Image {
            program: "/build/it".to_owned(),
            mappings: Vec::new(),
            writes: Vec::new(),
            registers: Registers([0; _]),
        };
        for event in [
            Event::Image(image),
            call(libc::SYS_openat, [here, 1, 0, 0, 0, 0], 3, &[b"../etc/h\x1b[2Josts"], Vec::new()),
            call(libc::SYS_openat, [here, 1, CREATE, 0, 0, 0], 4, &[b"out"], Vec::new()),
            call(libc::SYS_openat, [here, 1, 0, 0, 0, 0], -2, &[b"absent"], Vec::new()),
            call(libc::SYS_rename, [1, 2, 0, 0, 0, 0], 0, &[b"/a", b"/b"], Vec::new()),
            call(libc::SYS_chdir, [1, 0, 0, 0, 0, 0], 0, &[b"deep"], Vec::new()),
            call(libc::SYS_socket, [2, STREAM, 0, 0, 0, 0], 5, &[], Vec::new()),
            call(libc::SYS_connect, [5, 1, 16, 0, 0, 0], 0, &[ADDRESS], Vec::new()),
            call(libc::SYS_getsockname, [9, 7, 8, 0, 0, 0], 0, &[], vec![told]),
            call(libc::SYS_bind, [6, 1, 9, 0, 0, 0], 0, &[b"\x01\0\0name"], Vec::new()),
            call(libc::SYS_getuid, [0; 6], 1000, &[], Vec::new()),
        ] {
            pass.see(&event);
        }
        pass.finish()
    }

    #[test]
    fn what_is_disclosed_is_told_to_people_and_programs() {
        let path = Path::new("/traces/x.rrtrace");
        let text = anstream::adapter::strip_str(&to_text(path, &disclosed())).to_string();
        let json: serde_json::Value = serde_json::from_str(&to_json(path, &disclosed())).expect("an object");
        let json = serde_json::to_string_pretty(&json).expect("JSON");
        insta::assert_snapshot!(format!("{text}\n{json}\n"));
    }
}
