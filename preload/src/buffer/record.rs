//! Calls while recording.

use core::mem::MaybeUninit;

use super::hand_over::{self, waiters};
use super::{Frame, Made, copy, entry, is_ours, is_writable, kernel, look, tick, word, written};
use crate::calls::{self, Call, KERNEL, Out, Way};
use crate::layout::{DESCRIPTORS_LEN, Descriptor, Entry, LOG_LEN, Note, Shared};

/// Make a call and log it, if it is one that can be made without a stop.
pub(super) fn call(shared: &mut Shared, frame: &mut Frame) -> Made {
    let (number, args) = (frame.rax, frame.args());
    let call = calls::call(number);
    if call.way == Way::Futex && hand_over::wait(shared, frame) {
        return Made::Waits;
    }
    if !has_room(shared, call, &args) || !may(shared, number, call, &args) {
        return Made::No;
    }
    if call.way == Way::Write {
        let stream = descriptor(shared, args[0]);
        if stream == Descriptor::Stdout as u8 || stream == Descriptor::Stderr as u8 {
            return Made::if_so(put_out(shared, frame, stream));
        }
    }
    if meets(shared, call, &args) || call.ticks() && !tick(shared) {
        return Made::No;
    }
    let result = match call.way {
        Way::Clock if shared.ahead != 0 => match read_clock(shared, args) {
            Some(result) => result,
            None => return Made::No,
        },
        Way::Time => match tell_time(shared, number, args) {
            Some(result) => result,
            None => return Made::No,
        },
        Way::Futex if is_wake(&args) => wake(shared, &args),
        Way::Futex => -EAGAIN,
        Way::RobustList => {
            shared.robust_list = args[0];
            0
        }
        Way::Affinity => {
            let known = (&raw const shared.affinity).expose_provenance() as u64;
            if !copy(shared, known, args[2], SET) {
                return Made::No;
            }
            SET as i64
        }
        _ => kernel(number, args),
    };
    if call.way == Way::Advise && result < 0 {
        // How far it has got, the recorder must see: it is made once more, which changes nothing.
        return Made::No;
    }
    match call.way {
        Way::Close => set_descriptor(shared, args[0], Descriptor::Unknown),
        // Another descriptor of the same.
        Way::Copy => copy_descriptor(shared, args[0], result),
        Way::Flags if matches!(args[1] as u32, DUPFD | DUPFD_CLOEXEC) => {
            copy_descriptor(shared, args[0], result)
        }
        // It cannot be written through it, so it does not matter whether it is mapped.
        Way::Open if result >= 0 => set_descriptor(shared, result as u64, Descriptor::Ready),
        _ => {}
    }
    let (address, len) = written(call.out, &args, result);
    let (_, payload) = entry(shared.cursor);
    let len = if result < 0 {
        copy_writable(shared, address, payload, len)
    } else {
        copy(shared, address, payload, len);
        len
    };
    append(shared, frame, frame.rax as u16, len, result);
    Made::Yes
}

/// Copy memory of the program's into the log up to where it cannot be written: the kernel has come no further. How much that
/// is.
fn copy_writable(shared: &mut Shared, from: u64, to: u64, len: usize) -> usize {
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

/// Whether a watched task is to stop in front of this call. At the end of its timeslice it does so anyway.
fn meets(shared: &mut Shared, call: &Call, args: &[u64; 6]) -> bool {
    let is_file = || descriptor(shared, args[0]) == Descriptor::Ready as u8;
    let meets = shared.watch.on != 0
        && shared.left > 1
        && call.touches(args, is_file).is_some_and(|kind| look(shared, KERNEL, kind as u64));
    shared.met = meets.into();
    meets
}

/// F_DUPFD and F_DUPFD_CLOEXEC (linux/fcntl.h).
const DUPFD: u32 = 0;
const DUPFD_CLOEXEC: u32 = 1030;

/// Whether the log has room for all that a call can write.
fn has_room(shared: &Shared, call: &Call, args: &[u64; 6]) -> bool {
    let payload = match (call.way, call.out) {
        (Way::Stop, _) => return false,
        (Way::Write, _) => args[2],
        (_, Out::Nothing) => 0,
        (_, Out::Fixed(_, len)) => len.into(),
        // The length is the argument behind the address.
        (_, Out::Returned(at)) => args.get(usize::from(at) + 1).copied().unwrap_or(u64::MAX),
    };
    let left = LOG_LEN as u64 - shared.cursor;
    payload < left && Entry::size(payload as usize) as u64 <= left
}

/// Whether a call can be made without a stop.
fn may(shared: &mut Shared, number: u64, call: &Call, args: &[u64; 6]) -> bool {
    /// The clocks that are the same for all processes (linux/time.h): CLOCK_REALTIME, CLOCK_MONOTONIC, their raw and
    /// coarse kinds, CLOCK_BOOTTIME, CLOCK_TAI.
    const CLOCKS: u64 = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 11;
    let kind = descriptor(shared, args[0]);
    let is_file = kind == Descriptor::Ready as u8;
    if shared.stale != 0 && is_file && matches!(call.way, Way::File | Way::Write | Way::Read) {
        return false;
    }
    match call.way {
        Way::Stop => false,
        Way::Always | Way::Copy => true,
        Way::Times => shared.ahead == 0,
        // Where there is no descriptor of that number, the call says so.
        Way::File | Way::Write | Way::Read | Way::Close
            if kind == Descriptor::Unknown as u8 && is_none(args[0]) =>
        {
            true
        }
        Way::File => is_file,
        Way::Write => is_file || kind == Descriptor::Stdout as u8 || kind == Descriptor::Stderr as u8,
        Way::Read => {
            is_file || kind == Descriptor::Waitable as u8 && shared.quiet != 0 && is_readable(args[0])
        }
        Way::Close => shared.quiet != 0 && is_file,
        Way::Time => (args[1] == 0 || number == TIME) && !is_to_stop(shared),
        Way::Limits => args[2] == 0,
        // F_GETFD, F_SETFD, F_GETFL.
        Way::Flags => matches!(args[1] as u32, 1..=3 | DUPFD | DUPFD_CLOEXEC),
        Way::Clock => args[0] < 64 && CLOCKS >> args[0] & 1 == 1 && !is_to_stop(shared),
        Way::Futex => futex(shared, args),
        Way::RobustList => args[1] == ROBUST_LIST_HEAD,
        Way::Affinity => {
            let own = args[0] as u32 == 0 || u64::from(args[0] as u32) == shared.tid;
            own && args[1] != 0 && args[1].is_multiple_of(SET as u64) && !is_ours(args[2], SET as u64)
        }
        Way::Repeat => !is_ours(args[0], args[1]),
        Way::Advise => !is_ours(args[0], args[1]) && args[2] as u32 == DONTNEED,
        Way::Open => opens_file(args),
        Way::Mask => shared.masked == 0 && args[3] == 8 && !signals_wait(),
        Way::Map => is_plain_map(args),
    }
}

/// The number of time(2).
const TIME: u64 = 201;

/// Whether a read of a clock is the one that is to stop.
fn is_to_stop(shared: &mut Shared) -> bool {
    if shared.reads > 1 {
        shared.reads -= 1;
        return false;
    }
    shared.reads == 1
}

/// What a clock shows, in seconds and nanoseconds.
fn clock(shared: &Shared, clock: u64) -> Result<[u64; 2], i64> {
    const CLOCK_GETTIME: u64 = 228;
    const SECOND: u64 = 1_000_000_000;
    let mut time = [0_u64; 2];
    let at = (&raw mut time).expose_provenance() as u64;
    let result = kernel(CLOCK_GETTIME, [clock, at, 0, 0, 0, 0]);
    if result != 0 {
        return Err(result);
    }
    let [seconds, nanoseconds] = time;
    let sum = nanoseconds + shared.ahead % SECOND;
    Ok([seconds + shared.ahead / SECOND + sum / SECOND, sum % SECOND])
}

/// Read a clock that is ahead of the machine's: the result, none if there is no memory for the time.
fn read_clock(shared: &mut Shared, args: [u64; 6]) -> Option<i64> {
    match clock(shared, args[0]) {
        Err(result) => Some(result),
        Ok(time) => {
            let at = (&raw const time).expose_provenance() as u64;
            copy(shared, at, args[1], size_of_val(&time)).then_some(0)
        }
    }
}

/// Tell the time as time(2) and gettimeofday(2) do: the result, none if there is no memory for it.
fn tell_time(shared: &mut Shared, number: u64, args: [u64; 6]) -> Option<i64> {
    const REALTIME: u64 = 0;
    let [seconds, nanoseconds] = clock(shared, REALTIME).ok()?;
    let time = [seconds, nanoseconds / 1000];
    let (len, result) = if number == TIME { (8, seconds as i64) } else { (16, 0) };
    let at = (&raw const time).expose_provenance() as u64;
    (args[0] == 0 || copy(shared, at, args[0], len)).then_some(result)
}

/// Bytes of the kernel's set of cores, of which there are 64 at most.
const SET: usize = 8;

/// `sizeof(struct robust_list_head)` (linux/futex.h).
const ROBUST_LIST_HEAD: u64 = 24;

/// MADV_DONTNEED (madvise(2)).
const DONTNEED: u32 = 4;

/// Whether an openat(2) opens a regular file, or one of nothing or zeros, for reading, which does not wait, or none, as there is no file.
fn opens_file(args: &[u64; 6]) -> bool {
    const NEWFSTATAT: u64 = 262;
    /// What is asked for beside O_CLOEXEC, O_LARGEFILE, O_NOCTTY, O_NONBLOCK and O_NOFOLLOW.
    const HARMLESS: u64 = 0x80000 | 0x8000 | 0x100 | 0x800 | 0x20000;
    const NOFOLLOW: u64 = 0x20000;
    const SYMLINK_NOFOLLOW: u64 = 0x100;
    /// A struct stat (stat(2)), and where its st_mode and st_size are.
    const STAT: usize = 144 / 8;
    const MODE: usize = 24 / 8;
    const SIZE: usize = 48 / 8;
    const TYPE: u64 = 0o170_000;
    const REGULAR: u64 = 0o100_000;
    const CHARACTERS: u64 = 0o020_000;
    /// Where its st_rdev is, and the major number of `/dev/null` and the like, which never block either (null(4)).
    const DEVICE: usize = 40 / 8;
    const MEMORY: u64 = 1;
    const NOT_FOUND: i64 = -2;
    if args[2] & 0xffff_ffff & !HARMLESS != 0 {
        return false;
    }
    let flags = if args[2] & NOFOLLOW != 0 { SYMLINK_NOFOLLOW } else { 0 };
    // Zeros would be a call of memset.
    let mut stat = MaybeUninit::<[u64; STAT]>::uninit();
    let at = stat.as_mut_ptr().expose_provenance() as u64;
    match kernel(NEWFSTATAT, [args[0], args[1], at, flags, 0, 0]) {
        0 => {}
        result => return result == NOT_FOUND,
    }
    // SAFETY: the kernel has filled it.
    let stat = unsafe { stat.assume_init_ref() };
    // A file that has no size, on no device, may be one of /proc.
    let may_be_of_proc = stat[SIZE] == 0 && stat[0] >> 8 & 0xfff == 0;
    match stat[MODE] & TYPE {
        REGULAR => !(may_be_of_proc && is_recorders(args[1])),
        CHARACTERS => stat[DEVICE] >> 8 == MEMORY,
        _ => false,
    }
}

/// Whether a path ends with the name of a file of /proc that is the recorder's to look at: it tells of how a process is run, or of the
/// time, or is a process's memory. The kernel has just read the path.
fn is_recorders(path: u64) -> bool {
    const LONGEST: usize = 4096;
    const NAMES: [u64; 5] =
        [hash(b"status"), hash(b"stat"), hash(b"personality"), hash(b"uptime"), hash(b"mem")];
    let path = core::ptr::with_exposed_provenance::<u8>(path as usize);
    let mut name = HASH_OF_NOTHING;
    let mut at = 0;
    while at < LONGEST {
        // SAFETY: the bytes in front of it are of the path, and not its end. Volatile, as this is not to become a call of strlen.
        name = match unsafe { path.add(at).read_volatile() } {
            0 => break,
            b'/' => HASH_OF_NOTHING,
            byte => hashed(name, byte),
        };
        at += 1;
    }
    name == NAMES[0] || name == NAMES[1] || name == NAMES[2] || name == NAMES[3] || name == NAMES[4]
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

/// Whether a signal waits to be unblocked.
fn signals_wait() -> bool {
    const RT_SIGPENDING: u64 = 127;
    let mut set = 0_u64;
    kernel(RT_SIGPENDING, [(&raw mut set).expose_provenance() as u64, 8, 0, 0, 0, 0]) != 0 || set != 0
}

/// Whether there is no descriptor of this number.
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
    // A struct pollfd (poll(2)) in a word: the descriptor, and what it is asked.
    let mut asked: u64 = fd & 0xffff_ffff | POLLIN << 32;
    let ready = kernel(POLL, [(&raw mut asked).expose_provenance() as u64, 1, 0, 0, 0, 0]);
    ready == 1 && asked >> 48 & POLLIN != 0
}

const EAGAIN: i64 = 11;

/// The command of futex(2), without its flags.
pub(super) fn command(args: &[u64; 6]) -> u64 {
    const PRIVATE: u64 = 128;
    const WAIT_BITSET: u64 = 9;
    const CLOCK_REALTIME: u64 = 256;
    match args[1] & 0xffff_ffff & !PRIVATE {
        // The only one here that takes a clock: with others it is none.
        operation if operation == WAIT_BITSET | CLOCK_REALTIME => WAIT_BITSET,
        operation => operation,
    }
}

fn is_wake(args: &[u64; 6]) -> bool {
    // FUTEX_WAKE, FUTEX_WAKE_BITSET
    matches!(command(args), 1 | 10)
}

/// Whether a futex call needs no stop: nobody is there to be woken, or who wakes them goes on anyway, or the word has
/// another value already than the one to wait for.
fn futex(shared: &mut Shared, args: &[u64; 6]) -> bool {
    const PRIVATE: u64 = 128;
    let [address, _, value, ..] = *args;
    if address % 4 != 0 {
        return false;
    }
    match command(args) {
        // Those that processes share go by other numbers.
        1 | 10 => args[1] & PRIVATE != 0 && may_wake(shared, args),
        // FUTEX_WAIT, and FUTEX_WAIT_BITSET with a set that is not empty. A time limit that is wrong is the recorder's to tell.
        0 if args[3] == 0 => differs(shared, address, value as u32),
        9 if args[3] == 0 && args[5] as u32 != 0 => differs(shared, address, value as u32),
        _ => false,
    }
}

/// Whether a word has another value than this. If it has this one, the recorder need not look again.
fn differs(shared: &mut Shared, address: u64, value: u32) -> bool {
    let word = word(shared, address);
    if word == Some(value) {
        shared.waits = address;
    }
    word.is_some_and(|word| word != value)
}

/// Whether a wake of a private futex wakes nobody, or those of whom is known what it takes.
fn may_wake(shared: &Shared, args: &[u64; 6]) -> bool {
    let [address, _, _, _, _, bitset] = *args;
    let crowd = waiters(address);
    let known = crowd.first != 0 && crowd.address == address && u64::from(crowd.space) == shared.space;
    let decides = shared.decides != 0 && hand_over::has_room(shared);
    crowd.tasks == 0 || known && decides && (command(args) == 1 || bitset as u32 != 0)
}

/// Make a wake that [`may_wake`] allows: how many it wakes. The recorder is told at the next stop.
fn wake(shared: &mut Shared, args: &[u64; 6]) -> i64 {
    let [address, _, count, ..] = *args;
    let crowd = waiters(address);
    if crowd.tasks == 0 {
        return 0;
    }
    // As in the kernel, a count of 0 wakes one waiter.
    let count = if count as u32 == 0 { 1 } else { count as u32 };
    let woken = if count < crowd.tasks { count } else { crowd.tasks };
    hand_over::set_deciding(shared, true);
    hand_over::wake(shared, crowd, woken);
    let left = hand_over::left(shared);
    hand_over::note(shared, Note { address, count, left, ..Note::default() });
    hand_over::set_deciding(shared, false);
    woken.into()
}

/// Whether a mmap(2) asks for private memory of zeros, wherever there is room.
fn is_plain_map(args: &[u64; 6]) -> bool {
    const PRIVATE: u64 = 0x02;
    const ANONYMOUS: u64 = 0x20;
    /// Flags that change nothing that matters: MAP_NORESERVE, MAP_STACK, MAP_POPULATE, MAP_DENYWRITE.
    const HARMLESS: u64 = 0x4000 | 0x2_0000 | 0x8000 | 0x800;
    args[0] == 0 && args[3] & !HARMLESS == PRIVATE | ANONYMOUS
}

/// The running process's table of descriptors.
fn table(shared: &Shared) -> Option<&'static mut [u8; DESCRIPTORS_LEN]> {
    let at = core::ptr::with_exposed_provenance_mut::<[u8; DESCRIPTORS_LEN]>(shared.descriptors as usize);
    // SAFETY: where the recorder has given an address, it has mapped a table, and does not use it while the program runs.
    unsafe { at.as_mut() }
}

/// What a descriptor stands for: a [`Descriptor`].
fn descriptor(shared: &Shared, fd: u64) -> u8 {
    // The kernel looks at the low half.
    let fd = fd as u32 as usize;
    table(shared).and_then(|table| table.get(fd).copied()).unwrap_or(Descriptor::Unknown as u8)
}

fn set_descriptor(shared: &Shared, fd: u64, kind: Descriptor) {
    if let Some(known) = table(shared).and_then(|table| table.get_mut(fd as u32 as usize)) {
        *known = kind as u8;
    }
}

/// What a call has made of a descriptor, if it has, stands for the same.
fn copy_descriptor(shared: &Shared, fd: u64, made: i64) {
    if made >= 0 {
        let kind = descriptor(shared, fd);
        if let Some(known) = table(shared).and_then(|table| table.get_mut(made as u32 as usize)) {
            *known = kind;
        }
    }
}

/// Log what the program writes to an output stream, which goes nowhere else.
fn put_out(shared: &mut Shared, frame: &mut Frame, stream: u8) -> bool {
    let len = frame.rdx;
    let (_, payload) = entry(shared.cursor);
    if !copy(shared, frame.rsi, payload, len as usize) || !tick(shared) {
        return false;
    }
    append(shared, frame, frame.rax as u16 + u16::from(stream) * Entry::STREAM, len as usize, len as i64);
    true
}

/// The payload is there: complete the entry, and the call.
pub(super) fn append(shared: &mut Shared, frame: &mut Frame, number: u16, payload: usize, result: i64) {
    let (at, _) = entry(shared.cursor);
    let check = if number < Entry::STREAM { frame.check(result) } else { frame.check_arguments() };
    // SAFETY: there is room for an entry: has_room() has seen to that. Entries start at multiples of 8.
    unsafe { *at = Entry { payload: payload as u32, number, check, result } };
    shared.cursor += Entry::size(payload) as u64;
    frame.rax = result as u64;
}
