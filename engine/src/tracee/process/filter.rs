//! The seccomp filter: every system call stops, except injected ones and those of the system-call buffer.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_IMM, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_MEM, BPF_MISC,
    BPF_RET, BPF_ST, BPF_SUB, BPF_TAX, BPF_W, BPF_X, SECCOMP_RET_ALLOW, SECCOMP_RET_TRACE, SECCOMP_RET_TRAP,
    sock_filter,
};

use rrtest_preload::layout::{AREA, AREA_LEN, SLOTS, SLOTS_MOST, Slot, UNTRACED};

use crate::tracee::area::{Area, list};

/// `AUDIT_ARCH_X86_64` (linux/audit.h).
const ARCH: u32 = 0xc000_003e;

/// Offsets in `struct seccomp_data` (linux/seccomp.h).
mod offset {
    pub(super) const NUMBER: u32 = 0;
    pub(super) const ARCH: u32 = 4;
    pub(super) const IP_LOW: u32 = 8;
    pub(super) const IP_HIGH: u32 = 12;

    /// The halves of an argument.
    pub(super) const fn low(argument: u32) -> u32 {
        16 + 8 * argument
    }

    pub(super) const fn high(argument: u32) -> u32 {
        low(argument) + 4
    }
}

const fn op(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

const fn load(offset: u32) -> sock_filter {
    op(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)
}

const fn jump_unless(value: u32, skip: u8) -> sock_filter {
    op(BPF_JMP | BPF_JEQ | BPF_K, 0, skip, value)
}

const fn jump_if(value: u32, skip: u8) -> sock_filter {
    op(BPF_JMP | BPF_JEQ | BPF_K, skip, 0, value)
}

const fn answer(action: u32) -> sock_filter {
    op(BPF_RET | BPF_K, 0, 0, action)
}

/// The filter of a recorded program. Calls of another architecture (`int 0x80`) raise SIGSYS, by which the recorder
/// knows them.
pub(super) const RECORDED: [sock_filter; 11] = [
    load(offset::ARCH),
    jump_unless(ARCH, 7),
    load(offset::IP_HIGH),
    jump_unless(0, 6),
    load(offset::IP_LOW),
    jump_if(Area::INJECTED_IP as u32, 2),
    jump_if(Area::BATCH_IP as u32, 1),
    jump_unless(UNTRACED as u32, 2),
    answer(SECCOMP_RET_ALLOW),
    answer(SECCOMP_RET_TRAP),
    answer(SECCOMP_RET_TRACE),
];

/// What must hold of a call.
#[derive(Clone, Copy, Debug)]
enum Must {
    /// A word, without these bits, is this.
    Be { offset: u32, but: u32, value: u32 },
    /// It lies between these.
    LieWithin { offset: u32, start: u32, end: u32 },
    /// The range of memory in these arguments and the area have nothing in common. The kernel refuses what goes past
    /// the end of the address space.
    LeaveArea { address: u32, len: u32 },
}

const fn be(offset: u32, value: u32) -> Must {
    Must::Be { offset, but: 0, value }
}

/// A call that is let through in replay.
struct Allowed {
    /// Behind which instruction.
    ip: u32,
    number: i64,
    must: &'static [Must],
}

const AREA_END: u32 = (AREA + AREA_LEN) as u32;
const SLOTS_END: u32 = (SLOTS + SLOTS_MOST * size_of::<Slot>()) as u32;
const OWN_MEMORY: Must = Must::LeaveArea { address: 0, len: 1 };

/// FUTEX_WAIT and FUTEX_WAKE.
const WAIT_OR_WAKE: u32 = 1;

/// Flags of mmap(2) that matter to nobody else (`is_plain_map` of the buffer).
const HARMLESS: u32 =
    (libc::MAP_NORESERVE | libc::MAP_STACK | libc::MAP_POPULATE | libc::MAP_DENYWRITE) as u32;
const PLAIN: u32 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED) as u32;

const PATHS: u32 = Area::PATHS as u32;
const PATHS_END: u32 = PATHS + (Area::PATHS_MOST * list::PATH) as u32;

/// All of them, none of which can do harm, whoever makes it: those of the buffer's code (`Buffering::Repeat`, `Advise`
/// and `Map` of `rrtest_preload::calls`, and tasks that give each other their turns), those of a list of ours
/// ([`super::super::inject::Batch`]), and frequent ones of injected code.
///
/// A list opens files. The path must be one that we have put where the process cannot write, from its beginning on: it
/// is that of a memory file of ours, or empty. It is opened as it is ([`libc::O_RDONLY`] or [`libc::O_RDWR`]), and
/// whoever has its descriptor can do no more than map it.
const ALLOWED: [Allowed; 10] = [
    Allowed {
        ip: UNTRACED as u32,
        number: libc::SYS_futex,
        must: &[
            be(offset::high(0), 0),
            Must::LieWithin { offset: offset::low(0), start: SLOTS as u32, end: SLOTS_END },
            be(offset::high(1), 0),
            Must::Be { offset: offset::low(1), but: WAIT_OR_WAKE, value: 0 },
        ],
    },
    Allowed { ip: UNTRACED as u32, number: libc::SYS_mprotect, must: &[OWN_MEMORY] },
    Allowed { ip: UNTRACED as u32, number: libc::SYS_munmap, must: &[OWN_MEMORY] },
    Allowed {
        ip: UNTRACED as u32,
        number: libc::SYS_madvise,
        must: &[be(offset::low(2), libc::MADV_DONTNEED as u32), OWN_MEMORY],
    },
    Allowed {
        ip: UNTRACED as u32,
        number: libc::SYS_mmap,
        must: &[
            be(offset::high(3), 0),
            Must::Be { offset: offset::low(3), but: HARMLESS, value: PLAIN },
            OWN_MEMORY,
        ],
    },
    Allowed {
        ip: Area::BATCH_IP as u32,
        number: libc::SYS_open,
        must: &[
            be(offset::high(0), 0),
            Must::LieWithin { offset: offset::low(0), start: PATHS, end: PATHS_END },
            Must::Be { offset: offset::low(0), but: !(list::PATH as u32 - 1), value: 0 },
            be(offset::high(1), 0),
            Must::Be { offset: offset::low(1), but: libc::O_RDWR as u32, value: 0 },
        ],
    },
    Allowed { ip: Area::BATCH_IP as u32, number: libc::SYS_mmap, must: &[OWN_MEMORY] },
    Allowed { ip: Area::BATCH_IP as u32, number: libc::SYS_close, must: &[] },
    Allowed { ip: Area::INJECTED_IP as u32, number: libc::SYS_munmap, must: &[OWN_MEMORY] },
    Allowed { ip: Area::INJECTED_IP as u32, number: libc::SYS_close_range, must: &[] },
];

/// The filter of a replayed program.
pub(super) fn replayed() -> Vec<sock_filter> {
    let mut filter = vec![
        load(offset::ARCH),
        jump_if(ARCH, 1),
        answer(SECCOMP_RET_TRAP),
        load(offset::IP_HIGH),
        jump_if(0, 1),
        answer(SECCOMP_RET_TRACE),
    ];
    for Allowed { ip, number, must } in &ALLOWED {
        let mut rule = Rule::default();
        rule.must(be(offset::IP_LOW, *ip));
        rule.must(be(offset::NUMBER, *number as u32));
        must.iter().for_each(|must| rule.must(*must));
        filter.extend(rule.finish());
    }
    filter.push(answer(SECCOMP_RET_TRACE));
    filter
}

/// A part of a filter that allows a call if all holds; else what follows decides.
#[derive(Default)]
struct Rule {
    code: Vec<sock_filter>,
    /// Jumps to the end, if not.
    fails: Vec<usize>,
}

impl Rule {
    fn must(&mut self, must: Must) {
        match must {
            Must::Be { offset, but, value } => {
                self.code.push(load(offset));
                if but != 0 {
                    self.code.push(op(BPF_ALU | BPF_AND | BPF_K, 0, 0, !but));
                }
                self.or_fail(BPF_JEQ, value, true);
            }
            Must::LieWithin { offset, start, end } => {
                self.code.push(load(offset));
                self.or_fail(BPF_JGE, start, true);
                self.or_fail(BPF_JGE, end, false);
            }
            Must::LeaveArea { address, len } => self.leave_area(address, len),
        }
    }

    /// Go on if the comparison comes out as it should.
    fn or_fail(&mut self, comparison: u32, value: u32, should: bool) {
        self.fails.push(self.code.len());
        // Where the jump goes is set at the end: to the side that is not 0.
        let (jt, jf) = if should { (0, u8::MAX) } else { (u8::MAX, 0) };
        self.code.push(op(BPF_JMP | comparison | BPF_K, jt, jf, value));
    }

    fn leave_area(&mut self, address: u32, len: u32) {
        /// Places of the filter's own memory.
        const ADDRESS: u32 = 0;
        const ROOM: u32 = 1;
        /// Instructions from the first of the two jumps over the rest to its end, and from the second.
        const REST: u8 = 14;
        self.code.extend([
            // Far above it, or above.
            load(offset::high(address)),
            jump_unless(0, REST),
            load(offset::low(address)),
            op(BPF_JMP | BPF_JGE | BPF_K, REST - 2, 0, AREA_END),
        ]);
        // Below it, and no longer than up to there.
        self.or_fail(BPF_JGE, AREA as u32, false);
        self.code.extend([
            op(BPF_ST, 0, 0, ADDRESS),
            op(BPF_LDX | BPF_W | BPF_MEM, 0, 0, ADDRESS),
            op(BPF_LD | BPF_IMM, 0, 0, AREA as u32),
            op(BPF_ALU | BPF_SUB | BPF_X, 0, 0, 0),
            op(BPF_ST, 0, 0, ROOM),
            load(offset::high(len)),
        ]);
        self.or_fail(BPF_JEQ, 0, true);
        self.code.extend([
            load(offset::low(len)),
            op(BPF_MISC | BPF_TAX, 0, 0, 0),
            op(BPF_LD | BPF_W | BPF_MEM, 0, 0, ROOM),
        ]);
        self.fails.push(self.code.len());
        self.code.push(op(BPF_JMP | BPF_JGE | BPF_X, 0, u8::MAX, 0));
    }

    fn finish(mut self) -> Vec<sock_filter> {
        self.code.push(answer(SECCOMP_RET_ALLOW));
        for at in self.fails {
            let skip = u8::try_from(self.code.len() - at - 1).expect("rules are short");
            let jump = &mut self.code[at];
            let to = if jump.jt == u8::MAX { &mut jump.jt } else { &mut jump.jf };
            *to = skip;
        }
        self.code
    }
}

// The paths begin where the filter takes it for granted.
const _: () = assert!(PATHS.is_multiple_of(list::PATH as u32));

// The addresses are compared as numbers of 32 bits.
const _: () = assert!((Area::INJECTED_IP | Area::BATCH_IP | (AREA + AREA_LEN) as u64) >> 32 == 0);

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter answers, as the kernel would find it out.
    fn answer_to(filter: &[sock_filter], number: i64, ip: u64, args: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            offset::NUMBER => number as u32,
            offset::ARCH => ARCH,
            offset::IP_LOW => ip as u32,
            offset::IP_HIGH => (ip >> 32) as u32,
            _ => (args[(offset as usize - 16) / 8] >> (offset % 8 * 8)) as u32,
        };
        let (mut a, mut x, mut memory, mut at) = (0_u32, 0_u32, [0; 16], 0);
        loop {
            let sock_filter { code, jt, jf, k } = filter[at];
            at += 1;
            let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
            match u32::from(code) {
                c if c == BPF_LD | BPF_W | BPF_ABS => a = word(k),
                c if c == BPF_LD | BPF_IMM => a = k,
                c if c == BPF_LD | BPF_W | BPF_MEM => a = memory[k as usize],
                c if c == BPF_LDX | BPF_W | BPF_MEM => x = memory[k as usize],
                c if c == BPF_ST => memory[k as usize] = a,
                c if c == BPF_MISC | BPF_TAX => x = a,
                c if c == BPF_ALU | BPF_AND | BPF_K => a &= k,
                c if c == BPF_ALU | BPF_SUB | BPF_X => a = a.wrapping_sub(x),
                c if c == BPF_JMP | BPF_JEQ | BPF_K => jump(a == k),
                c if c == BPF_JMP | BPF_JGE | BPF_K => jump(a >= k),
                c if c == BPF_JMP | BPF_JGE | BPF_X => jump(a >= x),
                c if c == BPF_RET | BPF_K => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    const BUFFER: u64 = UNTRACED as u64;
    const START: u64 = AREA as u64;
    const END: u64 = AREA_END as u64;

    #[test]
    fn only_what_replay_needs_is_let_through() {
        let filter = replayed();
        let passes = |number, ip, args| match answer_to(&filter, number, ip, args) {
            SECCOMP_RET_ALLOW => true,
            SECCOMP_RET_TRACE => false,
            other => panic!("{other:#x}"),
        };
        for number in 0..600 {
            for ip in [0x40_1000, BUFFER, BUFFER + 1, BUFFER | 1 << 32, Area::INJECTED_IP, Area::BATCH_IP] {
                let may = match number {
                    libc::SYS_mprotect => ip == BUFFER,
                    libc::SYS_munmap => ip == BUFFER || ip == Area::INJECTED_IP,
                    libc::SYS_mmap | libc::SYS_close => ip == Area::BATCH_IP,
                    libc::SYS_close_range => ip == Area::INJECTED_IP,
                    _ => false,
                };
                assert_eq!(passes(number, ip, [0; 6]), may, "{number} at {ip:#x}");
            }
            assert!(!passes(number | 0x4000_0000, BUFFER, [0; 6]), "another ABI");
        }
        let futex = |address: usize, operation| {
            passes(libc::SYS_futex, BUFFER, [address as u64, operation, 0, 0, 0, 0])
        };
        assert!(futex(SLOTS, 0) && futex(SLOTS_END as usize - 256, 1));
        assert!(!futex(SLOTS, 2) && !futex(SLOTS, 128) && !futex(SLOTS, 1 << 32));
        assert!(!futex(SLOTS - 4, 0) && !futex(SLOTS_END as usize, 0) && !futex(SLOTS | 1 << 32, 0));
        let map = |flags: i64| passes(libc::SYS_mmap, BUFFER, [0x1000, 0x1000, 3, flags as u64, 0, 0]);
        assert!(map(0x32) && map(0x32 | 0x4000) && map(0x32 | 0x2_0000));
        assert!(!map(0x12) && !map(0x22) && !map(0x31) && !map(0x32 | 1 << 32) && !map(0x32 | 0x10_0000));
        let advise = |advice| passes(libc::SYS_madvise, BUFFER, [0x1000, 0x1000, advice, 0, 0, 0]);
        assert!(advise(4) && !advise(9) && !advise(0));
        let open = |path: u64, flags: i32| {
            passes(libc::SYS_open, Area::BATCH_IP, [path, flags as u64, 0o600, 0, 0, 0])
        };
        let (paths, len) = (Area::PATHS, list::PATH as u64);
        let end = paths + Area::PATHS_MOST as u64 * len;
        assert!(open(paths, libc::O_RDONLY) && open(paths + len, libc::O_RDWR) && open(end - len, 0));
        assert!((1..len).all(|within| !open(paths + within, 0)));
        assert!(!open(paths - len, 0) && !open(end, 0) && !open(paths | 1 << 32, 0));
        for flags in [libc::O_WRONLY, libc::O_CREAT, libc::O_TRUNC, libc::O_DIRECTORY, libc::O_PATH] {
            assert!(!open(paths, flags), "{flags:#x}");
        }
    }

    #[test]
    fn the_area_stays_as_it_is() {
        let filter = replayed();
        let leaves = |address, len| {
            let args = [address, len, 4, 0x32, 0, 0];
            let calls = [libc::SYS_munmap, libc::SYS_mprotect, libc::SYS_madvise, libc::SYS_mmap];
            let answers = calls.map(|number| answer_to(&filter, number, BUFFER, args) == SECCOMP_RET_ALLOW);
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{address:#x} {len:#x}: {answers:?}");
            answers[0]
        };
        for (address, len) in [
            (0, START),
            (START - 4096, 4096),
            (START - 1, 1),
            (START, 0),
            (END, 1),
            (END, u64::MAX),
            (1 << 32, 1),
            (START | 1 << 32, 1 << 40),
            (START - 4096, 0),
        ] {
            assert_eq!(leaves(address, len), !(START..END).contains(&address), "{address:#x} {len:#x}");
        }
        for (address, len) in [
            (0, START + 1),
            (START - 4096, 4097),
            (START, 1),
            (START - 1, 2),
            (END - 1, 1),
            (0, 1 << 32),
            (START - 4096, 1 << 32),
            (0, u64::MAX),
            (1, u64::MAX),
        ] {
            assert!(!leaves(address, len), "{address:#x} {len:#x}");
        }
    }
}
