//! What the targets share: a trace that is in memory, and all that can be read of it.

#[path = "../../engine/tests/common/forged.rs"]
#[expect(dead_code, reason = "what other tests alter with")]
mod forged;

use std::fs::File;
use std::io::Write;
use std::path::Path;

use rrtest_engine::disclosed::Disclosed;
use rrtest_engine::syscalls;
use rrtest_engine::trace::event::{Effect, Event, FileId, FileRange, Image};
use rrtest_engine::trace::{Source, Trace};

use forged::{Forged, Place};

/// Takes a sound trace apart, into bytes that [`forge`] puts together. Of files there is little left.
pub fn take_apart(trace: &[u8]) -> Vec<u8> {
    const FILE: u64 = 64;
    let mut forged = Forged::of(trace);
    for file in &mut forged.index.files {
        file.size = file.size.min(FILE);
        for block in file.blocks.values() {
            if let Place::Here(number) = block.at {
                forged.blocks[number as usize].truncate(FILE as usize);
            }
        }
    }
    postcard::to_stdvec(&forged).expect("a trace taken apart")
}

/// Puts an index and blocks together as a trace file with right checksums, and opens it.
pub fn forge(bytes: &[u8]) -> Option<Trace> {
    open(&postcard::from_bytes::<Forged>(bytes).ok()?.bytes())
}

/// Opens these bytes as a trace.
pub fn open(bytes: &[u8]) -> Option<Trace> {
    let mut file =
        File::from(nix::sys::memfd::memfd_create(c"trace", nix::sys::memfd::MFdFlags::empty()).ok()?);
    file.write_all(bytes).ok()?;
    Trace::from_file(file, Path::new("trace")).ok()
}

/// Reads all events, from the beginning and from the middle, and what they refer to of files.
pub fn read(trace: &Trace) {
    for event in trace.events().map_while(Result::ok) {
        ranges(&event).for_each(|range| {
            // A piece at a time, as replay does.
            let _ = range.pieces().take(16).try_for_each(|piece| trace.file(piece).map(drop));
        });
    }
    let middle = trace.count() / 2;
    let _ = trace.events_from(middle).take(100).map_while(Result::ok).count();
    let _ = trace.file(FileRange { file: FileId(0), offset: 1, len: 1 << 20 });
}

/// What `show` reads and puts in words, and `show --privacy`.
pub fn show(trace: &Trace) -> usize {
    let names = |number| syscalls::describe(number).map(|call| call.name());
    let head = format!(
        "{:?} {:?} {:?} {} {} {}",
        trace.ending(),
        trace.stats(),
        trace.program(),
        trace.info(),
        trace.tool(),
        trace.verified()
    );
    let files: u64 = trace.files().fold(trace.size_of_events(), |sum, file| sum.saturating_add(file.stored));
    let events = trace.events().map_while(Result::ok);
    let words: usize = events.map(|event| event.describe(names).to_string().len()).sum();
    let disclosed = Disclosed::of(trace).map_or(0, |disclosed| disclosed.read.iter().len());
    head.len() + words + disclosed + files as usize % 2
}

fn ranges(event: &Event) -> impl Iterator<Item = FileRange> {
    let of_image = |image: &Image| -> Vec<FileRange> {
        let backings = image.mappings.iter().filter_map(|mapping| mapping.file.as_ref());
        backings.flat_map(|backing| &backing.loads).map(|load| load.contents).collect()
    };
    let ranges = match event {
        Event::Image(image) => of_image(image),
        Event::Syscall(call) => match &call.effect {
            Effect::MapFile(backing) => backing.loads.iter().map(|load| load.contents).collect(),
            Effect::Executed(image) => of_image(image),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    ranges.into_iter()
}
