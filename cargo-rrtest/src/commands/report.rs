//! `report`: a failure as a page, or its schedule as a file for trace viewers, for those who cannot replay it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rrtest_engine::carried::Carried;
use rrtest_engine::failure::{self, Find};
use rrtest_engine::history::{self, How};
use rrtest_engine::replay::{Options, Session};

use super::backtrace::{check, in_words, say_what_is_recorded};
use super::given::{self, PATIENCE};
use super::options::report::{FailureReport, ReportFormat};
use crate::base::cores::cores;
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::base::terminal::{GOOD, print};
use crate::base::whole::write_whole;
use crate::base::words::{relative, size, visible};
use crate::ending::explanation::Explanation;
use crate::ending::stacks::{self, Stacks};
use crate::picture::subject::Subject;
use crate::picture::{chrome, page};
use crate::store::limit;
use crate::store::source::Given;

/// Standard output.
const STANDARD_OUTPUT: &str = "-";

/// Writes the report of a trace.
pub(crate) fn run(options: &FailureReport) -> Result<Status, CliError> {
    let interrupt = Interrupt::install()?;
    let given = given::trace(&options.trace)?;
    let _stays = limit::hold(given.path());
    let to = options.output.clone().unwrap_or_else(|| beside(&given, options.format));
    let is_file = to != Path::new(STANDARD_OUTPUT);
    if is_file {
        // Better now than after the replays.
        check_output(&to, options.format)?;
    }
    let trace = given::open(given.path())?;
    let carried = Carried::by(&trace)?;
    let core = cores()?.first().copied().unwrap_or(0);
    let (stop, patience) = (&*interrupt.stop, PATIENCE);
    let failure = failure::find(&carried, Find { core, stop, patience })?;
    let how = How { core, stop, patience };
    let history = history::turns(&trace, how)?;
    let mut silent = |_, _: &[u8]| {};
    let replay = Options { core, stop, patience, watch: &[], output: &mut silent };
    let mut session = Session::start(&trace, replay)?;
    let report = failure::go_to(&mut session, &failure.moment)?;
    check(&trace, report)?;
    let mut stacks = Stacks::of(&carried);
    let tasks = stacks::tasks(&session, failure.moment.task);
    let mut threads =
        tasks.into_iter().map(|task| stacks.thread(&mut session, task)).collect::<Result<Vec<_>, _>>()?;
    drop(session);
    if failure.moment.stop.is_none() {
        threads.iter_mut().for_each(|thread| say_what_is_recorded(thread, trace.ending()));
    }
    let name = Path::new(&given.label)
        .file_name()
        .map_or_else(|| given.label.clone(), |name| name.to_string_lossy().into_owned());
    let subject = Subject {
        carried: &carried,
        name,
        failure: &failure,
        headline: in_words(&failure, trace.ending()),
        threads,
        history,
        explanation: Explanation::of(trace.info()),
    };
    let bytes = match options.format {
        ReportFormat::Html => page::page(&subject, how)?.into_bytes(),
        ReportFormat::Perfetto => {
            let mut bytes = Vec::new();
            chrome::write(&mut bytes, &subject)
                .map_err(|error| CliError::os("cannot write the schedule", &error))?;
            bytes
        }
    };
    if !is_file {
        let mut out = io::stdout().lock();
        let written = out.write_all(&bytes).and_then(|()| out.flush());
        return written
            .map(|()| Status::Success)
            .map_err(|error| CliError::unwritten("cannot write the report", &error));
    }
    write_whole(&to, &bytes).map_err(|error| {
        CliError::os(format!("cannot write {}", visible(&to.display().to_string())), &error)
    })?;
    let words = format!("{} ({})", visible(&relative(&to).display().to_string()), size(bytes.len() as u64));
    print(&format!("{GOOD}      Report{GOOD:#} {words}\n"))?;
    Ok(Status::Success)
}

/// Where a report goes if nobody says: beside the trace, or in the current directory if that is unpacked or fetched.
fn beside(given: &Given, format: ReportFormat) -> PathBuf {
    let extension = match format {
        ReportFormat::Html => "html",
        ReportFormat::Perfetto => "json",
    };
    let report = given.path().with_extension(extension);
    match report.file_name() {
        Some(name) if !given.stays() => PathBuf::from(name),
        _ => report,
    }
}

/// Refuses to overwrite a file that is no report of this kind. Devices and pipes are written to.
fn check_output(to: &Path, format: ReportFormat) -> Result<(), CliError> {
    let begin = match format {
        ReportFormat::Html => page::BEGIN,
        ReportFormat::Perfetto => chrome::BEGIN,
    };
    let cannot = |error: &io::Error| {
        CliError::os(format!("cannot write {}", visible(&to.display().to_string())), error)
    };
    let kind = match fs::metadata(to) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot(&error)),
    };
    if kind.is_dir() {
        let what = visible(&to.display().to_string());
        return Err(CliError::usage(format!("{what} is a directory: name a file in it")));
    }
    if !kind.is_file() {
        return Ok(());
    }
    let mut found = Vec::new();
    let read = File::open(to).and_then(|file| file.take(begin.len() as u64).read_to_end(&mut found));
    read.map_err(|error| cannot(&error))?;
    if found.is_empty() || found == begin.as_bytes() {
        return Ok(());
    }
    Err(CliError::usage(format!(
        "{} exists and is no such report, so it is not overwritten: delete it, or name another file with --output",
        visible(&to.display().to_string())
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reports_are_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("it.html");
        let check = |format| check_output(&path, format).is_ok();
        assert!(check(ReportFormat::Html), "there is none");
        write_whole(&path, format!("{}<html>", page::BEGIN).as_bytes()).expect("written");
        assert!(check(ReportFormat::Html) && !check(ReportFormat::Perfetto));
        write_whole(&path, b"<!DOCTYPE html><p>mine").expect("written");
        assert!(!check(ReportFormat::Html));
        assert!(check_output(dir.path(), ReportFormat::Html).is_err(), "a directory");
        assert_eq!(fs::read(&path).expect("a file"), b"<!DOCTYPE html><p>mine");
    }
}
