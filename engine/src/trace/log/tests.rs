//! Tests of logs.

use std::fs::{self, OpenOptions};
use std::time::{Duration, SystemTime};

use super::*;
use crate::trace::log::inodes::identity;
use crate::trace::testing;

fn read(log: &Log) -> Vec<Event> {
    log.events().collect::<Result<_, _>>().expect("the log reads")
}

/// A file that was last modified long ago.
fn old_file(directory: &Path, bytes: &[u8]) -> (PathBuf, File) {
    let path = directory.join("mapped");
    fs::write(&path, bytes).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    (path, file)
}

#[test]
fn gives_back_every_kind_of_event() {
    let mut log = Log::default();
    let events = testing::every_kind();
    events.iter().for_each(|event| log.push(event.clone()));
    assert_eq!(read(&log), events);
    assert_eq!(log.count(), events.len() as u64);
    log.check().unwrap();
}

#[test]
fn logs_with_a_common_beginning_go_their_own_ways() {
    let directory = tempfile::tempdir().unwrap();
    let (path, file) = old_file(directory.path(), b"0123456789");
    let mut first = Log::default();
    first.push(testing::output(1, 10));
    first.map_file(&path, file, 0, 4).unwrap();
    let size = first.size();
    let prefix = first.into_prefix().unwrap();
    let ends: Vec<_> = (2..4).map(|n| testing::output(n, 2 * CHUNK)).collect();
    let logs: Vec<Log> = ends
        .iter()
        .map(|end| {
            let mut log = prefix.log();
            log.push(end.clone());
            let mapped = log.map_file(&path, File::open(&path).unwrap(), 4, 2).unwrap();
            assert_eq!(*log.file(mapped).unwrap(), *b"45");
            log
        })
        .collect();
    for (log, end) in logs.iter().zip(&ends) {
        assert_eq!(read(log), [testing::output(1, 10), end.clone()]);
        assert_eq!(log.count(), 2);
    }
    assert_eq!((prefix.log().size(), prefix.log().count()), (size, 1));
    assert!(Arc::ptr_eq(&logs[0].chunks[0], &logs[1].chunks[0]), "held once");
}

#[test]
fn an_empty_log_has_no_events() {
    assert_eq!(read(&Log::default()), []);
}

#[test]
fn spills_what_memory_should_not_hold() {
    let mut log = Log::with_memory(2 * CHUNK);
    // Sizes that fill chunks to various degrees, and one that needs a chunk of its own size.
    let events: Vec<_> = (0..900).map(|n| testing::output(n, n as usize * 13)).collect();
    let big = testing::output(900, 3 * CHUNK + 5);
    let events: Vec<_> = events.into_iter().chain([big]).collect();
    events.iter().for_each(|event| log.push(event.clone()));
    assert!(log.chunks.iter().map(|chunk| chunk.capacity()).sum::<usize>() <= 2 * CHUNK);
    assert!(!log.chunks.is_empty());
    assert!(log.spill.as_ref().unwrap().ends.len() > 2);
    assert_eq!(log.size(), log.stream(0).map(|chunk| chunk.unwrap().bytes.len() as u64).sum::<u64>());
    assert_eq!(read(&log), events);
    assert_eq!(read(&log), events, "a second reading gives the same");
}

#[test]
fn a_failure_is_kept_and_told() {
    let mut log = Log::with_memory(0);
    log.push(testing::output(1, 10));
    log.spill =
        Some(Spill { file: OpenOptions::new().write(true).open("/dev/full").unwrap(), ends: Vec::new() });
    log.push(testing::output(2, 2 * CHUNK));
    log.push(testing::output(3, 10));
    let error = log.check().unwrap_err().to_string();
    assert!(error.contains("No space left"), "{error}");
    let last = log.events().last().unwrap();
    assert!(last.is_err(), "reading must not end as if nothing were missing: {last:?}");
}

#[test]
fn an_unchanged_file_is_held_once() {
    let directory = tempfile::tempdir().unwrap();
    let (path, first) = old_file(directory.path(), b"0123456789");
    let mut log = Log::default();
    let one = log.map_file(&path, first, 0, 4).unwrap();
    let two = log.map_file(&path, File::open(&path).unwrap(), 4, 4096).unwrap();
    assert_eq!(one.file, two.file);
    assert_eq!(*log.file(one).unwrap(), *b"0123");
    assert_eq!(*log.file(two).unwrap(), *b"456789", "shorter where the file ends");
    let past = FileRange { offset: 11, ..two };
    assert_eq!(*log.file(past).unwrap(), *b"");
}

#[test]
fn a_modified_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (path, file) = old_file(directory.path(), b"0123456789");
    let mut log = Log::default();
    let range = log.map_file(&path, file, 0, 4).unwrap();
    fs::write(&path, b"9876543210").unwrap();
    let error = log.file(range).unwrap_err();
    assert!(matches!(&error, TraceError::Modified(at) if *at == path), "{error:?}");
    assert!(error.to_string().contains(path.to_str().unwrap()));
}

#[test]
fn a_file_may_be_unlinked_and_replaced_after_it_was_mapped() {
    let directory = tempfile::tempdir().unwrap();
    let (path, file) = old_file(directory.path(), b"0123456789");
    let mut log = Log::default();
    let before = log.map_file(&path, file, 0, 10).unwrap();
    fs::remove_file(&path).unwrap();
    let (path, file) = old_file(directory.path(), b"other");
    let after = log.map_file(&path, file, 0, 10).unwrap();
    assert_eq!(*log.file(before).unwrap(), *b"0123456789");
    assert_eq!(*log.file(after).unwrap(), *b"other");
}

#[test]
fn a_file_modified_just_now_is_copied() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fresh");
    fs::write(&path, b"0123456789").unwrap();
    let file = File::open(&path).unwrap();
    // In the future, so that the test does not depend on how fast it runs.
    file.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
    let mut log = Log::default();
    let range = log.map_file(&path, file, 2, 3).unwrap();
    fs::write(&path, b"----------").unwrap();
    assert_eq!(*log.file(range).unwrap(), *b"234");
}

fn loads(log: &Log, backing: &Backing) -> Vec<(u64, Vec<u8>)> {
    backing.loads.iter().map(|load| (load.at, log.file(load.contents).unwrap().to_vec())).collect()
}

fn part(offset: u64, len: u64, stored: bool) -> Part {
    Part { offset, len, stored }
}

#[test]
fn what_is_mapped_again_is_not_told_again() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = old_file(directory.path(), &[7; 10_000]);
    let open = || File::open(&path).unwrap();
    let mut log = Log::default();
    let one = log.map(&path, open(), part(4096, 4096, false)).unwrap();
    assert_eq!(loads(&log, &one), [(4096, vec![7; 4096])]);
    let two = log.map(&path, open(), part(0, 20_000, false)).unwrap();
    assert_eq!(loads(&log, &two), [(0, vec![7; 4096]), (8192, vec![7; 10_000 - 8192])]);
    assert_eq!((two.inode, two.size), (one.inode, 10_000));
    assert_eq!(log.map(&path, open(), part(0, 10_000, true)).unwrap().loads, []);
}

#[test]
fn contents_from_before_a_change_are_kept_and_the_change_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (path, file) = old_file(directory.path(), &[7; 6000]);
    let mut log = Log::default();
    let backing = log.map(&path, File::open(&path).unwrap(), part(4096, 4096, false)).unwrap();
    let identity = identity(&file.metadata().unwrap());
    assert!(log.before_change(identity));
    file.write_all_at(&[8; 3000], 4000).unwrap();
    let change = log.after_change(identity, 4000..7000).unwrap().unwrap();
    assert_eq!((change.inode, change.size), (backing.inode, 7000));
    // Of the first page nothing is mapped.
    assert_eq!(change.writes, [crate::trace::event::Write { address: 4096, bytes: vec![8; 7000 - 4096] }]);
    assert_eq!(loads(&log, &backing), [(4096, vec![7; 6000 - 4096])]);
    let again = log.map(&path, File::open(&path).unwrap(), part(0, 8192, false)).unwrap();
    assert_eq!(again.loads.iter().map(|load| load.at).collect::<Vec<_>>(), [0]);
}

#[test]
fn a_file_that_was_never_mapped_may_change() {
    let directory = tempfile::tempdir().unwrap();
    let (_, file) = old_file(directory.path(), b"0123456789");
    let identity = identity(&file.metadata().unwrap());
    let mut log = Log::default();
    assert!(!log.before_change(identity));
    assert_eq!(log.after_change(identity, 0..10).unwrap(), None);
}

#[test]
fn what_somebody_else_changed_is_told_again() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = old_file(directory.path(), b"0123456789");
    let mut log = Log::default();
    log.map(&path, File::open(&path).unwrap(), part(0, 10, false)).unwrap();
    fs::write(&path, b"9876543210").unwrap();
    let again = log.map(&path, File::open(&path).unwrap(), part(0, 10, false)).unwrap();
    assert_eq!(loads(&log, &again), [(0, b"9876543210".to_vec())]);
}

#[test]
fn holes_of_a_shared_file_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let (path, file) = old_file(directory.path(), &[7; 4096]);
    file.set_len(1 << 40).unwrap();
    file.write_all_at(b"far", 1 << 39).unwrap();
    let mut log = Log::default();
    let backing = log.map(&path, file, part(0, 1 << 40, true)).unwrap();
    let loads = loads(&log, &backing);
    assert!(loads.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 1 << 22);
    assert!(loads.iter().any(|(at, bytes)| *at == 1 << 39 && bytes.starts_with(b"far")));
}

#[test]
fn only_regular_files_have_contents() {
    let zero = File::open("/dev/zero").unwrap();
    assert!(Log::default().map_file(Path::new("/dev/zero"), zero, 0, 4096).is_err());
}

#[test]
fn captured_bytes_and_unknown_files() {
    let mut log = Log::default();
    let file = log.map_bytes(Path::new("memfd"), b"abc".to_vec());
    assert_eq!(*log.file(FileRange { file, offset: 1, len: u64::MAX }).unwrap(), *b"bc");
    assert!(log.file(FileRange { file: FileId(7), offset: 0, len: 1 }).is_err());
}
