//! `doctor`: what this machine offers, and what follows from it.

use std::env;
use std::io;

use anstyle::{AnsiColor, Style};
use rrtest_engine::probe::{Machine, machine};

use crate::base::cores::cores;
use crate::base::exit::{CliError, Status};
use crate::base::terminal::print;
use crate::build::config::Config;
use crate::build::instrument::Level;
use crate::build::toolchain::Toolchain;

/// How to allow what containers forbid by default.
const CONTAINER: &str =
    "in a container, allow it with `docker run --cap-add=SYS_PTRACE --security-opt seccomp=unconfined`";

/// One line of the findings.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    what: &'static str,
    grade: Grade,
    text: String,
}

/// What a finding means for recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    /// As it should be.
    Good,
    /// Neither needed nor harmful.
    Note,
    /// Something works less well.
    Poor,
    /// Nothing can be recorded.
    Fatal,
}

/// Examine the machine and the toolchain.
pub(crate) fn run() -> Result<Status, CliError> {
    let mut findings = of_machine(&machine(), &cores()?);
    findings.extend(of_toolchain());
    let mut text: String = findings.iter().map(line).collect();
    let worst = findings.iter().any(|finding| finding.grade == Grade::Fatal);
    text.push('\n');
    text.push_str(if worst {
        "Tests cannot be recorded here.\n"
    } else if findings.iter().any(|finding| finding.grade == Grade::Poor) {
        "Tests can be recorded here, within the limits above.\n"
    } else {
        "Tests can be recorded here.\n"
    });
    print(&text)?;
    Ok(if worst { Status::Recorder } else { Status::Success })
}

fn line(finding: &Finding) -> String {
    let (mark, color) = match finding.grade {
        Grade::Good => ("ok", AnsiColor::Green),
        Grade::Note => ("--", AnsiColor::Cyan),
        Grade::Poor => ("!!", AnsiColor::Yellow),
        Grade::Fatal => ("NO", AnsiColor::Red),
    };
    let style: Style = color.on_default().bold();
    let text = finding.text.replace('\n', "\n                 ");
    format!("{style}{mark:>4}{style:#} {:<11} {text}\n", finding.what)
}

fn of_machine(machine: &Machine, cores: &[usize]) -> Vec<Finding> {
    let finding = |what, grade, text| Finding { what, grade, text };
    let mut findings = vec![finding("kernel", Grade::Good, format!("Linux {}, x86-64", machine.kernel))];
    findings.push(match cores.len() {
        0 | 1 => finding("cores", Grade::Poor, "1: attempts run one after the other".to_owned()),
        number => {
            finding("cores", Grade::Good, format!("{number}: attempts run side by side, one on each core"))
        }
    });
    findings.push(match &machine.ptrace {
        Ok(()) => finding("ptrace", Grade::Good, "children can be traced".to_owned()),
        Err(error) => finding("ptrace", Grade::Fatal, refused(error, &ptrace_remedy(machine))),
    });
    findings.push(match &machine.seccomp {
        Ok(()) => finding("seccomp", Grade::Good, "system calls can be filtered".to_owned()),
        Err(error) => finding("seccomp", Grade::Fatal, refused(error, CONTAINER)),
    });
    if machine.seccomp_mode.is_some_and(|mode| mode != 0) {
        let text = "this process runs under a seccomp filter, as in most containers: tests cannot do what it forbids";
        findings.push(finding("sandbox", Grade::Note, text.to_owned()));
    }
    if machine.no_new_privs == Some(1) {
        let text = "no_new_privs is set: sudo and set-user-ID programs have no effect, recorded or not";
        findings.push(finding("privileges", Grade::Note, text.to_owned()));
    }
    findings.push(match &machine.counters {
        Ok(()) => finding(
            "counters",
            Grade::Note,
            "the processor counts branches; the compiled-in clock needs none".to_owned(),
        ),
        Err(error) => {
            let paranoid = machine.perf_event_paranoid.filter(|level| *level > 2);
            let paranoid =
                paranoid.map(|level| format!(", kernel.perf_event_paranoid is {level}")).unwrap_or_default();
            finding(
                "counters",
                Grade::Note,
                format!("none ({error}{paranoid}): not needed, the clock is compiled in"),
            )
        }
    });
    findings
}

fn refused(error: &io::Error, remedy: &str) -> String {
    format!("refused ({error})\n{remedy}")
}

fn ptrace_remedy(machine: &Machine) -> String {
    match machine.ptrace_scope {
        Some(scope @ 2..) => format!(
            "kernel.yama.ptrace_scope is {scope}: {}",
            if scope == 2 {
                "allow it with `sudo sysctl kernel.yama.ptrace_scope=1`"
            } else {
                "nobody can trace until the next reboot; the setting is usually in /etc/sysctl.d"
            }
        ),
        _ => CONTAINER.to_owned(),
    }
}

fn of_toolchain() -> Vec<Finding> {
    let finding = |grade, text| Finding { what: "rustc", grade, text };
    let toolchain = env::current_dir()
        .map_err(|error| CliError::os("cannot determine the working directory", &error))
        .and_then(|cwd| Toolchain::find(&cwd, &Config::load(&cwd, &[])));
    let toolchain = match toolchain {
        Ok(toolchain) => toolchain,
        Err(stop) => return vec![finding(Grade::Poor, stop.message.unwrap_or_default())],
    };
    let mut findings = vec![finding(Grade::Good, toolchain.version().to_owned())];
    for level in [Level::Sync, Level::Memory] {
        let name = level.name();
        findings.push(match toolchain.try_passes(level, toolchain.host()) {
            Ok(()) => finding(Grade::Good, format!("can build for --preempt {name}")),
            Err(refusal) => finding(
                Grade::Poor,
                format!("cannot build for --preempt {name}; `syscall` is used instead, and finds fewer races\n{refusal}"),
            ),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(ptrace: io::Result<()>, ptrace_scope: Option<i32>) -> Machine {
        Machine {
            kernel: "6.1".into(),
            ptrace,
            seccomp: Ok(()),
            counters: Err(io::Error::from_raw_os_error(2)),
            ptrace_scope,
            perf_event_paranoid: Some(4),
            seccomp_mode: Some(0),
            no_new_privs: Some(0),
        }
    }

    fn forbidden() -> io::Result<()> {
        Err(io::Error::from_raw_os_error(1))
    }

    #[test]
    fn missing_counters_are_no_fault() {
        let findings = of_machine(&machine(Ok(()), Some(1)), &[0, 1]);
        assert!(
            findings.iter().all(|finding| matches!(finding.grade, Grade::Good | Grade::Note)),
            "{findings:?}"
        );
    }

    /// What a person reads of some machines.
    #[test]
    fn machines() {
        let counts = Machine { counters: Ok(()), ..machine(Ok(()), None) };
        let sandboxed = Machine { seccomp_mode: Some(2), no_new_privs: Some(1), ..machine(Ok(()), Some(1)) };
        let unfiltered = Machine { seccomp: forbidden(), ..machine(Ok(()), None) };
        let machines: [(&str, Machine, &[usize]); 7] = [
            ("as most are", machine(Ok(()), Some(1)), &[0, 1]),
            ("with counters, of one core", counts, &[0]),
            ("under a filter", sandboxed, &[0, 1]),
            ("without seccomp", unfiltered, &[0, 1]),
            ("a container without ptrace", machine(forbidden(), None), &[0, 1]),
            ("traced by administrators only", machine(forbidden(), Some(2)), &[0, 1]),
            ("traced by nobody", machine(forbidden(), Some(3)), &[0, 1]),
        ];
        let texts = machines.map(|(name, machine, cores)| {
            format!("{name}:\n{}", of_machine(&machine, cores).iter().map(line).collect::<String>())
        });
        insta::assert_snapshot!(anstream::adapter::strip_str(&texts.join("\n")).to_string());
    }
    #[test]
    fn a_container_that_forbids_ptrace() {
        let findings = of_machine(&machine(forbidden(), None), &[0, 1]);
        let finding = findings.iter().find(|finding| finding.what == "ptrace").expect("a finding");
        assert_eq!(finding.grade, Grade::Fatal);
        assert!(finding.text.contains("--cap-add=SYS_PTRACE"), "{}", finding.text);
    }

    #[test]
    fn yama() {
        let findings = of_machine(&machine(forbidden(), Some(2)), &[0]);
        assert!(findings.iter().any(|finding| finding.text.contains("sysctl kernel.yama.ptrace_scope=1")));
        assert!(findings.iter().any(|finding| finding.grade == Grade::Poor), "one core");
    }
}
