//! Where and of what a result was measured.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What the machine is, as a list in Markdown.
#[must_use]
pub fn lines() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let facts = [
        format!("{}, {cores} cores", field("/proc/cpuinfo", "model name")),
        format!("memory {}", field("/proc/meminfo", "MemTotal")),
        format!("Linux {}", said("uname", &["-r"])),
        said("rustc", &["--version"]),
        format!(
            "commit {}",
            said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
        ),
        format!("load before: {}", load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")),
        format!("tool: {} build", if cfg!(debug_assertions) { "debug" } else { "release" }),
    ];
    facts.iter().map(|fact| format!("- {fact}\n")).collect()
}

/// Today, in UTC.
#[must_use]
pub fn today() -> String {
    said("date", &["-u", "+%F"])
}

/// Keep today's result of what the title says, in a file named after the day, and say where.
///
/// # Panics
/// If it cannot be written.
pub fn keep(title: &str, suffix: &str, report: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
    let path = dir.join(format!("{}{suffix}.md", today()));
    std::fs::write(&path, format!("# {title}, {}\n\n{report}", today()))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    eprintln!("written to {}", path.display());
}

/// The first value of a field in a file of proc(5).
fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    line.map_or("unknown", |(_, value)| value.trim()).to_owned()
}

/// What a command prints.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| format!("{program}: unknown"))
}
