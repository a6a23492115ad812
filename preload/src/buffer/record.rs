//! Calls when recording.

use core::mem::MaybeUninit;
use core::sync::atomic::Ordering::Relaxed;

use super::hand_over::{self, waiters};
use super::{
    Frame, Made, PATH_MAX, copy, entry, is_ours, is_writable, kernel, look, path_len, tick, word, written,
};
use crate::calls::{self, Buffering, Call, KERNEL, Out};
use crate::layout::{DESCRIPTORS_LEN, Descriptor, Entry, LOG_LEN, Note, Shared, WALL_CLOCKS};

/// Makes a call and logs it, if it can be made without a stop.
pub(super) fn call(shared: &Shared, frame: &mut Frame) -> Made {
    let (number, args) = (frame.rax, frame.args());
    let call = calls::call(number);
    if call.way == Buffering::Futex && hand_over::wait(shared, frame) {
        return Made::Waits;
    }
    if !has_room(shared, call, &args) || !may(shared, number, call, &args) {
        return Made::No;
    }
    if call.way == Buffering::Write {
        let stream = descriptor(shared, args[0]);
        if stream == Descriptor::Stdout as u8 || stream == Descriptor::Stderr as u8 {
            return Made::if_so(put_out(shared, frame, stream));
        }
    }
    if meets(shared, call, &args) || call.ticks() && !tick(shared) {
        return Made::No;
    }
    let result = match call.way {
        Buffering::Clock if shared.wall.get() | shared.up.get() != 0 => match read_clock(shared, args) {
            Some(result) => result,
            None => return Made::No,
        },
        Buffering::Time => match tell_time(shared, number, args) {
            Some(result) => result,
            None => return Made::No,
        },
        Buffering::Futex if is_wake(&args) => wake(shared, &args),
        Buffering::Futex => -EAGAIN,
        Buffering::RobustList => {
            shared.robust_list.set(args[0]);
            0
        }
        Buffering::Affinity => {
            let known = shared.affinity.as_ptr().expose_provenance() as u64;
            if !copy(shared, known, args[2], SET) {
                return Made::No;
            }
            SET as i64
        }
        _ => kernel(number, args),
    };
    if call.way == Buffering::Advise && result < 0 {
        // The recorder must see how far it has got: it makes the call once more, which changes nothing.
        return Made::No;
    }
    match call.way {
        Buffering::Close => set_descriptor(shared, args[0], Descriptor::Unknown),
        // It has made another descriptor for the same file.
        Buffering::Copy => copy_descriptor(shared, args[0], result),
        Buffering::Flags if matches!(args[1] as u32, DUPFD | DUPFD_CLOEXEC) => {
            copy_descriptor(shared, args[0], result)
        }
        // The descriptor is read-only, so it does not matter whether the file is mapped.
        Buffering::Open if result >= 0 => set_descriptor(shared, result as u64, Descriptor::Ready),
        _ => {}
    }
    let (_, payload) = entry(shared.cursor.get());
    if call.way == Buffering::Open {
        let len = log_opened(shared, &args, payload);
        append(shared, frame, frame.rax as u16, len, result);
        return Made::Yes;
    }
    let (address, len) = written(call.out, &args, result);
    let len = if result < 0 {
        copy_writable(shared, address, payload, len)
    } else {
        copy(shared, address, payload, len);
        len
    };
    append(shared, frame, frame.rax as u16, len, result);
    Made::Yes
}

/// Logs what an openat(2) has opened, whether it succeeded or not: the descriptor of the directory, as a word, and the path.
/// Returns the length.
fn log_opened(shared: &Shared, args: &[u64; 6], payload: u64) -> usize {
    const WORD: usize = size_of::<u64>();
    let directory = core::ptr::with_exposed_provenance_mut::<u64>(payload as usize);
    // SAFETY: has_room() has made sure that there is room. Payloads start at multiples of 8.
    unsafe { *directory = args[0] };
    let len = path_len(args[1]);
    copy(shared, args[1], payload + WORD as u64, len);
    WORD + len
}

/// Copies memory of the program into the log, up to where it is not writable: the kernel has got no further. Returns
/// the length.
fn copy_writable(shared: &Shared, from: u64, to: u64, len: usize) -> usize {
    const PAGE: usize = 4096;
    let mut done = 0;
    while done < len {
        let at = from.wrapping_add(done as u64);
        let rest = PAGE - at as usize % PAGE;
        let part = if rest < len - done { rest } else { len - done };
        if !is_writable(shared, at) || !copy(shared, at, to + done as u64, part) {
            break;
        }
        done += part;
    }
    done
}

/// Whether a watched task is to stop before this call. At the end of its timeslice it stops anyway.
fn meets(shared: &Shared, call: &Call, args: &[u64; 6]) -> bool {
    let is_file = || descriptor(shared, args[0]) == Descriptor::Ready as u8;
    let meets = shared.watch.get().on != 0
        && shared.left.load(Relaxed) > 1
        && call.touches(args, is_file).is_some_and(|kind| look(shared, KERNEL, kind as u64));
    shared.met.set(meets.into());
    meets
}

/// F_DUPFD and F_DUPFD_CLOEXEC (linux/fcntl.h).
const DUPFD: u32 = 0;
const DUPFD_CLOEXEC: u32 = 1030;

/// Whether the log has room for everything that a call can write.
fn has_room(shared: &Shared, call: &Call, args: &[u64; 6]) -> bool {
    let payload = match (call.way, call.out) {
        (Buffering::Stop, _) => return false,
        (Buffering::Write, _) => args[2],
        (Buffering::Open, _) => (size_of::<u64>() + PATH_MAX) as u64,
        (_, Out::Nothing) => 0,
        (_, Out::Fixed(_, len)) => len.into(),
        // The argument after the address is the length.
        (_, Out::Returned(at)) => args.get(usize::from(at) + 1).copied().unwrap_or(u64::MAX),
    };
    let left = LOG_LEN as u64 - shared.cursor.get();
    payload < left && Entry::size(payload as usize) as u64 <= left
}

/// Whether a call can be made without a stop.
fn may(shared: &Shared, number: u64, call: &Call, args: &[u64; 6]) -> bool {
    /// The clocks that are the same for all processes (linux/time.h): CLOCK_REALTIME, CLOCK_MONOTONIC, their raw and
    /// coarse variants, CLOCK_BOOTTIME, CLOCK_TAI.
    const CLOCKS: u64 = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 11;
    let kind = descriptor(shared, args[0]);
    let is_file = kind == Descriptor::Ready as u8;
    if shared.stale.get() != 0
        && is_file
        && matches!(call.way, Buffering::File | Buffering::Write | Buffering::Read)
    {
        return false;
    }
    match call.way {
        Buffering::Stop => false,
        Buffering::Always | Buffering::Copy => true,
        Buffering::Times => shared.told.get() == 0,
        Buffering::List => shared.listed.get() == 0,
        // If there is no descriptor with that number, the call fails at once.
        Buffering::File | Buffering::Write | Buffering::Read | Buffering::Close
            if kind == Descriptor::Unknown as u8 && is_none(args[0]) =>
        {
            true
        }
        Buffering::File => is_file,
        Buffering::Write => is_file || kind == Descriptor::Stdout as u8 || kind == Descriptor::Stderr as u8,
        Buffering::Read => {
            is_file || kind == Descriptor::Waitable as u8 && shared.quiet.get() != 0 && is_readable(args[0])
        }
        Buffering::Close => shared.quiet.get() != 0 && is_file,
        Buffering::Time => (args[1] == 0 || number == TIME) && !is_to_stop(shared),
        Buffering::Limits => args[2] == 0,
        // F_GETFD, F_SETFD, F_GETFL.
        Buffering::Flags => matches!(args[1] as u32, 1..=3 | DUPFD | DUPFD_CLOEXEC),
        Buffering::Clock => args[0] < 64 && CLOCKS >> args[0] & 1 == 1 && !is_to_stop(shared),
        Buffering::Futex => futex(shared, args),
        Buffering::RobustList => args[1] == ROBUST_LIST_HEAD,
        Buffering::Affinity => {
            let own = args[0] as u32 == 0 || u64::from(args[0] as u32) == shared.tid.get();
            own && args[1] != 0 && args[1].is_multiple_of(SET as u64) && !is_ours(args[2], SET as u64)
        }
        Buffering::Repeat => !is_ours(args[0], args[1]),
        Buffering::Advise => !is_ours(args[0], args[1]) && args[2] as u32 == DONTNEED,
        Buffering::Open => opens_file(shared, args),
        Buffering::Mask => shared.masked.get() == 0 && args[3] == 8 && !signals_wait(),
        Buffering::Map => shared.placed.get() == 0 && is_plain_map(args),
    }
}

/// The number of time(2).
const TIME: u64 = 201;

/// Whether a read of a clock is the one that is to stop.
fn is_to_stop(shared: &Shared) -> bool {
    if shared.reads.get() > 1 {
        shared.reads.set(shared.reads.get() - 1);
        return false;
    }
    shared.reads.get() == 1
}

/// Reads a clock as the program sees it, in seconds and nanoseconds.
fn clock(shared: &Shared, clock: u64) -> Result<[u64; 2], i64> {
    const CLOCK_GETTIME: u64 = 228;
    const SECOND: i64 = 1_000_000_000;
    let mut time = [0_u64; 2];
    let at = (&raw mut time).expose_provenance() as u64;
    let result = kernel(CLOCK_GETTIME, [clock, at, 0, 0, 0, 0]);
    if result != 0 {
        return Err(result);
    }
    let [seconds, nanoseconds] = time.map(u64::cast_signed);
    let differs = if WALL_CLOCKS >> clock & 1 == 1 { shared.wall.get() } else { shared.up.get() };
    let sum = nanoseconds + differs.rem_euclid(SECOND);
    Ok([seconds + differs.div_euclid(SECOND) + sum / SECOND, sum % SECOND].map(i64::cast_unsigned))
}

/// Makes a clock_gettime(2) when the program's clocks differ from the machine's. Returns the result; `None` if the
/// memory is not accessible.
fn read_clock(shared: &Shared, args: [u64; 6]) -> Option<i64> {
    match clock(shared, args[0]) {
        Err(result) => Some(result),
        Ok(time) => {
            let at = (&raw const time).expose_provenance() as u64;
            copy(shared, at, args[1], size_of_val(&time)).then_some(0)
        }
    }
}

/// Makes a time(2) or gettimeofday(2). Returns the result; `None` if the memory is not accessible.
fn tell_time(shared: &Shared, number: u64, args: [u64; 6]) -> Option<i64> {
    const REALTIME: u64 = 0;
    let [seconds, nanoseconds] = clock(shared, REALTIME).ok()?;
    let time = [seconds, nanoseconds / 1000];
    let (len, result) = if number == TIME { (8, seconds as i64) } else { (16, 0) };
    let at = (&raw const time).expose_provenance() as u64;
    (args[0] == 0 || copy(shared, at, args[0], len)).then_some(result)
}

/// Bytes of the kernel's set of cores, of which there are at most 64.
const SET: usize = 8;

/// `sizeof(struct robust_list_head)` (linux/futex.h).
const ROBUST_LIST_HEAD: u64 = 24;

/// MADV_DONTNEED (madvise(2)).
const DONTNEED: u32 = 4;

/// Whether an openat(2) opens a regular file or a device like /dev/null for reading, which does not block, or fails
/// because the file does not exist.
fn opens_file(shared: &Shared, args: &[u64; 6]) -> bool {
    const NEWFSTATAT: u64 = 262;
    /// Other flags than O_CLOEXEC, O_LARGEFILE, O_NOCTTY, O_NONBLOCK and O_NOFOLLOW matter.
    const HARMLESS: u64 = 0x80000 | 0x8000 | 0x100 | 0x800 | 0x20000;
    const NOFOLLOW: u64 = 0x20000;
    const SYMLINK_NOFOLLOW: u64 = 0x100;
    /// Size of struct stat (stat(2)), and the offsets of st_mode and st_size.
    const STAT: usize = 144 / 8;
    const MODE: usize = 24 / 8;
    const SIZE: usize = 48 / 8;
    const TYPE: u64 = 0o170_000;
    const REGULAR: u64 = 0o100_000;
    const CHARACTERS: u64 = 0o020_000;
    /// Offset of st_rdev, and the major number of `/dev/null` and the like, which never block either (null(4)).
    const DEVICE: usize = 40 / 8;
    const MEMORY: u64 = 1;
    const NOT_FOUND: i64 = -2;
    if args[2] & 0xffff_ffff & !HARMLESS != 0 {
        return false;
    }
    let flags = if args[2] & NOFOLLOW != 0 { SYMLINK_NOFOLLOW } else { 0 };
    // Zeroing it would become a call to memset.
    let mut stat = MaybeUninit::<[u64; STAT]>::uninit();
    let at = stat.as_mut_ptr().expose_provenance() as u64;
    match kernel(NEWFSTATAT, [args[0], args[1], at, flags, 0, 0]) {
        0 => {}
        result => return result == NOT_FOUND,
    }
    // SAFETY: the kernel has filled it.
    let stat = unsafe { stat.assume_init_ref() };
    // An empty file without a device may be one that the kernel makes: of /proc, or of a control group.
    let may_be_made = stat[SIZE] == 0 && stat[0] >> 8 & 0xfff == 0;
    match stat[MODE] & TYPE {
        REGULAR => !(may_be_made && is_recorders(shared, args[1])),
        CHARACTERS => stat[DEVICE] >> 8 == MEMORY,
        _ => false,
    }
}

/// Whether a path ends with the name of a file that the recorder must handle: it shows how a process is run, the time,
/// or a quota of processor time that is to be hidden, or is a process's memory. The kernel has just read the path.
fn is_recorders(shared: &Shared, path: u64) -> bool {
    const NAMES: [u64; 7] = [
        hash(b"status"),
        hash(b"stat"),
        hash(b"personality"),
        hash(b"uptime"),
        hash(b"mem"),
        hash(b"cpu.max"),
        hash(b"cpu.cfs_quota_us"),
    ];
    /// The last ones have the quota.
    const QUOTA: usize = 2;
    let path = core::ptr::with_exposed_provenance::<u8>(path as usize);
    let mut name = HASH_OF_NOTHING;
    let mut at = 0;
    while at < PATH_MAX {
        // SAFETY: the bytes before it are the path's, and not its end. Volatile, so that this does not become a call to
        // strlen.
        name = match unsafe { path.add(at).read_volatile() } {
            0 => break,
            b'/' => HASH_OF_NOTHING,
            byte => hashed(name, byte),
        };
        at += 1;
    }
    let count = if shared.quota.get() == 0 { NAMES.len() - QUOTA } else { NAMES.len() };
    let mut at = 0;
    while at < count {
        if name == NAMES[at] {
            return true;
        }
        at += 1;
    }
    false
}

/// FNV-1a.
const HASH_OF_NOTHING: u64 = 0xcbf2_9ce4_8422_2325;

const fn hashed(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3)
}

const fn hash(name: &[u8]) -> u64 {
    let (mut hash, mut at) = (HASH_OF_NOTHING, 0);
    while at < name.len() {
        hash = hashed(hash, name[at]);
        at += 1;
    }
    hash
}

/// Whether a blocked signal is pending.
fn signals_wait() -> bool {
    const RT_SIGPENDING: u64 = 127;
    let mut set = 0_u64;
    kernel(RT_SIGPENDING, [(&raw mut set).expose_provenance() as u64, 8, 0, 0, 0, 0]) != 0 || set != 0
}

/// Whether there is no descriptor with this number.
fn is_none(fd: u64) -> bool {
    const FCNTL: u64 = 72;
    const GETFD: u64 = 1;
    const EBADF: i64 = 9;
    kernel(FCNTL, [fd, GETFD, 0, 0, 0, 0]) == -EBADF
}

/// Whether there is something to read now.
fn is_readable(fd: u64) -> bool {
    const POLL: u64 = 7;
    const POLLIN: u64 = 1;
    // A struct pollfd (poll(2)) in a word: descriptor and requested events.
    let mut asked: u64 = fd & 0xffff_ffff | POLLIN << 32;
    let ready = kernel(POLL, [(&raw mut asked).expose_provenance() as u64, 1, 0, 0, 0, 0]);
    ready == 1 && asked >> 48 & POLLIN != 0
}

const EAGAIN: i64 = 11;

/// Returns the command of futex(2), without its flags.
pub(super) fn command(args: &[u64; 6]) -> u64 {
    const PRIVATE: u64 = 128;
    const WAIT_BITSET: u64 = 9;
    const CLOCK_REALTIME: u64 = 256;
    match args[1] & 0xffff_ffff & !PRIVATE {
        // Only this operation takes a clock here; others with the flag do not exist.
        operation if operation == WAIT_BITSET | CLOCK_REALTIME => WAIT_BITSET,
        operation => operation,
    }
}

fn is_wake(args: &[u64; 6]) -> bool {
    // FUTEX_WAKE, FUTEX_WAKE_BITSET
    matches!(command(args), 1 | 10)
}

/// Whether a futex call needs no stop: there is nobody to wake, or the waker goes on anyway, or the word differs from
/// the expected value.
fn futex(shared: &Shared, args: &[u64; 6]) -> bool {
    const PRIVATE: u64 = 128;
    let [address, _, value, ..] = *args;
    if address % 4 != 0 {
        return false;
    }
    match command(args) {
        // Futexes that processes share have other keys.
        1 | 10 => args[1] & PRIVATE != 0 && may_wake(shared, args),
        // FUTEX_WAIT, and FUTEX_WAIT_BITSET with a bitset that is not empty. The recorder handles invalid time limits.
        0 if args[3] == 0 => differs(shared, address, value as u32),
        9 if args[3] == 0 && args[5] as u32 != 0 => differs(shared, address, value as u32),
        _ => false,
    }
}

/// Whether a word differs from a value. If it does not, the recorder need not look again.
fn differs(shared: &Shared, address: u64, value: u32) -> bool {
    let word = word(shared, address);
    if word == Some(value) {
        shared.waits.set(address);
    }
    word.is_some_and(|word| word != value)
}

/// Whether a wake of a private futex wakes nobody, or waiters of whom enough is known.
fn may_wake(shared: &Shared, args: &[u64; 6]) -> bool {
    let [address, _, _, _, _, bitset] = *args;
    let bucket = waiters(address);
    let known =
        bucket.first != 0 && bucket.address == address && u64::from(bucket.space) == shared.space.get();
    let decides = shared.decides.load(Relaxed) != 0 && hand_over::has_room(shared);
    bucket.tasks == 0 || known && decides && (command(args) == 1 || bitset as u32 != 0)
}

/// Makes a wake that [`may_wake`] allows. Returns how many tasks it wakes. The recorder learns of it at the next stop.
fn wake(shared: &Shared, args: &[u64; 6]) -> i64 {
    let [address, _, count, ..] = *args;
    let bucket = waiters(address);
    if bucket.tasks == 0 {
        return 0;
    }
    // As in the kernel, a count of 0 wakes one waiter.
    let count = if count as u32 == 0 { 1 } else { count as u32 };
    let woken = if count < bucket.tasks { count } else { bucket.tasks };
    hand_over::set_deciding(shared, true);
    hand_over::wake(shared, bucket, woken);
    let left = hand_over::left(shared);
    hand_over::note(shared, Note { address, count, left, ..Note::default() });
    hand_over::set_deciding(shared, false);
    woken.into()
}

/// Whether an mmap(2) asks for private zeroed memory at any address.
fn is_plain_map(args: &[u64; 6]) -> bool {
    const PRIVATE: u64 = 0x02;
    const ANONYMOUS: u64 = 0x20;
    /// Flags without relevant effect: MAP_NORESERVE, MAP_STACK, MAP_POPULATE, MAP_DENYWRITE.
    const HARMLESS: u64 = 0x4000 | 0x2_0000 | 0x8000 | 0x800;
    args[0] == 0 && args[3] & !HARMLESS == PRIVATE | ANONYMOUS
}

/// Returns the running process's descriptor table.
fn table(shared: &Shared) -> Option<&'static mut [u8; DESCRIPTORS_LEN]> {
    let at =
        core::ptr::with_exposed_provenance_mut::<[u8; DESCRIPTORS_LEN]>(shared.descriptors.get() as usize);
    // SAFETY: if the recorder has set an address, it has mapped a table there, and does not use it while the program
    // runs.
    unsafe { at.as_mut() }
}

/// Returns what a descriptor refers to: a [`Descriptor`].
fn descriptor(shared: &Shared, fd: u64) -> u8 {
    // The kernel uses the low half.
    let fd = fd as u32 as usize;
    table(shared).and_then(|table| table.get(fd).copied()).unwrap_or(Descriptor::Unknown as u8)
}

fn set_descriptor(shared: &Shared, fd: u64, kind: Descriptor) {
    if let Some(known) = table(shared).and_then(|table| table.get_mut(fd as u32 as usize)) {
        *known = kind as u8;
    }
}

/// Notes that the descriptor that a call has made, if any, refers to the same file as `fd`.
fn copy_descriptor(shared: &Shared, fd: u64, made: i64) {
    if made >= 0 {
        let kind = descriptor(shared, fd);
        if let Some(known) = table(shared).and_then(|table| table.get_mut(made as u32 as usize)) {
            *known = kind;
        }
    }
}

/// Logs what the program writes to an output stream. It is written nowhere else.
fn put_out(shared: &Shared, frame: &mut Frame, stream: u8) -> bool {
    let len = frame.rdx;
    let (_, payload) = entry(shared.cursor.get());
    if !copy(shared, frame.rsi, payload, len as usize) || !tick(shared) {
        return false;
    }
    append(shared, frame, frame.rax as u16 + u16::from(stream) * Entry::STREAM, len as usize, len as i64);
    true
}

/// Completes the log entry, whose payload is in place, and the call.
pub(super) fn append(shared: &Shared, frame: &mut Frame, number: u16, payload: usize, result: i64) {
    let (at, _) = entry(shared.cursor.get());
    let check = if number < Entry::STREAM { frame.check(result) } else { frame.check_arguments() };
    // SAFETY: has_room() has made sure that there is room. Entries start at multiples of 8.
    unsafe { *at = Entry { payload: payload as u32, number, check, result } };
    shared.cursor.set(shared.cursor.get() + Entry::size(payload) as u64);
    frame.rax = result as u64;
}
