//! Plans how a system call in a program's code is replaced by a jump to a stub.
//!
//! The stub is in the shared area, which is below 2 GiB in every process. So a jump through an absolute address of four
//! bytes reaches it from anywhere, without changing a register, a flag or the stack. That jump takes seven bytes: the
//! system call and some instructions after it, which are moved to the stub.
//!
//! A `syscall` overwrites rcx with its return address and r11 with the flags, so the code after it does not need their
//! previous values, and the stub may use them.
//!
//! Everything here is planning: nothing is written, and no process is needed.

use std::ops::Range;

use iced_x86::{
    Code as Opcode, Decoder, DecoderError, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
    Mnemonic, Register,
};

use rrtest_preload::layout;

use super::assembler::{Assembler, low};
use super::branches::Code;
use super::stub::{Places, Spare, Writer, relative};
use crate::tracee::area::SYSCALL_LEN;

/// Length of a `syscall`.
const SYSCALL: usize = SYSCALL_LEN as usize;

/// Length of the jump that replaces it: `jmp qword ptr [abs32]`.
pub(super) const JUMP: usize = 7;

/// Fills the rest of the last overwritten instruction.
pub(super) const TRAP: u8 = 0xcc;

/// Padding ends at multiples of this: compilers align functions and loops to it.
pub(super) const ALIGNED: u64 = 16;

/// Offset in a stub of its code, which loads rcx with the stub's address. The word before it holds the code's address,
/// for the jump.
pub const ENTRY: u64 = 8;

/// Offset in a stub of its own `syscall`, for calls that the recorder wants to see.
pub const TRACED: u64 = layout::STUB_TRACED as u64;

/// Offset in a stub at which the program goes on after the call, whoever has made it.
pub const DONE: u64 = layout::STUB_DONE as u64;

// The code after the call follows it directly.
const _: () = assert!(DONE == TRACED + SYSCALL as u64);

/// Largest size of a stub.
pub const STUB_LEN: usize = layout::STUB_LEN;

/// How far around a site a window should reach: nearly all branches to it come from there.
pub const AROUND: u64 = 4096;

/// Code around a call site.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Address of the first byte.
    pub address: u64,
    /// The code: [`AROUND`] bytes in both directions, as far as they are mapped.
    pub bytes: &'a [u8],
}

impl Window<'_> {
    /// Returns the bytes of an instruction that was decoded from the window.
    pub(super) fn of(&self, instruction: &Instruction) -> &[u8] {
        let offset = (instruction.ip() - self.address) as usize;
        &self.bytes[offset..offset + instruction.len()]
    }
}

/// Why an instruction cannot be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refused {
    /// There is another instruction at the site.
    #[error("there is no system call")]
    NoSyscall,
    /// There is another instruction at the site.
    #[error("there is no such instruction")]
    OtherInstruction,
    /// The window ends before the instructions that must be overwritten.
    #[error("the window ends too soon")]
    WindowEnds,
    /// The bytes after the call are no code.
    #[error("what follows cannot be decoded")]
    Invalid,
    /// An instruction after the call does not do the same at another address: a trap, a call from the middle of what is
    /// overwritten, `loop`.
    #[error("what follows cannot be moved")]
    Immovable,
    /// The code ends after the call, and other code follows directly.
    #[error("there is no room for a jump")]
    NoRoom,
    /// A nearby branch leads into the middle of what is overwritten.
    #[error("the code behind the call is branched to")]
    BranchedTo,
    /// The code after the call uses rcx, r11, and data of the program's, which is far from the stub.
    #[error("what follows needs all registers")]
    NoRegister,
    /// The stub would be too long.
    #[error("the stub would be too long")]
    TooLong,
    /// The stub is not below 2 GiB, or not within 2 GiB of the hook.
    #[error("the stub is out of reach")]
    OutOfReach,
}

/// A planned replacement of a system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Address of the system call.
    pub site: u64,
    /// The bytes there.
    pub old: Vec<u8>,
    /// The bytes to write there, as many.
    pub new: Vec<u8>,
    /// The stub, for the address for which it was planned.
    pub stub: Vec<u8>,
    /// The instruction pointer after the stub's own `syscall`.
    pub traced: u64,
    /// Addresses of overwritten instructions, except the site.
    interior: Vec<u64>,
    /// Places in the stub, with the places in the program's code that they stand for.
    places: Places,
}

impl Patch {
    /// Returns the addresses of what is overwritten.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.site..self.site + self.new.len() as u64
    }

    /// Iterates over the addresses of instructions strictly inside the overwritten range: no task may stand or return
    /// there.
    pub fn interior(&self) -> impl Iterator<Item = u64> {
        self.interior.iter().copied()
    }

    /// Which places in the stub stand for which in the program's code: offset in the stub, offset from the site.
    #[must_use]
    pub fn places(&self) -> Vec<(u8, i64)> {
        relative(&self.places, self.traced - DONE, self.site)
    }

    /// Where in the stub a task goes on that stands at an address of [`Self::interior`]. None for any other, and for
    /// padding, where nobody stands.
    #[must_use]
    pub fn stand_in(&self, address: u64) -> Option<u64> {
        let place = self.places.iter().find(|(_, original)| *original == address);
        place.filter(|_| self.interior.contains(&address)).map(|(place, _)| *place)
    }

    /// Returns where a task that stands at an address in the stub would stand without it, with the same registers
    /// except rcx and r11; `None` between instructions that together stand for one.
    #[must_use]
    pub fn original(&self, address: u64) -> Option<u64> {
        self.places.iter().find(|(place, _)| *place == address).map(|(_, original)| *original)
    }
}

/// Builds the decoder's tables. This takes half a millisecond, once in a process: when the first plan is made, if not
/// earlier.
pub fn get_ready() {
    let _ = Decoder::new(64, &[TRAP], DecoderOptions::NONE).decode();
}

/// Plans the replacement of the `syscall` at `site` by a jump to a stub at `stub` (a multiple of 8), whose code begins
/// with a jump to `hook`, with the stub's address in rcx. The hook returns to the stub's [`TRACED`] or [`DONE`], with
/// all registers and flags as at the site, except rcx, r11 and, at [`DONE`], rax, which has the call's result.
///
/// # Errors
/// If it cannot be replaced.
pub fn plan(window: &Window, site: u64, stub: u64, hook: u64) -> Result<Patch, Refused> {
    let Displaced { moved, padding, len } = Displaced::at(window, site)?;
    let code = Code { bytes: window.bytes, start: window.address, known: site };
    let end = site + len as u64;
    if code.leads_into(&(site + 1..end)) {
        return Err(Refused::BranchedTo);
    }
    let mut writer = begin(site, stub, hook)?;
    let spare = scratch(&moved).map_or(Spare::None, Spare::Register);
    for instruction in &moved {
        writer.relocate(instruction, window.of(instruction), spare)?;
    }
    if moved.last().is_none_or(|last| !ends(last)) {
        writer.jump(end)?;
    }
    let (code, places) = writer.finish(STUB_LEN)?;
    let offset = (site - window.address) as usize;
    Ok(Patch {
        site,
        old: window.bytes[offset..offset + len].to_vec(),
        new: jump_to(stub, len)?,
        stub: code,
        traced: stub + DONE,
        interior: moved.iter().map(Instruction::ip).chain(padding).collect(),
        places,
    })
}

/// Encodes the jump to a stub, filled up to `len` bytes.
pub(super) fn jump_to(stub: u64, len: usize) -> Result<Vec<u8>, Refused> {
    // Nothing in it is relative to where it is.
    let mut jump = Assembler::at(0);
    jump.add(Instruction::with1(Opcode::Jmp_rm64, low(stub)))?;
    debug_assert_eq!(jump.code.len(), JUMP);
    jump.code.resize(len, TRAP);
    Ok(jump.code)
}

/// Emits a stub up to [`DONE`].
fn begin(site: u64, stub: u64, hook: u64) -> Result<Writer, Refused> {
    let mut writer = Writer::at(stub, hook)?;
    writer.asm.bytes(&(stub + ENTRY).to_le_bytes());
    writer.place(site);
    writer.asm.add(Instruction::with2(Opcode::Mov_r32_imm32, Register::ECX, stub as u32))?;
    writer.place(site);
    writer.asm.branch(Opcode::Jmp_rel32_64, hook)?;
    writer.asm.code.resize(TRACED as usize, TRAP);
    writer.place(site);
    writer.asm.plain(Opcode::Syscall)?;
    Ok(writer)
}

/// The instructions that a jump would overwrite.
struct Displaced {
    /// Instructions after the system call.
    moved: Vec<Instruction>,
    /// Addresses of padding, which is never executed.
    padding: Vec<u64>,
    /// Total length.
    len: usize,
}

impl Displaced {
    fn at(window: &Window, site: u64) -> Result<Self, Refused> {
        let code = site.checked_sub(window.address).and_then(|offset| window.bytes.get(offset as usize..));
        let code = code.filter(|code| !code.is_empty()).ok_or(Refused::WindowEnds)?;
        let mut decoder = Decoder::with_ip(64, code, site, DecoderOptions::NONE);
        if decoder.decode().code() != Opcode::Syscall {
            return Err(Refused::NoSyscall);
        }
        let mut displaced = Self { moved: Vec::new(), padding: Vec::new(), len: SYSCALL };
        while displaced.len < JUMP {
            let instruction = decode(&mut decoder)?;
            displaced.len += instruction.len();
            if !movable(&instruction, displaced.len >= JUMP) {
                return Err(Refused::Immovable);
            }
            displaced.moved.push(instruction);
            if ends(&instruction) && displaced.len < JUMP {
                displaced.pad(&mut decoder)?;
            }
        }
        Ok(displaced)
    }

    /// Covers the rest of the jump with padding at the end of some code, up to an aligned address. To be sure that it
    /// is padding, all of it must be.
    fn pad(&mut self, decoder: &mut Decoder<'_>) -> Result<(), Refused> {
        while decoder.ip() % ALIGNED != 0 {
            let instruction = decode(decoder)?;
            if !matches!(instruction.mnemonic(), Mnemonic::Nop | Mnemonic::Int3) {
                return Err(Refused::NoRoom);
            }
            if self.len < JUMP {
                self.len += instruction.len();
                self.padding.push(instruction.ip());
            }
        }
        if self.len < JUMP { Err(Refused::NoRoom) } else { Ok(()) }
    }
}

pub(super) fn decode(decoder: &mut Decoder<'_>) -> Result<Instruction, Refused> {
    let instruction = decoder.decode();
    match decoder.last_error() {
        DecoderError::None => Ok(instruction),
        DecoderError::NoMoreBytes => Err(Refused::WindowEnds),
        _ => Err(Refused::Invalid),
    }
}

/// Whether execution never continues after an instruction.
pub(super) fn ends(instruction: &Instruction) -> bool {
    use FlowControl::{IndirectBranch, Return, UnconditionalBranch};
    matches!(instruction.flow_control(), Return | UnconditionalBranch | IndirectBranch)
}

/// Whether an instruction can be made to do the same at another address. A call must be the `last` one overwritten: it
/// returns to the address after itself.
pub(super) fn movable(instruction: &Instruction, last: bool) -> bool {
    if instruction.memory_base() == Register::EIP {
        return false;
    }
    match instruction.flow_control() {
        FlowControl::Next | FlowControl::Return | FlowControl::IndirectBranch => true,
        FlowControl::UnconditionalBranch => instruction.is_jmp_short_or_near(),
        FlowControl::ConditionalBranch => instruction.is_jcc_short_or_near(),
        FlowControl::Call => last && instruction.is_call_near(),
        // The return address is pushed before the target is read.
        FlowControl::IndirectCall => {
            let by_stack = [instruction.memory_base(), instruction.op0_register()].contains(&Register::RSP);
            last && instruction.is_call_near_indirect() && !by_stack
        }
        _ => false,
    }
}

/// Returns the register, of those that `syscall` overwrites, that none of the instructions uses.
fn scratch(instructions: &[Instruction]) -> Option<Register> {
    let mut info = InstructionInfoFactory::new();
    [Register::RCX, Register::R11].into_iter().find(|free| {
        !instructions.iter().any(|instruction| {
            let used = info.info(instruction).used_registers();
            used.iter().any(|used| used.register().full_register() == *free)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 0x7fff_f7c0_0000;
    const STUB: u64 = 0x7012_3480;
    const HOOK: u64 = 0x7000_2000;

    /// Plans a patch for some code whose first `0f 05` is the site.
    fn planned(code: &[u8]) -> Result<Patch, Refused> {
        let at = code.windows(2).position(|pair| pair == [0x0f, 0x05]).unwrap();
        plan(&Window { address: START, bytes: code }, START + at as u64, STUB, HOOK)
    }

    #[test]
    fn a_jump_replaces_whole_instructions() {
        // mov eax, 1; syscall; cmp rax, -4096; ja; ret
        let code = [0xb8, 1, 0, 0, 0, 0x0f, 0x05, 0x48, 0x3d, 0, 0xf0, 0xff, 0xff, 0x77, 1, 0xc3, 0x90];
        let patch = planned(&code).unwrap();
        assert_eq!(patch.old, code[5..13]);
        assert_eq!(patch.new, [0xff, 0x24, 0x25, 0x80, 0x34, 0x12, 0x70, 0xcc]);
        assert_eq!(patch.traced, STUB + DONE);
        assert_eq!(patch.stub[TRACED as usize..DONE as usize + 6], code[5..13]);
    }

    #[test]
    fn places_in_the_stub_have_originals() {
        // syscall; mov edx, eax; mov rax, [rip]; ret
        let patch = planned(&[0x0f, 0x05, 0x89, 0xc2, 0x48, 0x8b, 0x05, 0, 1, 0, 0, 0xc3]).unwrap();
        assert_eq!(patch.interior().collect::<Vec<_>>(), [START + 2, START + 4]);
        assert_eq!(patch.stand_in(START), None);
        assert_eq!(patch.stand_in(START + 2), Some(STUB + DONE));
        assert_eq!(patch.stand_in(START + 4), Some(STUB + DONE + 2));
        assert_eq!(patch.stand_in(START + 11), None);
        for (place, original) in [
            (0, None),
            (ENTRY, Some(0)),
            (TRACED, Some(0)),
            (DONE, Some(2)),
            (DONE + 2, Some(4)),
            (DONE + 3, None),
            (DONE + 2 + 10, Some(4)),      // the load, behind that of the address
            (DONE + 2 + 10 + 3, Some(11)), // back
        ] {
            assert_eq!(patch.original(STUB + place), original.map(|it: u64| START + it), "{place}");
        }
    }

    #[test]
    fn a_call_is_one_step_or_done() {
        // syscall; call +0x100
        let patch = planned(&[0x0f, 0x05, 0xe8, 0, 1, 0, 0]).unwrap();
        assert_eq!(patch.original(STUB + DONE), Some(START + 2));
        assert_eq!(patch.original(STUB + DONE + 5), None);
        assert_eq!(patch.original(STUB + DONE + 5 + 8), Some(START + 0x107));
    }

    #[test]
    fn what_cannot_be_moved_is_refused() {
        use Refused::{Immovable, Invalid, NoRegister, NoRoom, WindowEnds};
        for (code, why) in [
            (&[0x0f, 0x05][..], WindowEnds),
            (&[0x0f, 0x05, 0x48, 0x3d, 0, 0xf0, 0xff], WindowEnds),
            (&[0x0f, 0x05, 0xc3, 0x90, 0x90, 0x90, 0x90, 0x90], WindowEnds),
            (&[0x0f, 0x05, 0x06, 0x90, 0x90, 0x90, 0x90], Invalid),
            (&[0x0f, 0x05, 0x0f, 0x05, 0x90, 0x90, 0x90], Immovable), // syscall
            (&[0x0f, 0x05, 0xcd, 0x80, 0x90, 0x90, 0x90], Immovable), // int 0x80
            (&[0x0f, 0x05, 0xcc, 0x90, 0x90, 0x90, 0x90], Immovable), // int3
            (&[0x0f, 0x05, 0x0f, 0x0b, 0x90, 0x90, 0x90], Immovable), // ud2
            (&[0x0f, 0x05, 0xff, 0xd0, 0x90, 0x90, 0x90], Immovable), // call rax, which returns into the middle
            (&[0x0f, 0x05, 0x90, 0xff, 0x54, 0x24, 0x08], Immovable), // call [rsp+8], which a push displaces
            (&[0x0f, 0x05, 0xe2, 0x40, 0x90, 0x90, 0x90], Immovable), // loop
            (&[0x0f, 0x05, 0xe3, 0x40, 0x90, 0x90, 0x90], Immovable), // jrcxz
            (&[0x0f, 0x05, 0x90, 0x67, 0x8b, 0x05, 0, 1, 0, 0], Immovable), // mov eax, [eip+0x100]
            (&[0x0f, 0x05, 0x44, 0x01, 0xd9, 0x8b, 0x05, 0, 1, 0, 0], NoRegister), // add ecx, r11d; mov eax, [rip+0x100]
            (&[0x0f, 0x05, 0x4c, 0x01, 0xd9, 0x8b, 0x05, 0, 1, 0, 0], NoRegister), // add rcx, r11; mov eax, [rip+0x100]
            (&[0x0f, 0x05, 0xc3, 0x55, 0x48, 0x89, 0xe5, 0x90], NoRoom),           // ret; push rbp
        ] {
            assert_eq!(planned(code).err(), Some(why), "{code:x?}");
        }
        let nothing = Window { address: START, bytes: &[0x90; 16] };
        assert_eq!(plan(&nothing, START, STUB, HOOK), Err(Refused::NoSyscall));
        assert_eq!(plan(&nothing, START - 1, STUB, HOOK), Err(WindowEnds));
        assert_eq!(plan(&nothing, START + 16, STUB, HOOK), Err(WindowEnds));
    }

    #[test]
    fn padding_is_padding_up_to_an_aligned_address() {
        let code = |before: usize, filler: &[u8]| {
            let mut code = [&vec![0x90; before][..], &[0x0f, 0x05, 0xc3], filler].concat();
            code.resize(32, 0x55);
            planned(&code).map(|patch| patch.old.len())
        };
        assert_eq!(code(0, &[0x90; 13]), Ok(7));
        assert_eq!(code(0, &[0xcc; 13]), Ok(7));
        assert_eq!(code(9, &[0x0f, 0x1f, 0x40, 0x00]), Ok(7));
        assert_eq!(code(6, &[0x0f, 0x1f, 0x80, 0, 0, 0, 0]), Ok(10));
        // Seven bytes do not fit.
        assert_eq!(code(10, &[0x90; 13]), Err(Refused::NoRoom));
        // Other code after enough padding, and before an aligned address.
        assert_eq!(code(0, &[0x90; 5]), Err(Refused::NoRoom));
    }

    #[test]
    fn code_that_leads_between_is_left_alone() {
        /// xor eax, eax; syscall; mov edx, eax; cmp edx, 4; ret
        const CALL: [u8; 10] = [0x31, 0xc0, 0x0f, 0x05, 0x89, 0xc2, 0x83, 0xfa, 0x04, 0xc3];
        let code = |leading: &[u8], trailing: &[u8]| {
            let pad = [0x90; 64];
            planned(&[leading, &pad, &CALL, &pad, trailing].concat()).map(|patch| patch.old.len())
        };
        // Targets of the branch: the syscall, the two instructions after it, the one after the jump.
        for (to, verdict) in
            [(2_u8, Ok(7)), (4, Err(Refused::BranchedTo)), (6, Err(Refused::BranchedTo)), (9, Ok(7))]
        {
            let ahead = 64 + to;
            let back = |len: u8| to.wrapping_sub(10 + len);
            for opcode in [0xeb, 0x74, 0xe2] {
                assert_eq!(code(&[opcode, ahead], &[]), verdict, "{opcode:x} {to}");
                assert_eq!(code(&[], &[opcode, back(64 + 2)]), verdict, "{opcode:x} back {to}");
            }
            for opcode in [&[0xe9][..], &[0xe8], &[0x0f, 0x84], &[0x48, 0x8d, 0x05]] {
                assert_eq!(code(&[opcode, &[ahead, 0, 0, 0]].concat(), &[]), verdict, "{opcode:x?} {to}");
                let back = [opcode, &[back(64 + opcode.len() as u8 + 4), 0xff, 0xff, 0xff]].concat();
                assert_eq!(code(&[], &back), verdict, "{opcode:x?} back {to}");
            }
        }
        // The same bytes as part of another instruction are no branch: mov eax, 0x46eb.
        assert_eq!(code(&[0xb8, 0xeb, 0x46, 0, 0], &[]), Ok(7));
    }

    #[test]
    fn stubs_are_low() {
        let window = Window { address: START, bytes: &[0x0f, 0x05, 0x0f, 0x1f, 0x80, 0, 0, 0, 0] };
        assert_eq!(plan(&window, START, 1 << 31, 1 << 31), Err(Refused::OutOfReach));
        assert_eq!(plan(&window, START, STUB, START), Err(Refused::OutOfReach));
        assert!(plan(&window, START, STUB, HOOK).is_ok());
    }
}
