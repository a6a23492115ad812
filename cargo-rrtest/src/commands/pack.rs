//! `pack`: makes traces stand alone, to leave the machine one by one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rrtest_engine::trace::file::unnamed::Unnamed;
use rrtest_engine::trace::{Trace, pack as engine_pack};

use super::given;
use super::options::traces::Pack;
use crate::base::exit::{CliError, Status};
use crate::base::terminal::print;
use crate::base::words::{relative, size};
use crate::store::traces::{Entry, Store};

/// Make traces stand alone: in place, or one of them as another file.
pub(crate) fn pack(options: &Pack) -> Result<Status, CliError> {
    let place = &options.place;
    let paths: Vec<PathBuf> = if options.all {
        let store = Store::find(place.trace_dir.as_deref(), &place.selection())?;
        store.entries()?.into_iter().map(|entry| entry.path).collect()
    } else if options.traces.is_empty() {
        vec![given::find(None, place)?]
    } else {
        options.traces.iter().map(|trace| given::find(Some(trace), place)).collect::<Result<_, _>>()?
    };
    if let (Some(output), [path]) = (&options.output, &paths[..]) {
        let trace = given::read(path)?;
        let name = |out: Unnamed| out.name(output);
        write(&trace, directory(output), name)?;
        print(&format!("packed {} as {}\n", relative(path).display(), relative(output).display()))?;
        return Ok(Status::Success);
    }
    for path in paths {
        let trace = given::read(&path)?;
        if trace.beside().is_empty() {
            print(&format!("{} stands alone already\n", relative(&path).display()))?;
        } else {
            in_place(&path, &trace)?;
        }
    }
    Ok(Status::Success)
}

/// Makes those of these traces stand alone that need one of the files `gone`, which are about to be deleted.
pub(crate) fn without(entries: Vec<Entry>, gone: &[PathBuf]) -> Result<(), CliError> {
    let names: Vec<OsString> = gone.iter().filter_map(|path| Some(path.file_name()?.to_owned())).collect();
    for Entry { path, .. } in entries.into_iter().filter(|entry| !gone.contains(&entry.path)) {
        // What cannot be read needs nothing.
        let Ok(trace) = Trace::open(&path) else { continue };
        if trace.beside().iter().any(|name| names.contains(name)) {
            in_place(&path, &trace)?;
        }
    }
    Ok(())
}

fn in_place(path: &Path, trace: &Trace) -> Result<(), CliError> {
    let modified = path.metadata().and_then(|metadata| metadata.modified());
    write(trace, directory(path), |out| {
        // It is as old as it was.
        if let Ok(modified) = modified {
            out.file().set_modified(modified)?;
        }
        out.replace(path)
    })?;
    let now = path.metadata().map_or(0, |metadata| metadata.len());
    print(&format!("packed {} ({})\n", relative(path).display(), size(now)))
}

/// Writes the trace to a new file in a directory, and gives it its name.
fn write(
    trace: &Trace,
    directory: &Path,
    name: impl FnOnce(Unnamed) -> std::io::Result<()>,
) -> Result<(), CliError> {
    let failed = |error| CliError::os(format!("cannot write to {}", directory.display()), &error);
    let out = Unnamed::create(directory).map_err(failed)?;
    engine_pack(trace, &out).map_err(|error| CliError::new(Status::Recorder, error))?;
    name(out).map_err(failed)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
