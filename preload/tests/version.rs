//! The version of the system-call buffer is that of its sources.

use std::fs;
use std::path::Path;

use rrtest_preload::layout::BUFFER_VERSION;

/// What a trace depends on, whichever compiler makes it.
const SOURCES: [&str; 11] = [
    "layout.rs",
    "calls.rs",
    "objects.rs",
    "random.rs",
    "reads.rs",
    "turns.rs",
    "buffer/hand_over.rs",
    "buffer/mod.rs",
    "buffer/reads.rs",
    "buffer/record.rs",
    "buffer/replay.rs",
];

/// FNV-1a, of 64 bits, of the sources without comments, indentation and empty lines.
fn digest(sources: &Path) -> u64 {
    let texts = SOURCES.map(|file| fs::read_to_string(sources.join(file)).expect("a source file"));
    let lines = texts.iter().flat_map(|text| text.lines().map(str::trim));
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    code.flat_map(|line| line.bytes().chain([b'\n']))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn a_change_of_the_buffer_is_of_a_version() {
    let preload = Path::new(env!("CARGO_MANIFEST_DIR"));
    let noted = fs::read_to_string(preload.join("src/buffer/VERSION")).expect("the version's file");
    let now = format!("{BUFFER_VERSION} {:016x}\n", digest(&preload.join("src")));
    assert_eq!(
        noted, now,
        "the buffer's sources have changed: see \"Change the system-call buffer\" in CONTRIBUTING.md"
    );
}
