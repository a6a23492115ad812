//! The system-call buffer inside the driven processes, as seen by recorder and replayer. See [`rrtest_preload::calls`]
//! for what it does.

use std::mem::offset_of;
use std::sync::atomic::Ordering::Relaxed;

use rrtest_preload::calls::{self, Buffering};
use rrtest_preload::layout::{
    BUFFER, BUFFER_LEN, DESCRIPTORS, DESCRIPTORS_LEN, DESCRIPTORS_MOST, Descriptor, Entry, FAULTING_LEN,
    HandOver, LOG, LOG_LEN, Mode, STACK, STUB_LEN, STUBS, STUBS_MOST, Shared, TICK,
};

use rrtest_preload::processor::Processor;
use rrtest_preload::random;
use rrtest_preload::reads::Read;

use super::counter::{counter_rate, machine_counter};
use super::parked::handed;
use super::shared::Area;
use crate::Error;
use crate::tracee::ptrace::{Registers, Stopped};

/// Length of a `syscall` instruction.
pub const SYSCALL_LEN: u64 = 2;

impl Area {
    /// Address, in the driven process, of the buffer's position in its log.
    pub const CURSOR: u64 = (rrtest_preload::layout::AREA + offset_of!(Shared, cursor)) as u64;

    /// Loads the buffer's code. Code beyond the buffer's size is cut off.
    pub fn load_buffer(&self, code: &[u8]) {
        self.copy_in(BUFFER, &code[..code.len().min(BUFFER_LEN)]);
        self.word(offset_of!(Shared, parked)).store(STACK as u64, Relaxed);
    }

    /// Sets the buffer's mode.
    pub fn set_mode(&self, mode: Mode) {
        self.word(offset_of!(Shared, mode)).store(mode as u64, Relaxed);
    }

    /// Sets how many ns time has been fast-forwarded, and how many ns the program's wall clocks and those that count
    /// from boot differ from the machine's.
    pub fn set_clocks(&self, ahead: u64, wall: i64, up: i64) {
        if ahead > 0 {
            self.word(offset_of!(Shared, rate)).store(counter_rate(), Relaxed);
        }
        self.word(offset_of!(Shared, ahead)).store(ahead, Relaxed);
        self.word(offset_of!(Shared, wall)).store(wall.cast_unsigned(), Relaxed);
        self.word(offset_of!(Shared, up)).store(up.cast_unsigned(), Relaxed);
    }

    /// Sets whether the program is told other times of files and of the system than the kernel reports.
    pub fn set_told(&self, told: bool) {
        self.word(offset_of!(Shared, told)).store(told.into(), Relaxed);
    }

    /// Sets whether the program is told of no quota of processor time, although there is one.
    pub fn set_quota(&self, hidden: bool) {
        self.word(offset_of!(Shared, quota)).store(hidden.into(), Relaxed);
    }

    /// Sets whether the recorder chooses where memory is mapped.
    pub fn set_placed(&self, placed: bool) {
        self.word(offset_of!(Shared, placed)).store(placed.into(), Relaxed);
    }

    /// Sets whether the program is told another order of directory entries than the kernel reports.
    pub fn set_listed(&self, listed: bool) {
        self.word(offset_of!(Shared, listed)).store(listed.into(), Relaxed);
    }

    /// Sets the processor that the program sees.
    pub fn set_processor(&self, processor: Processor) {
        self.word(offset_of!(Shared, processor)).store(u64::from(processor as u8), Relaxed);
    }

    /// Returns the processor that the program sees.
    #[must_use]
    pub fn processor(&self) -> Processor {
        Processor::of(self.word(offset_of!(Shared, processor)).load(Relaxed) as u8).unwrap_or_default()
    }

    /// Sets whether the program starts up: reads that vary from run to run stop meanwhile.
    pub fn set_starting(&self, starting: bool) {
        self.word(offset_of!(Shared, starting)).store(starting.into(), Relaxed);
    }

    /// Sets whether calls that change the signal mask stop.
    pub fn set_masked(&self, masked: bool) {
        self.word(offset_of!(Shared, masked)).store(masked.into(), Relaxed);
    }

    /// Draws the next random number for the program.
    #[must_use]
    pub fn draw_random(&self) -> u64 {
        let word = self.word(offset_of!(Shared, random));
        let mut state = word.load(Relaxed);
        let drawn = random::draw(&mut state);
        word.store(state, Relaxed);
        drawn
    }

    /// Returns the program's time-stamp counter.
    #[must_use]
    pub fn counter(&self) -> u64 {
        let word = |at| u128::from(self.word(at).load(Relaxed));
        let ahead = (word(offset_of!(Shared, ahead)) * word(offset_of!(Shared, rate))) >> 32;
        machine_counter().wrapping_add(ahead as u64)
    }

    /// Sets the state from which the program's random numbers are drawn.
    pub fn set_random(&self, state: u64) {
        self.word(offset_of!(Shared, random)).store(state.max(1), Relaxed);
    }

    /// Sets which of the next reads of a clock stops, counted from 1; 0 for none.
    pub fn set_reads(&self, next: u64) {
        self.word(offset_of!(Shared, reads)).store(next, Relaxed);
    }

    /// Sets whether the kernel may give files timestamps from before the last fast-forward.
    pub fn set_stale(&self, stale: bool) {
        self.word(offset_of!(Shared, stale)).store(stale.into(), Relaxed);
    }

    /// Sets whether no task waits for what calls on descriptors could bring about.
    pub fn set_quiet(&self, quiet: bool) {
        self.word(offset_of!(Shared, quiet)).store(quiet.into(), Relaxed);
    }

    /// Returns how many bytes of the log have been written, or taken.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.word(offset_of!(Shared, cursor)).load(Relaxed)
    }

    /// Takes what the buffer has logged.
    #[must_use]
    pub fn take_log(&self) -> Vec<u8> {
        let len = usize::try_from(self.cursor()).unwrap_or(LOG_LEN).min(LOG_LEN);
        self.word(offset_of!(Shared, cursor)).store(0, Relaxed);
        self.word(offset_of!(Shared, handed)).store(0, Relaxed);
        self.copy_out(LOG, len)
    }

    /// Gives the buffer a log to replay. Returns false if it is too long.
    #[must_use]
    pub fn give_log(&self, log: &[u8]) -> bool {
        if log.len() > LOG_LEN {
            return false;
        }
        self.copy_in(LOG, log);
        self.word(offset_of!(Shared, cursor)).store(0, Relaxed);
        self.word(offset_of!(Shared, end)).store(log.len() as u64, Relaxed);
        true
    }

    /// Returns what the buffer has not yet taken of its log.
    #[must_use]
    pub fn log_left(&self) -> Vec<u8> {
        let end = self.word(offset_of!(Shared, end)).load(Relaxed).min(LOG_LEN as u64);
        let start = self.cursor().min(end);
        self.copy_out(LOG + start as usize, (end - start) as usize)
    }

    /// Have the buffer go no further in its log than to this byte.
    pub fn set_log_end(&self, end: u64) {
        self.word(offset_of!(Shared, end)).store(end.min(LOG_LEN as u64), Relaxed);
    }

    /// What the log has up to this byte has been done otherwise.
    pub fn skip_log(&self, to: u64) {
        self.word(offset_of!(Shared, cursor)).store(to, Relaxed);
    }

    /// What the program had in rax at the tick at which the countdown has reached zero.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.word(offset_of!(Shared, kept)).load(Relaxed)
    }

    /// Where a tick goes that has used up the countdown, with the address of the runtime's `syscall` instruction in
    /// rax.
    #[must_use]
    pub fn tick_code() -> u64 {
        let at = TICK - BUFFER;
        rrtest_preload::BUFFER
            .get(at..)
            .and_then(|code| code.first_chunk())
            .map_or(0, |word| u64::from_ne_bytes(*word))
    }

    /// The stub from which a call has come that the buffer's code is at.
    #[must_use]
    pub fn hooked_stub(&self) -> Option<u64> {
        /// The stub's address is pushed behind the flags.
        const PUSHED: usize = STACK - 16;
        let pushed = self.copy_out(PUSHED, 8).first_chunk().map_or(0, |word| u64::from_ne_bytes(*word));
        Self::stub_at(pushed).and_then(Self::stub)
    }

    /// Whether the buffer has taken all of its log.
    #[must_use]
    pub fn log_is_taken(&self) -> bool {
        self.cursor() == self.word(offset_of!(Shared, end)).load(Relaxed)
    }

    /// Returns the address of stub `number`; `None` if there are not that many.
    #[must_use]
    pub fn stub(number: usize) -> Option<u64> {
        (number < STUBS_MOST).then_some((STUBS + number * STUB_LEN) as u64)
    }

    /// Returns the number of the stub that contains an address.
    #[must_use]
    pub fn stub_at(address: u64) -> Option<usize> {
        let offset = usize::try_from(address).ok()?.checked_sub(STUBS)?;
        (offset < STUBS_MOST * STUB_LEN).then_some(offset / STUB_LEN)
    }

    /// Writes a stub, which may take the place of two. Returns false if `address` is not that of a stub, or the code is
    /// too long.
    #[must_use]
    pub fn set_stub(&self, address: u64, code: &[u8]) -> bool {
        let last = address.saturating_add(code.len().saturating_sub(1) as u64);
        let fits = Self::stub_at(address).and_then(Self::stub) == Some(address)
            && Self::stub_at(last).is_some()
            && code.len() <= 2 * STUB_LEN;
        if fits {
            self.copy_in(address as usize, code);
        }
        fits
    }

    /// Whether an address is in the buffer's code or in a stub.
    #[must_use]
    pub fn is_buffer(address: u64) -> bool {
        (BUFFER as u64..(BUFFER + BUFFER_LEN) as u64).contains(&address) || Self::stub_at(address).is_some()
    }

    /// Recovers from a fault of the buffer's in accessing the program's memory: tells the buffer, and lets it go on.
    /// Returns whether the fault was the buffer's.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn recover(&self, task: &Stopped, registers: &Registers) -> Result<bool, Error> {
        let ours = (BUFFER as u64..(BUFFER + BUFFER_LEN) as u64).contains(&registers.ip());
        if ours {
            self.word(offset_of!(Shared, faulted)).store(1, Relaxed);
            let mut registers = *registers;
            registers.set_ip(registers.ip() + FAULTING_LEN);
            task.set_registers(&registers)?;
        }
        Ok(ours)
    }

    /// Returns the address of the running task's list of robust futexes.
    #[must_use]
    pub fn robust_list(&self) -> u64 {
        self.word(offset_of!(Shared, robust_list)).load(Relaxed)
    }

    /// Returns the address that the running task accesses after the tick at which it has stopped, and the number of the
    /// [`AccessKind`].
    ///
    /// [`AccessKind`]: rrtest_preload::layout::Kind
    #[must_use]
    pub fn tick_touches(&self) -> (u64, u64) {
        let word = |at| self.word(at).load(Relaxed);
        (word(offset_of!(Shared, touched)), word(offset_of!(Shared, kind)))
    }

    /// Takes the futex for which the running task comes to wait, having found its word to have the expected value; 0
    /// for none.
    #[must_use]
    pub fn take_waits(&self) -> u64 {
        let word = self.word(offset_of!(Shared, waits));
        let address = word.load(Relaxed);
        word.store(0, Relaxed);
        address
    }

    /// Sets the descriptor table of the running process; `None` if nothing is known of its descriptors.
    pub fn set_table(&self, table: Option<usize>) {
        let address = table.map_or(0, |table| table_address(table) as u64);
        self.word(offset_of!(Shared, descriptors)).store(address, Relaxed);
    }

    /// Sets what a descriptor refers to, if the table is large enough.
    pub fn set_descriptor(&self, table: usize, fd: u64, kind: Descriptor) {
        if fd < DESCRIPTORS_LEN as u64 {
            self.copy_in(table_address(table) + fd as usize, &[kind as u8]);
        }
    }

    /// Forgets what all descriptors in a table refer to.
    pub fn clear_table(&self, table: usize) {
        self.copy_in(table_address(table), &[0; DESCRIPTORS_LEN]);
    }

    /// Number of descriptor tables.
    pub const TABLES: usize = DESCRIPTORS_MOST;
}

fn table_address(table: usize) -> usize {
    DESCRIPTORS + table % DESCRIPTORS_MOST * DESCRIPTORS_LEN
}

/// A call that was made without a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferedCall<'a> {
    /// The call's number.
    pub number: u64,
    /// Its result.
    pub result: i64,
    /// The output stream to which it wrote, if any.
    pub stream: Option<Descriptor>,
    /// The hand-over that it ended with, if any.
    pub handed: Option<HandOver>,
    /// What it wrote to memory or to the stream; for a call that opens a file, which ([`BufferedCall::opened`]).
    pub payload: &'a [u8],
}

impl<'a> BufferedCall<'a> {
    /// Returns what it opened or tried to open for reading: the descriptor of the directory at which a relative path
    /// starts, and the path. `None` for other calls.
    #[must_use]
    pub fn opened(&self) -> Option<(i32, &'a [u8])> {
        if calls::call(self.number).way != Buffering::Open {
            return None;
        }
        let (directory, path) = self.payload.split_first_chunk()?;
        Some((u64::from_ne_bytes(*directory) as i32, path))
    }

    /// Whether it is no call, but an instruction that reads what the program cannot determine ([`Read`]).
    #[must_use]
    pub fn is_read(&self) -> bool {
        Read::of_number(self.number).is_some()
    }
}

/// Iterates over the calls in a log of the buffer. Ends at an invalid entry, which a damaged trace may have.
pub fn buffered_calls(log: &[u8]) -> impl Iterator<Item = BufferedCall<'_>> {
    let mut rest = log;
    std::iter::from_fn(move || {
        let (head, behind) = rest.split_at_checked(size_of::<Entry>())?;
        let part = |range: std::ops::Range<usize>| head.get(range);
        let payload = u32::from_ne_bytes(part(0..4)?.try_into().ok()?) as usize;
        let number = u16::from_ne_bytes(part(4..6)?.try_into().ok()?);
        let result = i64::from_ne_bytes(part(8..16)?.try_into().ok()?);
        rest = behind.get(payload.next_multiple_of(8)..)?;
        let payload = &behind[..payload];
        let handed = (number / Entry::STREAM == Entry::HANDS_OVER).then(|| handed(payload)).flatten();
        let stream = match number / Entry::STREAM {
            s if s == Descriptor::Stdout as u16 => Some(Descriptor::Stdout),
            s if s == Descriptor::Stderr as u16 => Some(Descriptor::Stderr),
            _ => None,
        };
        Some(BufferedCall { number: (number % Entry::STREAM).into(), result, stream, handed, payload })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use iced_x86::{Decoder, DecoderOptions, FlowControl, InstructionInfoFactory};
    use rrtest_preload::layout::{ENTRY, PARKED, READ};

    use super::*;

    /// Nobody saves the vector registers, which the kernel preserves: the code that a patched call runs must not use
    /// them.
    #[test]
    fn the_code_uses_general_registers_only() {
        let code = rrtest_preload::BUFFER;
        let address = |at: usize| u64::from_ne_bytes(code[at - BUFFER..][..8].try_into().unwrap());
        let starts = vec![ENTRY as u64, address(TICK), address(PARKED), address(READ)];
        let (mut left, mut seen) = (starts, BTreeSet::new());
        let mut factory = InstructionInfoFactory::new();
        while let Some(at) = left.pop() {
            let start = (at as usize).checked_sub(BUFFER).filter(|start| *start < code.len());
            let start = start.expect("the code stays within itself");
            for instruction in Decoder::with_ip(64, &code[start..], at, DecoderOptions::NONE).iter() {
                assert!(!instruction.is_invalid(), "{:#x}", instruction.ip());
                if !seen.insert(instruction.ip()) {
                    break;
                }
                let info = factory.info(&instruction);
                assert!(
                    info.used_registers().iter().all(|used| !used.register().is_vector_register()),
                    "{:#x}",
                    instruction.ip()
                );
                if instruction.near_branch_target() != 0 {
                    left.push(instruction.near_branch_target());
                }
                if matches!(
                    instruction.flow_control(),
                    FlowControl::UnconditionalBranch | FlowControl::IndirectBranch | FlowControl::Return
                ) {
                    break;
                }
            }
        }
        assert!(seen.len() > 200, "{} instructions", seen.len());
    }

    #[test]
    fn a_log_is_read_up_to_what_is_damaged() {
        let mut log = Vec::new();
        for (payload, number, result) in [(3_u32, 0x2001_u16, 3_i64), (0, 3, -9)] {
            log.extend(payload.to_ne_bytes());
            log.extend(number.to_ne_bytes());
            log.extend([0, 0]);
            log.extend(result.to_ne_bytes());
            log.extend(&b"abc\0\0\0\0\0"[..(payload as usize).next_multiple_of(8)]);
        }
        let calls: Vec<_> = buffered_calls(&log).collect();
        let stream = Some(Descriptor::Stdout);
        let expected = [
            BufferedCall { number: 1, result: 3, stream, handed: None, payload: b"abc" },
            BufferedCall { number: 3, result: -9, stream: None, handed: None, payload: b"" },
        ];
        assert_eq!(calls, expected);
        for len in 0..log.len() {
            assert_eq!(buffered_calls(&log[..len]).count(), usize::from(len >= 24), "{len}");
        }
        log[0] = 0xff;
        assert_eq!(buffered_calls(&log).count(), 0);
    }
}
