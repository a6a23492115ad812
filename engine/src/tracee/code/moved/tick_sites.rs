//! Finds the operations in a file's code that can tick: those by which threads meet.
//!
//! Atomic operations are the instructions with a lock prefix, exchanges with memory, which lock without one, and the
//! full fence (Intel SDM, volume 3, 8.1.2 and 8.2.5). `pause` is counted among them: it says that a loop waits for another
//! thread, which would otherwise not tick while it looks. An atomic load is an ordinary `mov`, as is an atomic store that
//! only releases: they are among the plain accesses, of which those to the stack of the thread itself are left out.

use std::collections::HashMap;
use std::fs::File;
use std::mem::offset_of;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex};

use iced_x86::{
    FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register, UsedMemory,
};
use rrtest_preload::layout::{AREA, AccessKind, Shared};

use super::functions::{FileState, Function, Functions, Site, once};

/// How an operation ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tick {
    /// It is preceded by a tick.
    Before(AccessKind),
    /// It reads, computes and writes without a lock: another thread can come between, so it is taken apart, and reading
    /// and writing tick each.
    Apart,
}

/// Which operations are to tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operations {
    /// Atomic operations.
    Atomic,
    /// Also plain accesses.
    All,
}

/// The operations in a file, and where it branches to.
#[derive(Debug, Default)]
pub struct TickSites {
    /// The operations, in ascending order.
    pub sites: Vec<Site<Tick>>,
    /// The offsets in the file to which branches lead, in ascending order.
    targets: Vec<u64>,
    /// The functions that jump to computed addresses, as for a `switch`: each of their instructions may be meant. In
    /// ascending order.
    computed: Vec<Range<u64>>,
}

impl TickSites {
    /// Returns the operation at an offset in the file.
    #[must_use]
    pub fn at(&self, offset: u64) -> Option<Tick> {
        self.sites.binary_search_by_key(&offset, |site| site.at).ok().map(|found| self.sites[found].what)
    }

    /// Whether a branch may lead to one of these offsets in the file.
    #[must_use]
    pub fn leads_into(&self, offsets: &Range<u64>) -> bool {
        let before = self.targets.partition_point(|target| *target < offsets.start);
        let is_target = self.targets.get(before).is_some_and(|target| *target < offsets.end);
        let before = self.computed.partition_point(|function| function.end <= offsets.start);
        is_target || self.computed.get(before).is_some_and(|function| function.start < offsets.end)
    }
}

/// The results for the files seen so far: each is searched once.
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

type Known = HashMap<(FileState, Operations), Arc<TickSites>>;

/// Returns these operations in a file's functions, except those that count ticks themselves; none if it has no 64-bit
/// code with call frame information.
///
/// # Errors
/// If the file cannot be read.
pub fn tick_sites(file: &File, operations: Operations) -> std::io::Result<Arc<TickSites>> {
    once(&KNOWN, (FileState::of(file)?, operations), || {
        let functions = Functions::read(file)?;
        Ok(functions.map(|it| Looker::look_at(&it, operations)).unwrap_or_default().into())
    })
}

/// The bytes by which a function of the runtime that is compiled into programs counts a tick:
/// `dec qword ptr [countdown]`.
fn counts_down() -> Vec<u8> {
    let countdown = (AREA + offset_of!(Shared, countdown)) as u32;
    [&[0x48, 0xff, 0x0c, 0x25][..], &countdown.to_le_bytes()].concat()
}

/// Returns what an instruction does, if it is an atomic operation.
pub(super) fn atomic(instruction: &Instruction) -> Option<AccessKind> {
    let updates = instruction.op0_kind() == OpKind::Memory
        && (instruction.has_lock_prefix() || instruction.mnemonic() == Mnemonic::Xchg);
    match instruction.mnemonic() {
        Mnemonic::Mfence | Mnemonic::Pause => Some(AccessKind::Fence),
        _ if updates && is_fence(instruction) => Some(AccessKind::Fence),
        _ if updates => Some(AccessKind::AtomicUpdate),
        _ => None,
    }
}

/// Whether an instruction is what compilers emit for a fence: it changes nothing on the stack.
fn is_fence(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Or | Mnemonic::Add)
        && instruction.memory_base() == Register::RSP
        && instruction.op1_kind() != OpKind::Register
        && instruction.immediate(1) == 0
}

/// Looks at the instructions of a file, function by function.
struct Looker<'a> {
    functions: &'a Functions,
    operations: Operations,
    info: InstructionInfoFactory,
    counts_down: Vec<u8>,
    /// Offset of the function.
    function: Option<u64>,
    /// Whether it counts ticks itself.
    ticks: bool,
    /// Whether rbp has been set to the stack pointer in it: then what is relative to it is on the stack.
    has_frame: bool,
    found: TickSites,
}

impl<'a> Looker<'a> {
    fn look_at(functions: &'a Functions, operations: Operations) -> TickSites {
        let mut looker = Self {
            functions,
            operations,
            info: InstructionInfoFactory::new(),
            counts_down: counts_down(),
            function: None,
            ticks: false,
            has_frame: false,
            found: TickSites::default(),
        };
        functions.look_at_all(|function, instruction| looker.look(function, instruction));
        let mut found = looker.found;
        found.sites.sort_by_key(|site| site.at);
        found.sites.dedup_by_key(|site| site.at);
        found.targets.sort_unstable();
        found.targets.dedup();
        found.computed.sort_by_key(|function| function.start);
        found.computed.dedup();
        found
    }

    fn look(&mut self, function: &Function<'_>, instruction: &Instruction) {
        if self.function != Some(function.offset) {
            self.function = Some(function.offset);
            self.ticks = memchr::memmem::find(function.code, &self.counts_down).is_some();
            self.has_frame = false;
        }
        match instruction.flow_control() {
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                self.found.targets.extend(self.functions.offset_of(instruction.near_branch_target()));
            }
            // By way of the table of other files' functions, it is a call in place of a return.
            FlowControl::IndirectBranch if !instruction.is_ip_rel_memory_operand() => {
                self.found.computed.push(function.offset..function.offset + function.code.len() as u64);
            }
            _ => {}
        }
        if let Some(tick) = self.tick(instruction).filter(|_| !self.ticks) {
            self.found.sites.push(function.site(instruction, tick));
        }
    }

    fn tick(&mut self, instruction: &Instruction) -> Option<Tick> {
        if let Some(kind) = atomic(instruction) {
            return Some(Tick::Before(kind));
        }
        if self.operations == Operations::Atomic {
            return None;
        }
        let sets_frame = instruction.mnemonic() == Mnemonic::Mov
            && instruction.op0_register() == Register::RBP
            && instruction.op1_register() == Register::RSP;
        self.has_frame |= sets_frame;
        if instruction.flow_control() != FlowControl::Next || instruction.is_string_instruction() {
            return None;
        }
        // With the stack, or two places in memory, it is no plain access.
        let [memory] = *self.info.info(instruction).used_memory() else { return None };
        if !self.is_shared(instruction, &memory) {
            return None;
        }
        match memory.access() {
            OpAccess::Read | OpAccess::CondRead => Some(Tick::Before(AccessKind::Load)),
            OpAccess::Write | OpAccess::CondWrite => Some(Tick::Before(AccessKind::Store)),
            OpAccess::ReadWrite if computes(instruction) => Some(Tick::Apart),
            OpAccess::ReadWrite | OpAccess::ReadCondWrite => Some(Tick::Before(AccessKind::Store)),
            _ => None,
        }
    }

    /// Whether other threads could use this memory.
    fn is_shared(&self, instruction: &Instruction, memory: &UsedMemory) -> bool {
        let is_plain = |register: Register| register == Register::None || register.is_gpr64();
        if matches!(memory.segment(), Register::FS | Register::GS)
            || instruction.memory_size().size() == 0
            || !is_plain(memory.index())
        {
            return false;
        }
        if instruction.is_ip_rel_memory_operand() {
            return self.functions.is_data(instruction.ip_rel_memory_address());
        }
        match memory.base() {
            Register::RSP => false,
            Register::RBP => !self.has_frame,
            base => is_plain(base),
        }
    }
}

/// Whether an instruction that reads and writes memory can be taken apart.
pub(super) fn computes(instruction: &Instruction) -> bool {
    use Mnemonic::{Add, And, Dec, Inc, Or, Sub, Xor};
    instruction.op0_kind() == OpKind::Memory
        && matches!(instruction.mnemonic(), Add | And | Dec | Inc | Or | Sub | Xor)
        && matches!(instruction.memory_size().size(), 1 | 2 | 4 | 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code of these instructions, and where those are that tick.
    fn code(instructions: &[(&[u8], Option<Tick>)]) -> (Vec<u8>, Vec<(u64, u8, Tick)>) {
        let (mut code, mut ticks) = (Vec::new(), Vec::new());
        for (bytes, tick) in instructions {
            ticks.extend(tick.map(|tick| (code.len() as u64, bytes.len() as u8, tick)));
            code.extend_from_slice(bytes);
        }
        (code, ticks)
    }

    fn told(code: &[u8], operations: Operations) -> Vec<(u64, u8, Tick)> {
        let found = Looker::look_at(&Functions::of_code(code), operations);
        found.sites.iter().map(|site| (site.at, site.len, site.what)).collect()
    }

    const UPDATE: Option<Tick> = Some(Tick::Before(AccessKind::AtomicUpdate));
    const FENCE: Option<Tick> = Some(Tick::Before(AccessKind::Fence));
    const LOAD: Option<Tick> = Some(Tick::Before(AccessKind::Load));
    const STORE: Option<Tick> = Some(Tick::Before(AccessKind::Store));

    #[test]
    fn atomic_operations_are_told_from_bytes_like_theirs() {
        let (code, expected) = code(&[
            (&[0xf0, 0x0f, 0xb1, 0x17], UPDATE),     // lock cmpxchg [rdi], edx
            (&[0xb8, 0xf0, 0x0f, 0xb1, 0x17], None), // mov eax, 0x17b10ff0
            (&[0xf0, 0x48, 0x0f, 0xc1, 0x05, 1, 2, 3, 0], UPDATE), // lock xadd [rip+…], rax
            (&[0xf0, 0xff, 0x0f], UPDATE),           // lock dec dword ptr [rdi]
            (&[0x87, 0x07], UPDATE),                 // xchg [rdi], eax
            (&[0x66, 0x41, 0x87, 0x00], UPDATE),     // xchg [r8], ax
            (&[0x48, 0x87, 0xd9], None),             // xchg rcx, rbx
            (&[0x0f, 0xae, 0xf0], FENCE),            // mfence
            (&[0xf0, 0x48, 0x83, 0x0c, 0x24, 0x00], FENCE), // lock or qword ptr [rsp], 0
            (&[0xf3, 0x90], FENCE),                  // pause
            (&[0x0f, 0xae, 0xe8], None),             // lfence
            (&[0xf0, 0x66, 0x41, 0x0f, 0xba, 0x28, 3], UPDATE), // lock bts word ptr [r8], 3
        ]);
        assert_eq!(told(&code, Operations::Atomic), expected);
        assert_eq!(told(&code, Operations::All), expected);
    }

    #[test]
    fn plain_accesses_are_those_that_others_could_see() {
        let (code, expected) = code(&[
            (&[0x8b, 0x45, 0x08], LOAD),                   // mov eax, [rbp+8]
            (&[0x55], None),                               // push rbp
            (&[0x48, 0x89, 0xe5], None),                   // mov rbp, rsp
            (&[0x8b, 0x45, 0x08], None),                   // mov eax, [rbp+8]
            (&[0x8b, 0x44, 0x24, 0x08], None),             // mov eax, [rsp+8]
            (&[0x8b, 0x07], LOAD),                         // mov eax, [rdi]
            (&[0x89, 0x07], STORE),                        // mov [rdi], eax
            (&[0x39, 0x07], LOAD),                         // cmp [rdi], eax
            (&[0x83, 0x07, 1], Some(Tick::Apart)),         // add dword ptr [rdi], 1
            (&[0xd1, 0x27], STORE),                        // shl dword ptr [rdi], 1
            (&[0xf0, 0xff, 0x07], UPDATE),                 // lock inc dword ptr [rdi]
            (&[0x64, 0x8b, 0x04, 0x25, 0, 0, 0, 0], None), // mov eax, fs:[0]
            (&[0x8d, 0x47, 0x08], None),                   // lea eax, [rdi+8]
            (&[0x0f, 0x18, 0x0f], None),                   // prefetcht0 [rdi]
            (&[0xff, 0x17], None),                         // call [rdi]
            (&[0xff, 0x37], None),                         // push [rdi]
            (&[0xa4], None),                               // movsb
            (&[0x0f, 0x11, 0x07], STORE),                  // movups [rdi], xmm0
        ]);
        assert_eq!(told(&code, Operations::All), expected);
    }

    #[test]
    fn constants_and_addresses_of_functions_are_no_data() {
        // mov eax, [rip+…] of a constant, of what the linker has relocated, and of data.
        let load = |next: u32, to: u32| [&[0x8b, 0x05][..], &(to - next).to_le_bytes()].concat();
        let code = [load(6, 0x3000), load(12, 0x4080), load(18, 0x4800)].concat();
        assert_eq!(told(&code, Operations::All), [(12, 6, Tick::Before(AccessKind::Load))]);
    }

    #[test]
    fn what_counts_ticks_itself_is_left_out() {
        let mut code = counts_down();
        code.extend([0xf0, 0x0f, 0xb1, 0x17]);
        assert_eq!(told(&code[8..], Operations::Atomic).len(), 1);
        assert_eq!(told(&code, Operations::Atomic).len(), 0);
        assert_eq!(told(&code, Operations::All).len(), 0);
    }

    #[test]
    fn branches_lead_to_their_targets_and_computed_ones_anywhere() {
        // nop; jmp to the nop; je behind; ret
        let direct = [0x90, 0xeb, 0xfd, 0x74, 0, 0xc3];
        let found = Looker::look_at(&Functions::of_code(&direct), Operations::Atomic);
        let led: Vec<u64> = (0..6).filter(|at| found.leads_into(&(*at..at + 1))).collect();
        assert_eq!(led, [0, 5]);
        assert!(!found.leads_into(&(1..5)) && found.leads_into(&(1..6)));
        // nop; jmp rax
        let computed = Looker::look_at(&Functions::of_code(&[0x90, 0xff, 0xe0]), Operations::Atomic);
        assert!(computed.leads_into(&(1..2)) && !computed.leads_into(&(3..9)));
        // jmp [rip+…]
        let call = Looker::look_at(&Functions::of_code(&[0xff, 0x25, 0, 1, 0, 0]), Operations::Atomic);
        assert!(!call.leads_into(&(0..6)));
    }
}
