//! All bytes that a trace stores, decompressed, by the layout of the file alone: whatever a reader would make of them.

use std::path::Path;

/// Bytes of the header, which the blocks follow.
const HEADER: usize = 64;

/// Bytes of a block before its payload: the payload's length comes first.
const PREFIX: usize = 12;

/// Reads every block of a trace up to the file's end: events, parts of files, the index. What spans blocks is in one
/// piece.
///
/// # Panics
/// If the file is not made of blocks.
#[must_use]
pub fn stored(trace: &Path) -> Vec<u8> {
    let bytes = std::fs::read(trace).expect("a trace");
    let mut all = bytes[..HEADER].to_vec();
    let mut rest = &bytes[HEADER..];
    while let Some((len, _)) = rest.split_first_chunk() {
        let end = PREFIX + u32::from_le_bytes(*len) as usize;
        all.extend(zstd::decode_all(&rest[PREFIX..end]).expect("a block"));
        rest = &rest[end..];
    }
    assert!(rest.is_empty(), "{} bytes are left", rest.len());
    all
}

/// Whether a text is among the bytes that a trace stores.
#[must_use]
pub fn discloses(trace: &Path, text: &str) -> bool {
    stored(trace).windows(text.len()).any(|window| window == text.as_bytes())
}
