//! Finds branches into code that is to be overwritten.
//!
//! Where instructions begin cannot be known in general. So every byte that could be a branch's distance is considered
//! first. By chance, a third of all places would count as branch targets then; so whatever looks like a branch is
//! decoded from several places before it: x86 code soon decodes alike from wherever decoding begins. What is still
//! mistaken for a branch does no harm: the code is left alone.

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, Instruction};

/// Reach of a branch with a distance of one byte.
const SHORT: u64 = 128;

/// Decoding begins at multiples of this, where functions and loops begin.
const ALIGNED: usize = 16;

/// How far before the end of a possible branch decoding begins, to be in step by then.
const RUN: Range<usize> = 16..160;

/// Code at `start`, with an instruction at `known`.
pub(super) struct Code<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) start: u64,
    pub(super) known: u64,
}

impl Code<'_> {
    /// Whether a direct branch in the code, or an instruction with a relative address, refers to one of these
    /// addresses.
    pub(super) fn leads_into(&self, addresses: &Range<u64>) -> bool {
        self.near(addresses).chain(self.short(addresses)).any(|end| self.decodes(end, addresses))
    }

    /// Finds four bytes that are the distance to one of these addresses, as in call, jmp, jcc, lea. Yields their ends.
    fn near(&self, addresses: &Range<u64>) -> impl Iterator<Item = usize> {
        /// Places that are tested together: nearly all blocks have no match, and are passed without a branch for each
        /// place.
        const BLOCK: usize = 64;
        // Modulo 4 GiB: nothing within reach is further away.
        let len = (addresses.end - addresses.start) as u32;
        let first = self.start.wrapping_sub(addresses.start) as u32;
        let first = first.wrapping_add(4);
        let leads = move |at: usize, distance: &[u8]| {
            let distance = u32::from_le_bytes([distance[0], distance[1], distance[2], distance[3]]);
            (at as u32).wrapping_add(first).wrapping_add(distance) < len
        };
        let places = self.bytes.len().saturating_sub(3);
        let blocks = (0..places).step_by(BLOCK).map(move |begin| begin..places.min(begin + BLOCK));
        let some = move |block: &Range<usize>| {
            let windows = self.bytes[block.start..block.end + 3].windows(4).zip(block.start..);
            windows.fold(false, |found, (distance, at)| found | leads(at, distance))
        };
        blocks.filter(some).flatten().filter(move |at| leads(*at, &self.bytes[*at..])).map(|at| at + 4)
    }

    /// Finds bytes that are the distance to one of these addresses, after the opcode of jmp, jcc, loop or jrcxz. Yields
    /// their ends.
    fn short(&self, addresses: &Range<u64>) -> impl Iterator<Item = usize> {
        let offset = |address: u64| (address.saturating_sub(self.start) as usize).min(self.bytes.len());
        let around = offset(addresses.start.saturating_sub(SHORT + 2))..offset(addresses.end + SHORT);
        let ends = self.bytes[around.clone()].windows(2).zip(around.start + 2..);
        ends.filter(|(branch, end)| {
            let target = (self.start + *end as u64).wrapping_add_signed(branch[1].cast_signed().into());
            addresses.contains(&target) && matches!(branch[0], 0x70..=0x7f | 0xeb | 0xe0..=0xe3)
        })
        .map(|(_, end)| end)
    }

    /// Whether decoding from somewhere before gives an instruction that ends at offset `end` and refers to one of these
    /// addresses.
    fn decodes(&self, end: usize, addresses: &Range<u64>) -> bool {
        let run = end.saturating_sub(RUN.end)..=end.saturating_sub(RUN.start);
        let aligned = |begin: &usize| *begin == 0 || (self.start as usize + begin).is_multiple_of(ALIGNED);
        let known = self.known.wrapping_sub(self.start) as usize;
        let known = (end.saturating_sub(RUN.end)..end).contains(&known).then_some(known);
        let mut instruction = Instruction::default();
        let mut decoder = Decoder::with_ip(64, self.bytes, self.start, DecoderOptions::NONE);
        run.filter(aligned).chain(known).any(|begin| {
            if decoder.set_position(begin).is_err() {
                return false;
            }
            decoder.set_ip(self.start + begin as u64);
            while decoder.position() < end {
                decoder.decode_out(&mut instruction);
            }
            decoder.position() == end && leads(&instruction, addresses)
        })
    }
}

fn leads(instruction: &Instruction, addresses: &Range<u64>) -> bool {
    let branch = addresses.contains(&instruction.near_branch_target());
    branch
        || instruction.is_ip_rel_memory_operand() && addresses.contains(&instruction.ip_rel_memory_address())
}
