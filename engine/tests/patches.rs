//! System calls and other instructions replaced by jumps: all those in this machine's libc and dynamic linker on paper,
//! some by running them.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;
use std::path::PathBuf;
use std::time::Instant;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, Register};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, SectionKind};
use rrtest_engine::tracee::patch::{AROUND, DONE, ENTRY, Patch, Refused, STUB_LEN, TRACED, Window, plan};
use rrtest_engine::tracee::{Operations, Tick, TickSites, plan_read, plan_tick, read_sites, tick_sites};
use rrtest_preload::layout::{AREA, AccessKind, MOVED_TICK, Shared};

const STUB: u64 = 0x7012_3480;
const HOOK: u64 = 0x7000_2000;

/// Where libraries are mapped: nothing in them is near the stub.
const BASE: u64 = 0x7fff_f7c0_0000;

#[test]
fn system_calls_of_libc_are_replaced() {
    let files = libraries();
    assert!(files.iter().any(|file| file.to_string_lossy().contains("libc")), "{files:?}");
    let (mut patched, mut refused) = (0, BTreeMap::<Refused, u32>::new());
    let mut times = Vec::new();
    for file in files {
        for text in texts(&file) {
            for site in text.sites() {
                let began = Instant::now();
                let plan = plan(&text.around(site), site, STUB, HOOK);
                times.push(began.elapsed());
                match plan {
                    Ok(patch) => {
                        check(&patch, site);
                        patched += 1;
                    }
                    Err(reason) => *refused.entry(reason).or_default() += 1,
                }
            }
        }
    }
    times.sort();
    let all = patched + refused.values().sum::<u32>();
    eprintln!("{patched} of {all} replaced, median {:?}; refused: {refused:?}", times[times.len() / 2]);
    assert!(all > 100, "{all}");
    assert!(patched * 10 >= all * 9, "{patched} of {all}: {refused:?}");
}

#[test]
fn reads_of_the_time_and_the_processor_are_moved() {
    let (mut moved, mut refused) = (0, Vec::new());
    for path in libraries() {
        let file = std::fs::File::open(&path).unwrap();
        let texts = texts(&path);
        for site in read_sites(&file).unwrap().iter() {
            let text = texts.iter().find(|text| text.offsets().contains(&site.at)).expect("it is code");
            let (function, at) = (text.address_of(site.function), text.address_of(site.at));
            match plan_read(&text.all(), function, at, site.what, STUB) {
                Ok(patch) => {
                    assert!(patch.new.len() >= 7 && patch.stub.len() <= STUB_LEN);
                    assert!(patch.range().contains(&at));
                    moved += 1;
                }
                Err(reason) => refused.push((path.clone(), *site, reason)),
            }
        }
    }
    eprintln!("{moved} moved; refused: {refused:?}");
    assert!(moved > 20 && moved > 9 * refused.len(), "{moved}, refused: {refused:?}");
}

#[test]
fn operations_of_libc_are_moved_as_far_as_nothing_can_lead_between_them() {
    for (operations, least) in [(Operations::Atomic, 85), (Operations::All, 50)] {
        let (mut moved, mut double, mut refused) = (0, 0, BTreeMap::<Refused, u32>::new());
        let mut times = Vec::new();
        for path in libraries() {
            let file = std::fs::File::open(&path).unwrap();
            let texts = texts(&path);
            let sites = tick_sites(&file, operations).unwrap();
            for site in &sites.sites {
                let text = texts.iter().find(|text| text.offsets().contains(&site.at)).expect("it is code");
                let (function, at) = (text.address_of(site.function), text.address_of(site.at));
                let offset = |address: u64| address - text.address + text.offset;
                let began = Instant::now();
                let plan =
                    plan_tick(&text.reaching(function, at), function, at, site.what, &sites, offset, STUB);
                times.push(began.elapsed());
                match plan {
                    Ok(patch) => {
                        assert!(patch.new.len() >= 7 && patch.stub.len() <= 2 * STUB_LEN);
                        assert!(patch.range().contains(&at));
                        moved += 1;
                        double += u32::from(patch.stub.len() > STUB_LEN);
                    }
                    Err(reason) => *refused.entry(reason).or_default() += 1,
                }
            }
        }
        times.sort();
        let all = moved + refused.values().sum::<u32>();
        let median = times[times.len() / 2];
        eprintln!(
            "{operations:?}: {moved} of {all} moved, {double} in long stubs, median {median:?}; refused: {refused:?}"
        );
        assert!(all > 100, "{all}");
        assert!(moved * 100 >= all * least, "{operations:?}: {moved} of {all}: {refused:?}");
    }
}

/// The C library and the dynamic linker that this test runs with.
fn libraries() -> BTreeSet<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).map(PathBuf::from);
    paths
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libc.") || name.starts_with("libc-") || name.starts_with("ld-")
        })
        .collect()
}

/// A section of code.
struct Text {
    address: u64,
    /// In the file.
    offset: u64,
    bytes: Vec<u8>,
}

fn texts(file: &PathBuf) -> Vec<Text> {
    let data = std::fs::read(file).unwrap();
    let elf = ElfFile64::<object::LittleEndian>::parse(&*data).unwrap();
    let texts = elf.sections().filter(|section| section.kind() == SectionKind::Text);
    let offset =
        |it: &object::read::elf::ElfSection64<'_, '_, object::LittleEndian>| it.file_range().unwrap().0;
    texts
        .map(|it| Text {
            address: BASE + it.address(),
            offset: offset(&it),
            bytes: it.data().unwrap().to_vec(),
        })
        .collect()
}

impl Text {
    fn offsets(&self) -> std::ops::Range<u64> {
        self.offset..self.offset + self.bytes.len() as u64
    }

    fn address_of(&self, offset: u64) -> u64 {
        self.address + offset - self.offset
    }

    fn all(&self) -> Window<'_> {
        Window { address: self.address, bytes: &self.bytes }
    }

    /// The code around a site, with its function up to there.
    fn reaching(&self, function: u64, site: u64) -> Window<'_> {
        let at = |address: u64| (address - self.address) as usize;
        let end = self.bytes.len().min(at(site) + AROUND as usize);
        Window { address: function, bytes: &self.bytes[at(function)..end] }
    }

    fn sites(&self) -> Vec<u64> {
        let decoded = Decoder::with_ip(64, &self.bytes, self.address, DecoderOptions::NONE);
        let calls = decoded.into_iter().filter(|it| it.code() == Code::Syscall);
        calls.map(|it| it.ip()).collect()
    }

    fn around(&self, site: u64) -> Window<'_> {
        let at = (site - self.address) as usize;
        let start = at.saturating_sub(AROUND as usize);
        let end = self.bytes.len().min(at + AROUND as usize);
        Window { address: self.address + start as u64, bytes: &self.bytes[start..end] }
    }
}

/// What a patch does is what it has overwritten.
fn check(patch: &Patch, site: u64) {
    assert_eq!(patch.site, site);
    assert_eq!(patch.old.len(), patch.new.len());
    assert_eq!(patch.new[..7], [&[0xff, 0x24, 0x25][..], &(STUB as u32).to_le_bytes()].concat());
    assert!(patch.stub.len() <= STUB_LEN);
    let mut stub = Stub { bytes: &patch.stub, at: 0 };
    assert_eq!(stub.quad(), STUB + ENTRY);
    let tell = stub.next();
    assert_eq!(
        (tell.code(), tell.op0_register(), tell.immediate(1)),
        (Code::Mov_r32_imm32, Register::ECX, STUB)
    );
    let go = stub.next();
    assert_eq!((go.code(), go.near_branch_target()), (Code::Jmp_rel32_64, HOOK));
    stub.at = TRACED as usize;
    assert_eq!(stub.next().code(), Code::Syscall);
    assert_eq!(stub.at as u64, DONE);
    assert_eq!(patch.traced, stub.ip());
    let end = site + patch.old.len() as u64;
    let mut open = true;
    for original in Decoder::with_ip(64, &patch.old[2..], site + 2, DecoderOptions::NONE) {
        assert!(patch.interior().any(|address| address == original.ip()));
        if !open {
            assert_eq!(patch.stand_in(original.ip()), None);
            continue;
        }
        assert_eq!(patch.stand_in(original.ip()), Some(stub.ip()));
        assert_eq!(patch.original(stub.ip()), Some(original.ip()));
        stub.does(&original);
        use FlowControl::{IndirectBranch, Return, UnconditionalBranch};
        open = !matches!(original.flow_control(), IndirectBranch | Return | UnconditionalBranch);
    }
    if open {
        stub.jumps(end);
    }
    assert_eq!(stub.at, patch.stub.len(), "{site:#x}: {:x?} {:x?}", patch.old, patch.stub);
}

/// A stub, being read.
struct Stub<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Stub<'_> {
    fn ip(&self) -> u64 {
        STUB + self.at as u64
    }

    fn next(&mut self) -> Instruction {
        let next = Decoder::with_ip(64, &self.bytes[self.at..], self.ip(), DecoderOptions::NONE).decode();
        assert!(!next.is_invalid());
        self.at += next.len();
        next
    }

    fn quad(&mut self) -> u64 {
        self.at += 8;
        u64::from_le_bytes(self.bytes[self.at - 8..self.at].try_into().unwrap())
    }

    /// A jump to `target` follows.
    fn jumps(&mut self, target: u64) {
        let jump = self.next();
        assert_eq!(jump.code(), Code::Jmp_rm64);
        assert!(jump.is_ip_rel_memory_operand());
        assert_eq!(jump.ip_rel_memory_address(), self.ip());
        assert_eq!(self.quad(), target);
    }

    /// What follows does what `original` does.
    fn does(&mut self, original: &Instruction) {
        let mut expected = *original;
        if original.is_ip_rel_memory_operand() {
            let load = self.next();
            assert_eq!(load.code(), Code::Mov_r64_imm64);
            assert!([Register::RCX, Register::R11].contains(&load.op0_register()), "{load:?}");
            assert_eq!(load.immediate(1), original.ip_rel_memory_address());
            expected.set_memory_base(load.op0_register());
            expected.set_memory_displacement64(0);
            expected.set_memory_displ_size(0);
        }
        match original.flow_control() {
            FlowControl::UnconditionalBranch => self.jumps(original.near_branch_target()),
            FlowControl::ConditionalBranch => {
                let skip = self.next();
                expected.negate_condition_code();
                assert_eq!(skip.condition_code(), expected.condition_code());
                self.jumps(original.near_branch_target());
                assert_eq!(skip.near_branch_target(), self.ip());
            }
            FlowControl::Call => {
                self.pushes(original.next_ip());
                self.jumps(original.near_branch_target());
            }
            FlowControl::IndirectCall => {
                self.pushes(original.next_ip());
                expected.set_code(Code::Jmp_rm64);
                assert_eq!(self.next(), expected);
            }
            _ => assert_eq!(self.next(), expected),
        }
    }

    fn pushes(&mut self, address: u64) {
        let push = self.next();
        assert_eq!((push.code(), push.immediate(0) as u32), (Code::Pushq_imm32, address as u32));
        let high = self.next();
        assert_eq!((high.code(), high.immediate(1)), (Code::Mov_rm32_imm32, address >> 32));
        assert_eq!((high.memory_base(), high.memory_displacement64()), (Register::RSP, 4));
    }
}

/// What stands before the call in [`SHAPES`]: `mov eax, edi; lea rdx, callee; stc`, up to a multiple of 16.
const BEFORE: [u8; 16] = [0x89, 0xf8, 0x48, 0x8d, 0x15, 0x47, 0, 0, 0, 0xf9, 0x66, 0x0f, 0x1f, 0x44, 0, 0];

/// Where the program's data is.
const DATA: usize = 64;

/// A function that adds its return address to rax.
const CALLEE: (usize, [u8; 5]) = (80, [0x48, 0x03, 0x04, 0x24, 0xc3]);

/// What comes behind the call.
const SHAPES: [(&str, &[u8]); 13] = [
    ("cmp; ja; ret", &[0x48, 0x3d, 0, 0xf0, 0xff, 0xff, 0x77, 1, 0xc3, 0x48, 0xf7, 0xd8, 0xc3]),
    ("test; js; ret", &[0x48, 0x85, 0xc0, 0x78, 1, 0xc3, 0x48, 0xf7, 0xd8, 0xc3]),
    ("test; jl near; ret", &[0x85, 0xc0, 0x0f, 0x8c, 1, 0, 0, 0, 0xc3, 0x48, 0xf7, 0xd8, 0xc3]),
    ("ret; nop", &[0xc3, 0x66, 0x90, 0x0f, 0x1f, 0x80, 0, 0, 0, 0, 0x0f, 0x1f, 0x40, 0]),
    (
        "jmp; int3",
        &[0xeb, 12, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xff, 0xc0, 0xc3],
    ),
    ("mov rcx, [data]; add", &[0x48, 0x8b, 0x0d, 0x27, 0, 0, 0, 0x48, 0x01, 0xc8, 0xc3]),
    ("add rax, [data]", &[0x48, 0x03, 0x05, 0x27, 0, 0, 0, 0xc3]),
    ("lea rdx, data; add", &[0x48, 0x8d, 0x15, 0x27, 0, 0, 0, 0x48, 0x01, 0xd0, 0xc3]),
    ("cmp [data], eax; seta", &[0x39, 0x05, 0x28, 0, 0, 0, 0x0f, 0x97, 0xc0, 0x0f, 0xb6, 0xc0, 0xc3]),
    (
        "mov [data], 7; add eax, [data]",
        &[0xc7, 0x05, 0x24, 0, 0, 0, 7, 0, 0, 0, 0x03, 0x05, 0x1e, 0, 0, 0, 0xc3],
    ),
    ("mov; call; inc", &[0x48, 0x89, 0xc7, 0xe8, 0x36, 0, 0, 0, 0xff, 0xc0, 0xc3]),
    ("mov; call rdx; inc", &[0x48, 0x89, 0xc7, 0xff, 0xd2, 0xff, 0xc0, 0xc3]),
    ("sbb rdx, rdx; setne", &[0x48, 0x19, 0xd2, 0x48, 0x85, 0xd2, 0x0f, 0x95, 0xc0, 0xc3]),
];

/// A hook that sends every call the traced way: `lea rcx, [rcx+TRACED]; jmp rcx`.
const TRACING: [u8; 6] = [0x48, 0x8d, 0x49, TRACED as u8, 0xff, 0xe1];

/// A hook that says that no call exists: `mov rax, -ENOSYS; lea rcx, [rcx+DONE]; jmp rcx`.
const DENYING: [u8; 13] =
    [0x48, 0xc7, 0xc0, -libc::ENOSYS as u8, 0xff, 0xff, 0xff, 0x48, 0x8d, 0x49, DONE as u8, 0xff, 0xe1];

/// A call that succeeds, and one that does not exist.
const NUMBERS: [u64; 2] = [libc::SYS_getpid as u64, 100_000];

#[test]
fn patched_code_does_the_same() {
    let low = Page::at(STUB & !0xfff);
    let (stub, hook) = ((STUB & 0xfff) as usize, 0);
    for (name, tail) in SHAPES {
        let page = Page::at(0);
        page.write(0, &[&BEFORE, &[0x0f, 0x05][..], tail].concat());
        page.write(DATA, &4711_u64.to_le_bytes());
        page.write(CALLEE.0, &CALLEE.1);
        let native = NUMBERS.map(|number| page.call(number));
        let window = Window { address: page.address(), bytes: &page.read(4096) };
        let site = page.address() + BEFORE.len() as u64;
        let patch = plan(&window, site, STUB, low.address()).unwrap_or_else(|why| panic!("{name}: {why}"));
        low.write(stub, &patch.stub);
        page.write(BEFORE.len(), &patch.new);
        low.write(hook, &TRACING);
        assert_eq!(NUMBERS.map(|number| page.call(number)), native, "{name}");
        low.write(hook, &DENYING);
        assert_eq!(NUMBERS.map(|number| page.call(number)), [native[1]; 2], "{name}");
    }
}

/// Functions with an atomic operation, of which rdi is the address of some data and rsi a number. Each returns in rax
/// something of all that the operation changes, and of what a tick could.
const OPERATIONS: [(&str, AccessKind, &[u8]); 9] = [
    // mov eax, esi; lock xadd [rdi], eax; setz cl; lea; ret
    (
        "lock xadd",
        AccessKind::AtomicUpdate,
        &[0x89, 0xf0, 0xf0, 0x0f, 0xc1, 0x07, 0x0f, 0x94, 0xc1, 0x01, 0xc8, 0xc3],
    ),
    // mov eax, esi; lock cmpxchg [rdi], esi; jne +1; ret; not eax; ret
    (
        "lock cmpxchg; jne",
        AccessKind::AtomicUpdate,
        &[0x89, 0xf0, 0xf0, 0x0f, 0xb1, 0x37, 0x75, 1, 0xc3, 0xf7, 0xd0, 0xc3],
    ),
    // mov eax, esi; lock xadd [rip+data], eax; ret
    ("lock xadd [rip]", AccessKind::AtomicUpdate, &[0x89, 0xf0, 0xf0, 0x0f, 0xc1, 0x05, 0x36, 0, 0, 0, 0xc3]),
    // mov rax, rdi; stc; xchg [rax], rsi; adc rax, rsi; ret
    (
        "stc; xchg; adc",
        AccessKind::AtomicUpdate,
        &[0x48, 0x89, 0xf8, 0xf9, 0x48, 0x87, 0x30, 0x48, 0x11, 0xf0, 0xc3, 0x90],
    ),
    // mov [rsp-8], rsi; lock inc [rsp-8]; mov rax, [rsp-8]; ret
    (
        "lock inc in the red zone",
        AccessKind::AtomicUpdate,
        &[
            0x48, 0x89, 0x74, 0x24, 0xf8, 0xf0, 0x48, 0xff, 0x44, 0x24, 0xf8, 0x48, 0x8b, 0x44, 0x24, 0xf8,
            0xc3,
        ],
    ),
    // xor ecx, ecx; mov r11, rsi; stc; mfence; adc r11, rcx; mov rax, r11; ret
    (
        "mfence",
        AccessKind::Fence,
        &[0x31, 0xc9, 0x49, 0x89, 0xf3, 0xf9, 0x0f, 0xae, 0xf0, 0x49, 0x11, 0xcb, 0x4c, 0x89, 0xd8, 0xc3],
    ),
    // mov eax, 0x7fffffff; add eax, esi; lock dec qword ptr [rdi]; seto al; setc ah; ret
    (
        "lock dec",
        AccessKind::AtomicUpdate,
        &[
            0xb8, 0xff, 0xff, 0xff, 0x7f, 0x01, 0xf0, 0xf0, 0x48, 0xff, 0x0f, 0x0f, 0x90, 0xc0, 0x0f, 0x92,
            0xc4, 0xc3,
        ],
    ),
    // mov eax, 8; lock add [rdi+rax*2-16], esi; mov eax, [rdi]; ret
    (
        "lock add with an index",
        AccessKind::AtomicUpdate,
        &[0xb8, 8, 0, 0, 0, 0xf0, 0x01, 0x74, 0x47, 0xf0, 0x8b, 0x07, 0xc3],
    ),
    // mov eax, esi; mov ecx, 2; lock xadd [rdi], eax; loop back to it; ret
    (
        "lock xadd; loop",
        AccessKind::AtomicUpdate,
        &[0x89, 0xf0, 0xb9, 2, 0, 0, 0, 0xf0, 0x0f, 0xc1, 0x07, 0x48, 0xff, 0xc9, 0x75, 0xf7, 0xc3],
    ),
];

/// The stub of each: on another page than that of other tests, which run beside this one.
const TICK_STUB: u64 = STUB + 0x1000;

/// Where [`OPERATIONS`] have their data.
const CELL: usize = 64;

/// In place of the buffer's code: `lea rcx, [rcx+2]; xor eax, eax; jmp rcx`. It goes on as without a stop.
const PASSING: [u8; 7] = [0x48, 0x8d, 0x49, 2, 0x31, 0xc0, 0xff];

#[test]
fn moved_operations_do_the_same() {
    let low = Page::at(TICK_STUB & !0xfff);
    let area = Page::at(AREA as u64);
    let buffer = Page::at(MOVED_TICK as u64 & !0xfff);
    buffer.write(MOVED_TICK & 0xfff, &[&PASSING[..], &[0xe1]].concat());
    let run = |page: &Page, number: u64| {
        page.write(CELL, &number.to_le_bytes());
        (page.operate(number), page.read(CELL + 8)[CELL..].to_vec())
    };
    for (name, kind, code) in OPERATIONS {
        let page = Page::at(0);
        page.write(0, code);
        page.write(code.len(), &[0x90; 16]);
        let numbers = [0, 1, 2, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
        let native = numbers.map(|number| run(&page, number));
        let window = Window { address: page.address(), bytes: &page.read(4096) };
        let decoder = Decoder::with_ip(64, code, page.address(), DecoderOptions::NONE);
        let is_it = |it: &Instruction| {
            it.has_lock_prefix() || [Mnemonic::Xchg, Mnemonic::Mfence].contains(&it.mnemonic())
        };
        let site = decoder.into_iter().find(is_it).expect("an operation").ip();
        let moved = plan_tick(
            &window,
            page.address(),
            site,
            Tick::Before(kind),
            &TickSites::default(),
            |at| at,
            TICK_STUB,
        )
        .unwrap_or_else(|why| panic!("{name}: {why}"));
        low.write((TICK_STUB & 0xfff) as usize, &moved.stub);
        page.write((moved.site - page.address()) as usize, &moved.new);
        for countdown in [1_u64 << 40, 1, 2] {
            let moved = numbers.map(|number| {
                area.write(offset_of!(Shared, countdown), &countdown.to_le_bytes());
                run(&page, number)
            });
            assert_eq!(moved, native, "{name}, {countdown} ticks left");
            let left = u64::from_le_bytes(area.read(8).try_into().unwrap());
            assert!((1..=2).contains(&countdown.wrapping_sub(left)), "{name} ticks, {left} left");
        }
    }
}

/// A page of code that can be written and run.
struct Page(*mut u8);

impl Page {
    /// At an address, or anywhere.
    fn at(address: u64) -> Self {
        let prot = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let fixed = if address == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed;
        // SAFETY: a fresh mapping replaces none.
        let page = unsafe { libc::mmap(address as *mut _, 4096, prot, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        Self(page.cast())
    }

    fn address(&self) -> u64 {
        self.0 as u64
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= 4096);
        // SAFETY: within the page, to which no reference exists.
        unsafe { self.0.add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    fn read(&self, len: usize) -> Vec<u8> {
        assert!(len <= 4096);
        // SAFETY: within the page, which nobody writes meanwhile.
        unsafe { std::slice::from_raw_parts(self.0, len) }.to_vec()
    }

    fn call(&self, number: u64) -> u64 {
        // SAFETY: the page begins with a function that keeps to the C calling convention.
        let function: extern "C" fn(u64) -> u64 = unsafe { std::mem::transmute(self.0) };
        function(number)
    }
}

impl Page {
    /// Calls an [operation](OPERATIONS).
    fn operate(&self, number: u64) -> u64 {
        // SAFETY: as in `call`; the data is in the page.
        let function: extern "C" fn(u64, u64) -> u64 = unsafe { std::mem::transmute(self.0) };
        function(self.address() + CELL as u64, number)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: nobody runs in the page any more.
        unsafe { libc::munmap(self.0.cast(), 4096) };
    }
}
