//! A recorder within the process, for tests: a seccomp filter turns the runtime's two calls into SIGSYS, whose handler
//! answers them. So the runtime under test is the very object that is shipped. Compiled without instrumentation.

use std::{
    ffi::{c_int, c_long, c_ulong, c_void},
    ptr,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

#[path = "../../src/layout.rs"]
pub mod layout;
use layout::{AREA, AccessKind, SYS_HELLO, SYS_TICK, Shared, TICK};

unsafe extern "C" {
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: c_long,
    ) -> *mut c_void;
    fn prctl(option: c_int, argument: c_ulong, ...) -> c_int;
    fn sigaction(signal: c_int, action: *const Action, old: *mut Action) -> c_int;
}

/// `struct sigaction` of glibc.
#[repr(C)]
struct Action {
    handler: extern "C" fn(c_int, *mut c_void, *mut Context),
    mask: [u64; 16],
    flags: c_int,
    restorer: usize,
}

/// `ucontext_t` up to its general registers.
#[repr(C)]
struct Context {
    before: [u64; 5],
    registers: [usize; 23],
}

// An index into `Context::registers`.
const RAX: usize = 13;

static HELLOS: AtomicUsize = AtomicUsize::new(0);
static TICKS: AtomicUsize = AtomicUsize::new(0);
static LOG: [(AtomicUsize, AtomicU64); 64] = [const { (AtomicUsize::new(0), AtomicU64::new(0)) }; 64];
/// What the countdown is set to after a tick that trapped.
static INTERVAL: AtomicU64 = AtomicU64::new(u64::MAX);

/// Runs before all constructors, thus before the runtime's.
#[used]
#[unsafe(link_section = ".preinit_array")]
static PREPARE: extern "C" fn() = prepare;

extern "C" fn prepare() {
    // struct sock_filter: load the call's number; trap on the two of ours; allow the rest.
    let filter: [(u16, u8, u8, u32); 5] = [
        (0x20, 0, 0, 0),
        (0x15, 1, 0, SYS_HELLO as u32),
        (0x15, 0, 1, SYS_TICK as u32),
        (0x06, 0, 0, 0x0003_0000),
        (0x06, 0, 0, 0x7fff_0000),
    ];
    let code = filter.map(|(code, yes, no, value)| {
        u64::from(code) | u64::from(yes) << 16 | u64::from(no) << 24 | u64::from(value) << 32
    });
    #[repr(C)]
    struct Program {
        length: u16,
        code: *const u64,
    }
    let program = Program { length: 5, code: code.as_ptr() };
    let action = Action { handler: answer, mask: [0; 16], flags: 4, restorer: 0 };
    // SAFETY: plain calls of libc, with arguments as its manual pages ask for.
    unsafe {
        assert_eq!(sigaction(31, &action, ptr::null_mut()), 0);
        assert_eq!(prctl(38, 1, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong), 0, "no_new_privs");
        assert_eq!(prctl(22, 2, &program), 0, "seccomp");
    }
}

// What stands in for the system-call buffer's code: it lets every tick stop.
std::arch::global_asm!(
    "rrtest_stop:",
    "mov qword ptr [{back}], rax",
    "movabs rax, {number}",
    "jmp qword ptr [{back}]",
    back = const AREA + std::mem::offset_of!(Shared, back),
    number = const SYS_TICK,
);

unsafe extern "C" {
    fn rrtest_stop();
}

fn shared() -> *mut Shared {
    ptr::with_exposed_provenance_mut(AREA)
}

extern "C" fn answer(_: c_int, _: *mut c_void, context: *mut Context) {
    // SAFETY: the kernel passes a valid context; `AREA` is mapped from the first call on.
    unsafe {
        let registers = &mut (*context).registers;
        // The kernel leaves the call's number in rax.
        if registers[RAX] == SYS_HELLO {
            if HELLOS.fetch_add(1, Relaxed) == 0 {
                // Readable and writable; shared, anonymous, at this address.
                assert_eq!(mmap(shared().cast(), 0x3000, 3, 0x31, -1, 0), shared().cast());
                *ptr::with_exposed_provenance_mut(TICK) = rrtest_stop as *const ();
                (*shared()).countdown.store(u64::MAX, Relaxed);
            }
            registers[RAX] = 1;
        } else {
            let (address, kind) = &LOG[TICKS.fetch_add(1, Relaxed)];
            address.store((*shared()).touched.get() as usize, Relaxed);
            kind.store((*shared()).kind.get(), Relaxed);
            registers[RAX] = 0;
            (*shared()).countdown.store(INTERVAL.load(Relaxed), Relaxed);
        }
    }
}

/// How many copies of the runtime have said hello.
pub fn hellos() -> usize {
    HELLOS.load(Relaxed)
}

/// From here on, every `interval`th tick traps.
#[inline(never)]
pub fn begin(interval: u64) {
    TICKS.store(0, Relaxed);
    INTERVAL.store(interval, Relaxed);
    // SAFETY: mapped since the runtime said hello.
    unsafe { (*shared()).countdown.store(interval, Relaxed) };
}

/// The ticks that trapped since [`begin`]: address and kind.
#[inline(never)]
pub fn end() -> Vec<(usize, AccessKind)> {
    // SAFETY: as above.
    unsafe { (*shared()).countdown.store(u64::MAX, Relaxed) };
    LOG[..TICKS.load(Relaxed)]
        .iter()
        .map(|(address, kind)| (address.load(Relaxed), AccessKind::from_raw(kind.load(Relaxed)).unwrap()))
        .collect()
}
