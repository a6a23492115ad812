//! Tests of the reader: what is written is read, and what was altered is refused.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::*;
use crate::trace::BLOCK;
use crate::trace::event::{FileId, Load};
use crate::trace::file::ahead::Ready;
use crate::trace::file::block::BlockWriter;
use crate::trace::file::layout::Place;
use crate::trace::file::layout::{MARK_AT, UNVERIFIED};
use crate::trace::file::unnamed::Unnamed;
use crate::trace::file::writer::{self, Head};
use crate::trace::log::Log;
use crate::trace::testing::{self, in_own_process};

/// All that a trace tells.
#[derive(Debug, PartialEq)]
struct Told {
    verified: bool,
    head: Head,
    events: Vec<Event>,
    files: Vec<Vec<u8>>,
}

fn tell(trace: &Trace) -> Result<Told, TraceError> {
    let whole = |number| {
        let range = FileRange { file: FileId(number as u32), offset: 0, len: u64::MAX };
        trace.file(range).map(|bytes| bytes.to_vec())
    };
    Ok(Told {
        verified: trace.verified(),
        head: Head {
            program: trace.program().clone(),
            ending: trace.ending().clone(),
            stats: trace.stats(),
            info: trace.info().clone(),
        },
        events: trace.events().collect::<Result<_, _>>()?,
        files: (0..trace.files().count()).map(whole).collect::<Result<_, _>>()?,
    })
}

fn head(ending: Ending) -> Head {
    let odd = |bytes| PathBuf::from(OsStr::from_bytes(bytes));
    Head {
        program: Program {
            path: odd(b"/not utf-8/\xff"),
            args: vec!["--exact".into(), OsString::from("name")],
            env: vec![("PATH".into(), "/bin".into())],
            cwd: odd(b"/\xfe"),
        },
        ending,
        stats: Stats { ticks: u64::MAX, preemptions: 1, syscalls: 2, tasks: 3 },
        info: serde_json::json!({"test": "a::b", "seed": u64::MAX, "list": [1.5, null, true]}),
    }
}

fn log() -> Log {
    let mut log = Log::default();
    testing::every_kind().into_iter().for_each(|event| log.push(event));
    log.map_bytes(Path::new("libc.so"), (0..5000_u32).map(|n| (n >> 5) as u8).collect());
    log.map_bytes(Path::new("empty"), Vec::new());
    log
}

fn write(log: &Log, head: &Head) -> Unnamed {
    let out = Unnamed::create(&std::env::temp_dir()).unwrap();
    writer::write(log, head, &[], &out).unwrap();
    out
}

fn reopen(out: &Unnamed) -> Result<Trace, TraceError> {
    Trace::from_file(out.file().try_clone().unwrap(), Path::new("flaky.rrtrace"))
}

/// The bytes of a small trace with something of everything.
fn small() -> Vec<u8> {
    let out = write(&log(), &head(testing::every_ending()[1].clone()));
    let mut bytes = vec![0; out.file().metadata().unwrap().len() as usize];
    out.file().read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Read everything of a file with these bytes.
fn read(bytes: &[u8]) -> Result<Told, TraceError> {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    tell(&Trace::from_file(file, Path::new("flaky.rrtrace"))?)
}

#[test]
fn gives_back_what_was_written() {
    for ending in testing::every_ending() {
        let (log, head) = (log(), head(ending));
        let out = write(&log, &head);
        let mut expected = Told {
            verified: false,
            head,
            events: testing::every_kind(),
            files: vec![(0..5000_u32).map(|n| (n >> 5) as u8).collect(), Vec::new()],
        };
        let trace = reopen(&out).unwrap();
        assert_eq!(tell(&trace).unwrap(), expected);
        assert_eq!(trace.count(), log.count());
        assert_eq!(trace.tool(), env!("CARGO_PKG_VERSION"));
        let files: Vec<_> = trace.files().collect();
        let stored: Vec<_> = files.iter().map(|file| file.stored).collect();
        let files: Vec<_> = files.iter().map(|file| (file.path, file.bytes)).collect();
        assert_eq!(files, [(Path::new("libc.so"), 5000), (Path::new("empty"), 0)]);
        // After the events come the files, and then the index.
        let files_start = Header::LEN as u64 + trace.size_of_events();
        assert_eq!(stored, [trace.start_of_index - files_start, 0]);

        writer::mark_verified(&out).unwrap();
        expected.verified = true;
        assert_eq!(tell(&reopen(&out).unwrap()).unwrap(), expected);
    }
}

#[test]
fn carries_only_the_mapped_parts_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("big");
    let bytes: Vec<u8> = (0..BLOCK * 5 / 2).map(|n| ((n * n) >> 9) as u8).collect();
    fs::write(&path, &bytes).unwrap();
    let file = File::open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let mut log = Log::default();
    let first = log.map_file(&path, file, 10, 100).unwrap();
    let last = FileRange { offset: BLOCK * 2 - 7, len: BLOCK * 9, ..first };
    log.map_file(&path, File::open(&path).unwrap(), last.offset, last.len).unwrap();
    let trace = reopen(&write(&log, &head(Ending::Exited(0)))).unwrap();
    assert!(*trace.file(first).unwrap() == bytes[10..110]);
    assert!(*trace.file(last).unwrap() == bytes[BLOCK as usize * 2 - 7..], "it ends where the file ends");
    assert!(trace.file(FileRange { offset: u64::MAX, ..last }).unwrap().is_empty());
    // What somebody still has of a block stays when another one is read.
    let held = trace.file(first).unwrap();
    assert!(
        *trace.file(FileRange { offset: BLOCK, len: 9, ..first }).unwrap() == bytes[BLOCK as usize..][..9]
    );
    assert!(*held == bytes[10..110]);
    let between = FileRange { offset: BLOCK / 2, len: BLOCK, ..first };
    assert!(trace.file(between).is_ok());
    assert_eq!(
        trace.files().next().map(|file| (file.path, file.bytes)),
        Some((path.as_path(), BLOCK * 5 / 2))
    );

    let mut log = Log::default();
    let only = log.map_file(&path, File::open(&path).unwrap(), last.offset + 7, 1).unwrap();
    let trace = reopen(&write(&log, &head(Ending::Exited(0)))).unwrap();
    assert_eq!(trace.files().next().map(|file| file.bytes), Some(BLOCK / 2));
    assert!(trace.file(only).is_ok());
    assert!(trace.file(first).is_err(), "what was not mapped is not there");
}

/// A trace of a file of which two parts in different blocks are mapped, and of bytes that are no file's.
fn with_a_file(path: &Path, bytes: &[u8]) -> (Unnamed, [FileRange; 3]) {
    fs::write(path, bytes).unwrap();
    let open = || File::open(path).unwrap();
    open().set_modified(std::time::UNIX_EPOCH).unwrap();
    let mut log = Log::default();
    let first = log.map_file(path, open(), 10, 100).unwrap();
    let last = log.map_file(path, open(), BLOCK * 2, BLOCK * 9).unwrap();
    let captured = log.map_bytes(Path::new("captured"), b"bytes".to_vec());
    let captured = FileRange { file: captured, offset: 0, len: 5 };
    (write(&log, &head(Ending::Exited(0))), [first, last, captured])
}

#[test]
fn files_are_got_ready_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("big");
    let bytes: Vec<u8> = (0..BLOCK * 5 / 2).map(|n| ((n * n) >> 9) as u8).collect();
    let (out, [first, last, captured]) = with_a_file(&path, &bytes);
    let trace = reopen(&out).unwrap();
    let other: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
    for now in [Some(&bytes), Some(&other), None] {
        fs::remove_file(&path).unwrap();
        now.inspect(|now| fs::write(&path, now).unwrap());
        let prefetch = trace.prefetch();
        let ready = |range: FileRange| prefetch.take(range.file).unwrap();
        // Another replay of the trace has its own.
        let beside = trace.prefetch();
        assert!(beside.take(first.file).unwrap().is_some());
        let Ready { file, parts } = ready(first).unwrap();
        let mut made = vec![0; bytes.len()];
        file.read_exact_at(&mut made, 0).unwrap();
        assert!(made[10..110] == bytes[10..110]);
        assert!(made[BLOCK as usize * 2..] == bytes[BLOCK as usize * 2..]);
        assert_eq!(file.metadata().unwrap().len(), bytes.len() as u64);

        let have = |at, contents| parts.have(&Load { at, contents });
        assert!(have(10, first) && have(BLOCK * 2, last));
        assert!(!have(11, first), "it goes elsewhere");
        assert!(!have(BLOCK, FileRange { offset: BLOCK, ..first }), "this was not mapped");
        assert!(!have(0, captured), "this is another file's");

        assert!(ready(first).is_none(), "it was given away");
        assert!(ready(captured).is_some_and(|ready| ready.parts.have(&Load { at: 0, contents: captured })));
        assert!(ready(FileRange { file: FileId(9), ..captured }).is_none());
        prefetch.finish().unwrap();
        assert!(beside.take(captured.file).unwrap().is_some());
        fs::write(&path, "").unwrap();
    }
    let prefetch = trace.prefetch();
    let ready = |range: FileRange| prefetch.take(range.file).unwrap();
    assert!(ready(captured).is_some());
    assert!(ready(first).is_none(), "it was passed over");
    assert!(trace.file(first).is_ok());
}

#[test]
fn damage_shows_where_a_file_is_got_ready_from_its_own_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("big");
    let (out, [first, _, captured]) = with_a_file(&path, &[7; 3 << 20]);
    let trace = reopen(&out).unwrap();
    let (_, block) = trace.index.files[0].blocks.first_key_value().unwrap();
    let mut byte = [0];
    out.file().read_exact_at(&mut byte, block.here().unwrap() + 20).unwrap();
    out.file().write_all_at(&[byte[0] ^ 1], block.here().unwrap() + 20).unwrap();
    let error = |result: Result<(), TraceError>| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("big`: a checksum does not match"), "{error}");
    };
    error(trace.prefetch().finish());
    let prefetch = trace.prefetch();
    assert!(prefetch.take(first.file).unwrap().is_some(), "it is there without the trace");
    error(prefetch.finish());
    fs::remove_file(&path).unwrap();
    let prefetch = trace.prefetch();
    error(prefetch.take(first.file).map(drop));
    assert!(prefetch.take(captured.file).unwrap().is_some(), "another file is sound");
}

#[test]
fn a_loop_of_equal_calls_takes_next_to_nothing() {
    let mut log = Log::default();
    for n in 0..100_000 {
        let mut event = testing::output(1, 20);
        event.position_mut().unwrap().left = 7 * (100_000 - n);
        log.push(event);
    }
    let out = write(&log, &head(Ending::Exited(0)));
    let len = out.file().metadata().unwrap().len();
    assert!(len < 16 << 10, "{len} bytes");
    assert_eq!(reopen(&out).unwrap().events().count(), 100_000);
}

#[test]
fn reading_begins_at_any_event() {
    let mut log = Log::with_memory(1 << 20);
    for n in 0..40_000 {
        // Every so often one that is larger than a block, and a pattern that does not compress to nothing.
        log.push(testing::output(n, if n % 13_000 == 12_999 { 3 << 20 } else { 60 }));
    }
    let trace = reopen(&write(&log, &head(Ending::Exited(0)))).unwrap();
    assert!(trace.index.entries.len() > 3, "{:?}", trace.index.entries);
    let bounds = trace.index.entries.iter().flat_map(|entry| [entry.event.saturating_sub(1), entry.event]);
    for at in bounds.chain([0, 1, 12_998, 12_999, 13_000, 39_999, 40_000, u64::MAX]) {
        for source in [&log as &dyn Source, &trace] {
            let mut events = source.events_from(at);
            let next = events.next().transpose().unwrap();
            let expected = (at < 40_000).then(|| log.events().nth(at as usize).unwrap().unwrap());
            assert!(next == expected, "event {at}");
            if at > 38_000 {
                assert_eq!(events.count() as u64, 40_000_u64.saturating_sub(at.saturating_add(1)));
            }
        }
    }
}

#[test]
fn a_wrong_entry_is_noticed() {
    let mut stream = Vec::new();
    let mut encoder = crate::trace::stream::Encoder::default();
    testing::every_kind().into_iter().for_each(|event| encoder.encode(event, &mut stream).unwrap());
    let entry = |event, at| StoredEntry { event, at };
    let start = Header::LEN as u64;
    let forged = |entries: Vec<StoredEntry>| {
        forge(&stream, |end| {
            let (mut index, _) =
                postcard::take_from_bytes::<Index>(&index((start, end), Vec::new())).unwrap();
            index.entries = entries;
            postcard::to_stdvec(&index).unwrap()
        })
    };
    assert!(forged(vec![entry(0, start)]).is_ok());
    let wrong = [(1, start), (0, start + 1), (0, u64::MAX), (0, 0)].map(|(event, at)| vec![entry(event, at)]);
    let order = [(0, start + 1), (1, start)].map(|(event, at)| vec![entry(0, start), entry(event, at)]);
    for entries in wrong.into_iter().chain(order) {
        assert!(forged(entries.clone()).is_err(), "{entries:?}");
    }
}

#[test]
fn a_modified_file_keeps_a_recording_from_being_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mapped");
    fs::write(&path, "before").unwrap();
    let file = File::open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let mut log = Log::default();
    log.map_file(&path, file, 0, 4096).unwrap();
    fs::write(&path, "after!").unwrap();
    let out = Unnamed::create(directory.path()).unwrap();
    let error = writer::write(&log, &head(Ending::Exited(0)), &[], &out).unwrap_err();
    assert!(matches!(error, TraceError::Modified(at) if at == path));
}

#[test]
fn notices_every_flipped_bit() {
    let mut bytes = small();
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    let told = || tell(&Trace::from_file(file.try_clone().unwrap(), Path::new("flaky.rrtrace"))?);
    told().unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            file.write_all_at(&bytes[at..=at], at as u64).unwrap();
            let error = told().expect_err("a flipped bit must show").to_string();
            assert!(error.contains("flaky.rrtrace"), "{error}");
            bytes[at] ^= 1 << bit;
            file.write_all_at(&bytes[at..=at], at as u64).unwrap();
        }
    }
    told().unwrap();
}

#[test]
fn notices_spans_of_garbage() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let sound = small();
    let told = read(&sound).unwrap();
    for _ in 0..2000 {
        let mut bytes = sound.clone();
        let start = random.next_u64() as usize % bytes.len();
        let end = (start + 1 + random.next_u64() as usize % 600).min(bytes.len());
        match random.next_u64() % 3 {
            0 => bytes[start..end].fill(0),
            1 => random.fill_bytes(&mut bytes[start..end]),
            _ => drop(bytes.drain(start..end)),
        }
        match read(&bytes) {
            Ok(same) => assert_eq!(same, told),
            Err(error) => assert!(error.to_string().contains("flaky.rrtrace")),
        }
    }
}

#[test]
fn notices_truncation_at_every_length() {
    let bytes = small();
    for len in 0..bytes.len() {
        let error = read(&bytes[..len]).unwrap_err();
        match error {
            TraceError::NotATrace { .. } if len < 8 => {}
            TraceError::Truncated { len: told, .. } if told == len as u64 => {}
            other => panic!("{len}: {other}"),
        }
    }
}

#[test]
fn notices_what_follows_the_end() {
    let error = read(&[small(), vec![0]].concat()).unwrap_err();
    assert!(error.to_string().contains("1 bytes too many"), "{error}");
}

#[test]
fn tells_foreign_files() {
    let cases: [(&[u8], &str); 5] = [
        (b"", "empty"),
        (b"PK\x03\x04 and more", "unpack"),
        (b"\x7fELF", "wrong magic number"),
        (b"RRTRACF\0", "wrong magic number"),
        (&[0; 4096], "wrong magic number"),
    ];
    for (bytes, why) in cases {
        let error = read(bytes).unwrap_err();
        assert!(matches!(error, TraceError::NotATrace { .. }));
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn does_not_read_what_is_not_a_regular_file() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [directory.path(), &fifo, Path::new("/dev/zero")] {
        let error = Trace::open(path).unwrap_err();
        assert!(matches!(error, TraceError::NotATrace { .. }), "{error}");
    }
    let missing = Trace::open(&directory.path().join("missing")).unwrap_err();
    assert!(missing.to_string().contains("missing"));
}

/// A small trace with another header.
fn with_header(change: impl FnOnce(&mut Header)) -> TraceError {
    let mut bytes = small();
    let start = bytes.first_chunk().unwrap();
    let mut header = Header::decode(start).unwrap();
    change(&mut header);
    bytes[..Header::LEN].copy_from_slice(&header.encode());
    read(&bytes).unwrap_err()
}

#[test]
fn tells_other_versions_and_machines() {
    let newer = with_header(|header| {
        header.format = FORMAT + 1;
        header.tool = "9.8.7".to_owned();
    });
    assert!(matches!(newer, TraceError::Newer { format, .. } if format == FORMAT + 1));
    let (made, reads) = (format!("format {}", FORMAT + 1), format!("reads format {FORMAT}"));
    for part in ["flaky.rrtrace", "9.8.7", &made, &reads, "cargo install"] {
        assert!(newer.to_string().contains(part), "{newer}");
    }
    let older = with_header(|header| header.format = 0);
    assert!(matches!(older, TraceError::Older { format: 0, .. }));
    let arm = with_header(|header| header.machine = 183);
    assert!(matches!(arm, TraceError::Machine { machine: 183, .. }));
}

#[test]
fn believes_no_offset_of_the_header() {
    for index in [0, 1, 63, 64, 70, u64::MAX, u64::MAX - 12] {
        let error = with_header(|header| header.index = index);
        assert!(matches!(error, TraceError::Damaged { .. }), "{index}: {error}");
    }
    let error = with_header(|header| header.len = u64::MAX);
    assert!(matches!(error, TraceError::Truncated { expected: u64::MAX, .. }));
}

/// A trace with right checksums around any event stream and any index.
fn forge(stream: &[u8], index: impl FnOnce(u64) -> Vec<u8>) -> Result<Told, TraceError> {
    let out = tempfile::tempfile().unwrap();
    let mut blocks = BlockWriter::new(&out, Header::LEN as u64, 0).unwrap();
    blocks.append(stream).unwrap();
    let at = *blocks.finish().unwrap().last().unwrap();
    let mut blocks = BlockWriter::new(&out, at, 0).unwrap();
    blocks.append(&index(at)).unwrap();
    let len = *blocks.finish().unwrap().last().unwrap();
    let (tool, mark) = (String::new(), UNVERIFIED);
    let header = Header { format: FORMAT, machine: MACHINE, tool, len, index: at, mark };
    out.write_all_at(&header.encode(), 0).unwrap();
    tell(&Trace::from_file(out, Path::new("flaky.rrtrace"))?)
}

fn index(events: (u64, u64), files: Vec<StoredFile>) -> Vec<u8> {
    let Head { program, ending, stats, info } = head(Ending::Exited(0));
    let info = info.to_string();
    let entries = Vec::new();
    let index = Index {
        beside: Vec::new(),
        machine: Machine::default(),
        program,
        ending,
        stats,
        info,
        events,
        count: u64::MAX,
        entries,
        files,
        attached: Vec::new(),
    };
    postcard::to_stdvec(&index).unwrap()
}

#[test]
fn believes_no_length_inside() {
    in_own_process("trace::file::reader::tests::believes_no_length_inside", || {
        // What would be allocated for an announced length cannot be had.
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_AS, 1 << 30, 1 << 30).unwrap();
        let start = Header::LEN as u64;
        let varint = [[0xff; 9].as_slice(), &[0x01]].concat();

        assert!(forge(b"", |end| index((start, end), Vec::new())).is_ok(), "the forgery itself works");
        // Events: a record of 4 GiB; a kind that does not exist; an image whose name has 2^64 bytes.
        let records = [u32::MAX.to_le_bytes().to_vec(), b"\x01\0\0\0\x7f".to_vec(), {
            let mut record = 11_u32.to_le_bytes().to_vec();
            record.push(0);
            record.extend_from_slice(&varint);
            record
        }];
        for record in records {
            assert!(forge(&record, |end| index((start, end), Vec::new())).is_err());
        }
        for events in [(0, u64::MAX), (u64::MAX - 1, u64::MAX), (start, u64::MAX), (start + 1, start + 2)] {
            assert!(forge(b"", |_| index(events, Vec::new())).is_err());
        }
        // Files: endless, with blocks that are not there, outside, or those of something else.
        let blocks = [vec![], vec![(0, u64::MAX)], vec![(0, start), (u64::MAX, 0)], vec![(0, 3)]];
        for blocks in blocks {
            let blocks = blocks
                .into_iter()
                .map(|(number, at)| (number, StoredBlock { at: Place::Here(at), digest: 0 }))
                .collect();
            let file = StoredFile { path: OsString::new(), size: u64::MAX, blocks };
            assert!(forge(b"", |end| index((start, end), vec![file])).is_err());
        }
        // An index of 2^64 of anything.
        for front in 0..40 {
            let mut bytes = index((start, start), Vec::new());
            bytes.splice(front..front + 1, varint.iter().copied());
            let _ = forge(b"", |_| bytes);
        }
    });
}

#[test]
fn what_a_file_may_expand_to_is_bounded() {
    // A trace of which `change` has altered the index: why it is refused.
    let altered = |change: &dyn Fn(&mut Index)| {
        let forged = forge(b"", |end| {
            let start = Header::LEN as u64;
            let (mut index, _) =
                postcard::take_from_bytes::<Index>(&index((start, end), Vec::new())).unwrap();
            change(&mut index);
            postcard::to_stdvec(&index).unwrap()
        });
        forged.map_or_else(|error| error.to_string(), |_| String::new())
    };
    // Files of so many blocks in another trace, of which each is the same one.
    let files = |blocks: u64| {
        let block = StoredBlock { at: Place::Beside { trace: 0, at: 64 }, digest: 0 };
        let file = |blocks| StoredFile {
            path: "file".into(),
            size: u64::MAX,
            blocks: (0..blocks).map(|number| (number, block)).collect(),
        };
        vec![file(blocks / 2), file(blocks - blocks / 2)]
    };
    let most = FILES_LIMIT / BLOCK;
    let attached = |blocks| altered(&|index| index.attached = files(blocks));
    assert_eq!(attached(most), "");
    assert!(attached(most + 1).contains("flaky.rrtrace") && attached(most + 1).contains("attached files"));
    assert!(altered(&|index| index.files = files(most + 1)).contains("more of mapped files"));
    let beside = |count| altered(&|index| index.beside = vec!["other".into(); count]);
    assert_eq!(beside(BESIDE_MOST), "");
    assert!(beside(BESIDE_MOST + 1).contains("traces beside it"));

    // However large the file is.
    assert_eq!(most_of(EVENT_LIMIT, EVENT_RATIO, 1 << 20), 544 << 20);
    assert!(most_of(EVENT_LIMIT, EVENT_RATIO, u64::MAX) > LONGEST.into());
    assert_eq!([0, 1 << 40].map(most_of_files), [4 << 30, 16 << 40]);
}

#[test]
fn no_index_is_too_long_for_memory() {
    // About 2 MiB of blocks, each of a MiB of zeros but for a random beginning, so that they are more than their 64th.
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let forged = forge(b"", |_| {
        let mut bytes = vec![0; INDEX_MOST as usize + 2 * BLOCK as usize];
        bytes.chunks_mut(BLOCK as usize).for_each(|block| random.fill_bytes(&mut block[..32 << 10]));
        bytes
    });
    let error = forged.unwrap_err().to_string();
    assert!(error.contains("index: it is longer than can be"), "{error}");
}

#[test]
fn a_full_disk_leaves_nothing() {
    in_own_process("trace::file::reader::tests::a_full_disk_leaves_nothing", || {
        use nix::sys::resource::{Resource, setrlimit};
        use nix::sys::signal::{SigHandler, Signal, signal};

        let directory = tempfile::tempdir().unwrap();
        // SAFETY: ignoring a signal installs no handler.
        unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.unwrap();
        setrlimit(Resource::RLIMIT_FSIZE, 300, 300).unwrap();
        let out = Unnamed::create(directory.path()).unwrap();
        let error = writer::write(&log(), &head(Ending::Exited(0)), &[], &out).unwrap_err();
        assert!(
            matches!(&error, TraceError::Write { source, .. } if source.raw_os_error() == Some(libc::EFBIG))
        );
        assert!(error.to_string().contains(directory.path().to_str().unwrap()), "{error}");
        drop(out);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    });
}

#[test]
fn an_unfinished_file_is_no_trace() {
    let mut bytes = small();
    bytes[..Header::LEN].fill(0);
    assert!(matches!(read(&bytes).unwrap_err(), TraceError::NotATrace { .. }));
}

#[test]
fn only_the_mark_verifies() {
    let mut bytes = small();
    assert!(!read(&bytes).unwrap().verified);
    bytes[MARK_AT as usize..][..4].copy_from_slice(&VERIFIED);
    assert!(read(&bytes).unwrap().verified);
    bytes[MARK_AT as usize..][..4].copy_from_slice(b"VRFE");
    assert!(matches!(read(&bytes).unwrap_err(), TraceError::Damaged { .. }));
}
