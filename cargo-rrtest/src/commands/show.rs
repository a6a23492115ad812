//! `ls`, `show` and `rm`: the store of kept traces, for people.

use std::time::SystemTime;

use rrtest_engine::trace::{Source as _, Trace};
use serde_json::Value;

use super::options::traces::{Place, Show, SomeTraces};
use super::options::values::MessageFormat;
use super::{events, given, pack, privacy};
use crate::base::exit::{CliError, Status};
use crate::base::terminal::{fact_line, print};
use crate::base::words::{self, shell_word, visible, width};
use crate::ending::backtrace::Frames;
use crate::ending::describe::{self, fact};
use crate::ending::explanation::{Explanation, FACT};
use crate::ending::outcome::Outcome;
use crate::store::traces::{Entry, Store};

/// The facts of a trace's description that `show` prints first, in this order.
const FACTS: &[&str] = &[
    "package",
    "binary",
    "test",
    "failed_tests",
    "order",
    "outcome",
    "attempt",
    "pinned",
    "seed",
    "strategy",
    "preempt",
    "time",
    "cpu",
    "surprises",
    "struck",
    "created",
    "rustc",
    "rrtest",
];

/// List the traces of a store.
pub(crate) fn ls(place: &Place) -> Result<Status, CliError> {
    let store = Store::find(place.trace_dir.as_deref(), &place.selection())?;
    let entries = store.entries()?;
    if entries.is_empty() {
        print(&format!("no traces in {}\n", store.dir.display()))?;
        return Ok(Status::Success);
    }
    let header = ["NAME", "TEST", "OUTCOME", "VERIFIED", "AGE", "SIZE"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(header).chain(entries.iter().map(row)).collect();
    print(&table(&rows))?;
    Ok(Status::Success)
}

fn row(entry: &Entry) -> [String; 6] {
    let (test, outcome, verified) = match Trace::open(&entry.path) {
        Ok(trace) => {
            let facts = ["binary", "test", "failed_tests"];
            let test: Vec<_> = facts.iter().filter_map(|key| fact(trace.info(), key)).collect();
            let outcome = fact(trace.info(), "outcome");
            let outcome = outcome.unwrap_or_else(|| Outcome::of(trace.ending()).name().to_owned());
            (test.join(" ").trim().to_owned(), outcome, if trace.verified() { "yes" } else { "no" })
        }
        // What exactly is wrong takes a line of its own: `show` tells.
        Err(_) => ("-".to_owned(), "unreadable".to_owned(), "-"),
    };
    let age = SystemTime::now().duration_since(entry.modified).unwrap_or_default();
    let cells =
        [entry.name.clone(), test, outcome, verified.to_owned(), words::age(age), words::size(entry.size)];
    cells.map(|cell| visible(&cell).replace('\n', " "))
}

/// Columns as wide as their widest cell of no unusual length, two spaces apart.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| width(rows.iter().map(|row| &row[column])));
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Show all that the head of a trace says.
pub(crate) fn show(options: &Show) -> Result<Status, CliError> {
    let given = given::trace(&options.trace)?;
    let path = given.path();
    let trace = given::open(path)?;
    if options.privacy {
        return privacy::show(path, &trace, options.message_format == MessageFormat::Json);
    }
    if let Some(range) = options.events {
        return events::show(&trace, range);
    }
    let size = path.metadata().map_or(0, |metadata| metadata.len());
    let mut lines = vec![("trace".to_owned(), format!("{} ({})", given.full_label(), words::size(size)))];
    let info = trace.info();
    lines.extend(FACTS.iter().filter_map(|key| Some(((*key).to_owned(), fact(info, key)?))));
    let others = info
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| !FACTS.contains(&key.as_str()) && *key != FACT);
    lines.extend(others.filter_map(|(key, _)| Some((key.clone(), fact(info, key)?))));
    lines.extend(explanation(info));
    lines.push(("machine".to_owned(), trace.machine().to_string()));
    lines.push(("format".to_owned(), trace.format().to_string()));
    lines.push(("verified".to_owned(), if trace.verified() { "yes" } else { "no" }.to_owned()));
    let program = trace.program();
    let words =
        std::iter::once(program.path.as_os_str()).chain(program.args.iter().map(|arg| arg.as_os_str()));
    let words: Vec<_> = words.map(|word| shell_word(&word.to_string_lossy())).collect();
    lines.push(("program".to_owned(), words.join(" ")));
    lines.push(("directory".to_owned(), program.cwd.display().to_string()));
    lines.push(("environment".to_owned(), words::count(program.env.len() as u64, "variable")));
    lines.push(("counted".to_owned(), words::counts(trace.stats())));
    let files: Vec<_> = trace.files().map(|file| file.stored).collect();
    lines.push((
        "holds".to_owned(),
        [
            format!("{} in {}", words::count(trace.count(), "event"), words::size(trace.size_of_events())),
            format!(
                "{} in {}",
                words::count(files.len() as u64, "mapped file"),
                words::size(files.into_iter().fold(0, u64::saturating_add))
            ),
        ]
        .join(", "),
    ));
    let attached: Vec<_> = trace.attached().map(|file| file.stored).collect();
    if !attached.is_empty() {
        lines.push((
            "attached".to_owned(),
            format!(
                "{} for debuggers in {}; `cargo rrtest show --privacy` lists them",
                words::count(attached.len() as u64, "file"),
                words::size(attached.into_iter().fold(0, u64::saturating_add))
            ),
        ));
    }
    if !trace.beside().is_empty() {
        let names: Vec<_> = trace.beside().iter().map(|name| name.to_string_lossy()).collect();
        lines.push((
            "needs".to_owned(),
            format!("{} beside it; `cargo rrtest pack` makes it stand alone", names.join(", ")),
        ));
    }
    lines.push(("ending".to_owned(), describe::ending(trace.ending(), Frames::Own).join("\n")));
    let text: String = lines.iter().map(|(key, value)| fact_line(key, value)).collect();
    print(&text)?;
    Ok(Status::Success)
}

/// What the failure needs, in words, by the name of the fact; as it is if another version has written it.
pub(super) fn explanation(info: &Value) -> Option<(String, String)> {
    let text = match Explanation::of(info) {
        Some(explanation) => explanation.lines().join("\n"),
        None => fact(info, FACT)?,
    };
    Some((FACT.to_owned(), text))
}

/// Delete traces.
pub(crate) fn rm(options: &SomeTraces) -> Result<Status, CliError> {
    let store = Store::find(options.place.trace_dir.as_deref(), &options.place.selection())?;
    // All must be found before any is deleted.
    let paths: Vec<_> = if options.all {
        store.entries()?.into_iter().map(|entry| entry.path).collect()
    } else {
        options.traces.iter().map(|trace| store.resolve(Some(trace))).collect::<Result<_, _>>()?
    };
    pack::without(store.entries()?, &paths)?;
    for path in paths {
        std::fs::remove_file(&path)
            .map_err(|error| CliError::os(format!("cannot delete {}", path.display()), &error))?;
        print(&format!("deleted {}\n", path.display()))?;
    }
    Ok(Status::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = [["NAME", "AGE"], ["a-long-name", "3d"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "NAME         AGE\na-long-name  3d\n");
    }

    #[test]
    fn a_damaged_trace_is_a_row() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("x.rrtrace"), "garbage").expect("a file");
        let entries = Store::at(dir.path()).expect("a store").entries().expect("entries");
        assert_eq!(row(&entries[0])[..4], ["x", "-", "unreadable", "-"]);
    }
}
