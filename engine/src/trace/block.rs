//! Blocks: the unit in which a trace file is compressed, checked and read.

/// Bytes of a block before compression (the last one of a section may have fewer).
pub(super) const BLOCK: u64 = 1 << 20;
