//! The floating-point and vector registers, in the layouts that processors have for them.
//!
//! xsave (Intel SDM, volume 1, chapter 13) stores *components*, each of which a processor may have or not: the legacy
//! area with x87 and SSE, then AVX's upper halves, AVX-512's registers and others, at offsets that differ between
//! processors. A signal's frame has them in the layout of the processor on which it was recorded.

use std::ops::Range;
use std::sync::LazyLock;

use nix::errno::Errno;
use rrtest_preload::processor::{machine_cpuid, machine_xgetbv};
use serde::{Deserialize, Serialize};

use super::registers::Registers;
use super::task::Stopped;
use crate::Error;

/// Where a component is in the standard format, if it is not in the legacy area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Component {
    /// Its number: its bit in XCR0.
    number: u8,
    /// Offset in bytes.
    offset: u32,
    /// Bytes.
    len: u32,
}

/// The layout of a processor's components, as far as the kernel has enabled them. Without xsave there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateLayout(Vec<Component>);

/// The layout of this processor.
static HERE: LazyLock<StateLayout> = LazyLock::new(|| {
    const OSXSAVE: u32 = 1 << 27;
    if machine_cpuid(1, 0)[2] & OSXSAVE == 0 {
        return StateLayout::default();
    }
    let enabled = machine_xgetbv(0);
    let numbers = (AVX..63).filter(|number| enabled >> number & 1 == 1);
    let component = |number| {
        let [len, offset, ..] = machine_cpuid(0xd, u32::from(number));
        Component { number, offset, len }
    };
    StateLayout(numbers.map(component).collect())
});

/// Numbers of components (SDM, volume 1, 13.1).
const X87: u8 = 0;
const SSE: u8 = 1;
const AVX: u8 = 2;
/// Protection keys. Programs are refused them, so what the register has matters to nobody.
const PKRU: u8 = 9;

/// Bytes of the legacy area, and where things are in it (SDM, volume 1, table 10-2).
const LEGACY: usize = 512;
const MXCSR: Range<usize> = 24..28;
const X87_REGISTERS: Range<usize> = 32..160;
const XMM_REGISTERS: Range<usize> = 160..416;
/// The initial value of the x87 control word, at the start of the area.
const CONTROL_WORD: [u8; 2] = [0x7f, 0x03];
const INITIAL_MXCSR: [u8; 4] = [0x80, 0x1f, 0, 0];

/// The header behind the legacy area, and in it the components that are not in their initial state.
const HEADER: Range<usize> = LEGACY..LEGACY + 64;
const IN_USE: Range<usize> = LEGACY..LEGACY + 8;

/// Larger than any processor's state so far (AMX has 11 KiB).
const LARGEST: usize = 64 << 10;

impl StateLayout {
    /// Returns the layout of this processor.
    #[must_use]
    pub fn here() -> &'static Self {
        &HERE
    }

    fn component(&self, number: u8) -> Option<&Component> {
        self.0.iter().find(|component| component.number == number)
    }
}

impl Component {
    /// Its bytes in a state with its layout. None if the state is too short.
    fn of<'a>(&self, state: &'a [u8]) -> Option<&'a [u8]> {
        state.get(self.range())
    }

    fn range(&self) -> Range<usize> {
        let start = self.offset as usize;
        start..start.saturating_add(self.len as usize)
    }
}

/// Digest of the floating-point and vector registers, and what breakpoints compare of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vectors {
    /// The low halves of xmm0 to xmm15.
    pub low: [u64; 16],
    /// A digest of all of them.
    pub digest: u32,
}

/// The values of the floating-point and vector registers, up to those of AVX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorRegisters {
    /// The legacy area: x87 and SSE (SDM, volume 1, table 10-2).
    pub legacy: [u8; LEGACY],
    /// The upper halves of ymm0 to ymm15, if the processor has them.
    pub upper: Option<[u8; 256]>,
}

/// What a signal's frame says of these registers (`struct _fpstate_64` of `asm/sigcontext.h`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameState {
    legacy: [u8; LEGACY],
    /// The components in use, and their bytes.
    components: Vec<(u8, Vec<u8>)>,
}

impl FrameState {
    /// Offset of the state's address in `struct ucontext`: behind 23 words of `struct sigcontext_64`.
    pub const POINTER: u64 = Registers::CONTEXT_AT + 23 * 8;

    /// Bytes of the legacy area, with which the state begins.
    pub const LEGACY: usize = LEGACY;

    /// Offset of `struct _fpx_sw_bytes` in the legacy area.
    const RESERVED: usize = 464;

    /// Returns how many bytes the kernel has pushed for the state, of which this is the legacy area: what that says if
    /// more follows it (`FP_XSTATE_MAGIC1`, then `extended_size`).
    #[must_use]
    pub fn pushed(legacy: &[u8; LEGACY]) -> u64 {
        const MAGIC: [u8; 4] = 0x4650_5853_u32.to_le_bytes();
        let words = &legacy[Self::RESERVED..];
        if words.starts_with(&MAGIC) { u64_at(words, 0) >> 32 } else { LEGACY as u64 }
    }

    /// Reads the state that the kernel has pushed at an address, in this layout. `read` reads memory. None if there
    /// is no such memory: the kernel raises SIGSEGV then.
    pub fn read(layout: &StateLayout, mut read: impl FnMut(usize, usize) -> Option<Vec<u8>>) -> Option<Self> {
        /// Behind the state (`FP_XSTATE_MAGIC2`).
        const END_MAGIC: [u8; 4] = 0x4650_5845_u32.to_le_bytes();
        let mut legacy: [u8; LEGACY] = read(0, LEGACY)?.try_into().ok()?;
        let mut components = Vec::new();
        // `xfeatures` and `xstate_size`.
        let features = u64_at(&legacy, Self::RESERVED + 8);
        let size = (u64_at(&legacy, Self::RESERVED + 16) & u64::from(u32::MAX)) as usize;
        let fits = (HEADER.end..=(Self::pushed(&legacy) as usize).min(LARGEST)).contains(&size);
        if fits && read(size, 4)? == END_MAGIC {
            let state = read(0, size)?;
            let in_use = u64_at(&state, IN_USE.start) & features;
            if in_use >> X87 & 1 == 0 {
                legacy[..MXCSR.start].fill(0);
                legacy[X87_REGISTERS].fill(0);
                legacy[..CONTROL_WORD.len()].copy_from_slice(&CONTROL_WORD);
            }
            if in_use >> SSE & 1 == 0 {
                legacy[XMM_REGISTERS].fill(0);
            }
            // The layout is the trace's, and can be any.
            let is_used =
                |it: &&Component| in_use.checked_shr(it.number.into()).is_some_and(|bits| bits & 1 == 1);
            let used = layout.0.iter().filter(is_used);
            components =
                used.filter_map(|it| it.of(&state).map(|bytes| (it.number, bytes.to_vec()))).collect();
        }
        legacy[Self::RESERVED..].fill(0);
        Some(Self { legacy, components })
    }

    /// The state in this processor's layout. `state` is any state of it.
    ///
    /// # Errors
    /// The number of a component that this processor does not have, and that is not in its initial state.
    fn here(&self, layout: &StateLayout, mut state: Vec<u8>) -> Result<Vec<u8>, u8> {
        state[..LEGACY].copy_from_slice(&self.legacy);
        let mut in_use = 1_u64 << X87 | 1 << SSE;
        for (number, bytes) in &self.components {
            let here = layout.component(*number).and_then(|component| state.get_mut(component.range()));
            match here {
                Some(here) if here.len() == bytes.len() => {
                    here.copy_from_slice(bytes);
                    in_use |= 1 << number;
                }
                _ if *number == PKRU || bytes.iter().all(|byte| *byte == 0) => {}
                _ => return Err(*number),
            }
        }
        if let Some(header) = state.get_mut(HEADER) {
            header.fill(0);
            header[..8].copy_from_slice(&in_use.to_le_bytes());
        }
        Ok(state)
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

impl Stopped {
    /// Puts the floating-point and vector registers into their initial state, as in a signal handler's start and after
    /// execve(2).
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn reset_vector_state(&self) -> Result<(), Error> {
        let mut state = self.vector_state()?;
        state[..LEGACY].fill(0);
        state[..CONTROL_WORD.len()].copy_from_slice(&CONTROL_WORD);
        state[MXCSR].copy_from_slice(&INITIAL_MXCSR);
        if let Some(in_use) = state.get_mut(IN_USE) {
            in_use.fill(0);
        }
        self.set_vector_state(state)
    }

    /// Gives the registers the values that a signal's frame has, whichever processor has stored them.
    ///
    /// # Errors
    /// If the task has been killed, or in the second place the name of registers that this processor does not have.
    pub fn restore_vector_state(&self, frame: &FrameState) -> Result<Result<(), &'static str>, Error> {
        match frame.here(StateLayout::here(), self.vector_state()?) {
            Ok(state) => self.set_vector_state(state).map(Ok),
            Err(number) => Ok(Err(name(number))),
        }
    }

    /// Reads the floating-point and vector registers, up to those of AVX, without the information on the last
    /// instruction that used them.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn vectors(&self) -> Result<Vectors, Error> {
        /// Control and status, MXCSR, x87 and SSE registers.
        const PARTS: [Range<usize>; 3] = [0..5, MXCSR, 32..416];
        /// Bytes of the upper halves of AVX's registers.
        const UPPER: usize = 256;
        let state = self.vector_state()?;
        let mut hash = crc32fast::Hasher::new();
        for part in PARTS {
            hash.update(&state[part]);
        }
        let upper = StateLayout::here().component(AVX).and_then(|component| component.of(&state));
        hash.update(upper.unwrap_or(&[0; UPPER]));
        let low = |number| u64_at(&state, XMM_REGISTERS.start + 16 * number);
        Ok(Vectors { low: std::array::from_fn(low), digest: hash.finalize() })
    }

    /// Reads the values of the floating-point and vector registers, up to those of AVX.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn vector_registers(&self) -> Result<VectorRegisters, Error> {
        let state = self.vector_state()?;
        let mut legacy = [0; LEGACY];
        legacy.copy_from_slice(&state[..LEGACY]);
        let is_used = state.get(IN_USE).is_none_or(|_| u64_at(&state, IN_USE.start) >> AVX & 1 == 1);
        let upper = StateLayout::here().component(AVX).and_then(|component| component.of(&state));
        // A component that is not in use has what it last had in memory, and zeros in the registers.
        let upper = upper.map(|bytes| if is_used { bytes.try_into().unwrap_or([0; 256]) } else { [0; 256] });
        Ok(VectorRegisters { legacy, upper })
    }

    /// Gives one of the sixteen SSE registers another value.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn set_xmm(&self, number: usize, value: [u8; 16]) -> Result<(), Error> {
        /// Where they are (Intel SDM, volume 1, table 10-2), and the bit of their component.
        const XMM: usize = 160;
        const SSE: u64 = 1;
        let mut state = self.vector_state()?;
        let at = XMM + 16 * number;
        if let Some(register) = state[..LEGACY].get_mut(at..at + 16) {
            register.copy_from_slice(&value);
        }
        if state.get(IN_USE).is_some() {
            let in_use = u64_at(&state, IN_USE.start) | 1 << SSE;
            state[IN_USE].copy_from_slice(&in_use.to_le_bytes());
        }
        self.set_vector_state(state)
    }

    /// Reads all of them, in the processor's own layout; only the legacy area if there is no more.
    fn vector_state(&self) -> Result<Vec<u8>, Error> {
        let mut state = vec![0_u8; LARGEST];
        let mut area = libc::iovec { iov_base: state.as_mut_ptr().cast(), iov_len: state.len() };
        self.vector_request(libc::PTRACE_GETREGSET, &mut area)?;
        state.truncate(area.iov_len);
        if state.len() < LEGACY {
            let what = format!("the kernel has only {} bytes of vector registers", state.len());
            return Err(Error::Bug { what });
        }
        Ok(state)
    }

    fn set_vector_state(&self, mut state: Vec<u8>) -> Result<(), Error> {
        let mut area = libc::iovec { iov_base: state.as_mut_ptr().cast(), iov_len: state.len() };
        self.vector_request(libc::PTRACE_SETREGSET, &mut area)
    }

    fn vector_request(&self, request: super::Request, area: &mut libc::iovec) -> Result<(), Error> {
        /// ELF note types of the extended state, and of the legacy area alone (linux/elf.h).
        const NT_X86_XSTATE: usize = 0x202;
        const NT_PRFPREG: usize = 2;
        // The kernel knows the extended state only where the processor has xsave.
        let note = if StateLayout::here().0.is_empty() { NT_PRFPREG } else { NT_X86_XSTATE };
        // SAFETY: PTRACE_GETREGSET and PTRACE_SETREGSET (ptrace(2)) use the buffer that `area` describes, which the
        // caller keeps alive and of that length; the kernel shortens `iov_len` to what it used.
        let result = unsafe { libc::ptrace(request, self.tid().as_raw(), note, &raw mut *area) };
        if result == -1 { Err(self.refused("access the vector registers", Errno::last())) } else { Ok(()) }
    }
}

/// The registers of a component, in words.
fn name(number: u8) -> &'static str {
    match number {
        AVX => "the upper halves of AVX's registers",
        3 | 4 => "the bound registers of MPX",
        5..=7 => "the registers of AVX-512",
        17 | 18 => "the tiles of AMX",
        19 => "the registers of APX",
        _ => "registers that it does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(components: &[(u8, u32, u32)]) -> StateLayout {
        StateLayout(
            components.iter().map(|&(number, offset, len)| Component { number, offset, len }).collect(),
        )
    }

    /// A frame's state: AVX and AVX-512's masks in use, each byte the number of its component.
    fn frame(layout: &StateLayout, size: usize) -> Vec<u8> {
        let mut state = vec![0xee; size + 4];
        state[464..468].copy_from_slice(&0x4650_5853_u32.to_le_bytes());
        state[468..472].copy_from_slice(&(size as u32 + 4).to_le_bytes());
        state[472..480].copy_from_slice(&0xe7_u64.to_le_bytes());
        state[480..484].copy_from_slice(&(size as u32).to_le_bytes());
        state[HEADER].fill(0);
        state[512] = 0b10_0101;
        for component in &layout.0 {
            state[component.range()].fill(component.number);
        }
        state[size..].copy_from_slice(&0x4650_5845_u32.to_le_bytes());
        state
    }

    fn read(bytes: &[u8], layout: &StateLayout) -> Option<FrameState> {
        FrameState::read(layout, |at, len| bytes.get(at..at + len).map(<[u8]>::to_vec))
    }

    #[test]
    fn a_layout_that_no_processor_has_is_read_as_far_as_it_goes() {
        let sound = layout(&[(AVX, 576, 256)]);
        let state = frame(&sound, 832);
        for other in [(255, 576, 256), (64, 0, 0), (63, u32::MAX, u32::MAX)] {
            let other = layout(&[(AVX, 576, 256), other]);
            assert_eq!(read(&state, &other), read(&state, &sound));
        }
    }

    #[test]
    fn a_frame_of_one_processor_is_restored_on_another() {
        let there = layout(&[(2, 576, 256), (5, 1088, 64), (6, 1152, 512), (7, 1664, 1024)]);
        let frame = read(&frame(&there, 2688), &there).expect("a state");
        let here = layout(&[(2, 576, 256), (5, 832, 64), (6, 896, 512), (7, 1408, 1024), (9, 2432, 8)]);
        let state = frame.here(&here, vec![0x77; 2440]).expect("all of it is there");
        assert_eq!(state[IN_USE], 0b10_0111_u64.to_le_bytes());
        assert!(
            state[576..832].iter().all(|byte| *byte == 2) && state[832..896].iter().all(|byte| *byte == 5)
        );
        // x87 was in use, SSE in its initial state.
        assert_eq!((state[0], state[MXCSR.start], state[XMM_REGISTERS.start]), (0xee, 0xee, 0));
    }

    #[test]
    fn what_this_processor_lacks_is_named_unless_it_is_initial() {
        let there = layout(&[(2, 576, 256), (5, 832, 64)]);
        let mut bytes = frame(&there, 896);
        let avx_only = layout(&[(2, 576, 256)]);
        let lacking = read(&bytes, &there).expect("a state").here(&avx_only, vec![0; 832]);
        assert_eq!(lacking.map_err(name), Err("the registers of AVX-512"));
        bytes[832..896].fill(0);
        assert!(read(&bytes, &there).expect("a state").here(&avx_only, vec![0; 832]).is_ok());
        // Neither has a processor without xsave more than the legacy area.
        let lacking = read(&bytes, &there).expect("a state").here(&StateLayout::default(), vec![0; 512]);
        assert_eq!(lacking, Err(AVX));
    }

    #[test]
    fn a_frame_without_the_magic_numbers_has_the_legacy_area_only() {
        let there = layout(&[(2, 576, 256)]);
        for at in [464, 832] {
            let mut bytes = frame(&there, 832);
            bytes[at] ^= 1;
            let frame = read(&bytes, &there).expect("a state");
            assert_eq!((frame.components.len(), frame.legacy[0]), (0, 0xee));
        }
        assert_eq!(read(&[0; 100], &there), None);
    }

    #[test]
    fn this_processor_has_what_it_says() {
        let layout = StateLayout::here();
        assert!(
            layout.0.iter().all(|it| it.offset as usize >= HEADER.end && it.range().end <= LARGEST),
            "{layout:?}"
        );
    }
}
