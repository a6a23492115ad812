//! Calls when replaying.

use super::{Frame, Made, copy, entry, hand_over, kernel, path_len, tick, words, written};
use crate::calls::{self, Buffering};
use crate::layout::{Entry, Shared};

/// Takes the outcome of a call from the log, if it was made without a stop.
pub(super) fn call(shared: &Shared, frame: &mut Frame) -> Made {
    if shared.cursor.get() >= shared.end.get() {
        return Made::No;
    }
    let (at, payload) = entry(shared.cursor.get());
    // SAFETY: the replayer has put entries there, up to the end.
    let Entry { payload: len, number, check, result } = unsafe { *at };
    let stream = number / Entry::STREAM;
    if u64::from(number % Entry::STREAM) != frame.rax || stream != 0 && check != frame.check_arguments() {
        // The replayer notices the entries that are left.
        return Made::No;
    }
    let (number, args) = (frame.rax, frame.args());
    let call = calls::call(number);
    // The program must write what it wrote when recorded. The replayer notices and reports what differs.
    if stream != 0 && stream != Entry::HANDS_OVER && !same(frame.rsi, payload, frame.rdx, len as usize)
        || stream == 0 && check != frame.check(result)
        || call.way == Buffering::Open && !opens(args[1], payload, len as usize)
    {
        return Made::No;
    }
    if call.ticks() && !tick(shared) {
        return Made::No;
    }
    if stream == Entry::HANDS_OVER {
        if !hand_over::again(shared, payload, len as usize) {
            return Made::No;
        }
        shared.cursor.set(shared.cursor.get() + Entry::size(len as usize) as u64);
        return Made::Waits;
    }
    match call.way {
        Buffering::Repeat | Buffering::Advise => {
            kernel(number, args);
        }
        Buffering::Map if result >= 0 => {
            const FIXED: u64 = 0x10;
            kernel(number, [result as u64, args[1], args[2], args[3] | FIXED, args[4], args[5]]);
        }
        // Nothing was written to memory: the log has what the program gave.
        _ if stream != 0 => {}
        Buffering::Open => {}
        _ => {
            copy(shared, payload, written(call.out, &args, result).0, len as usize);
        }
    }
    shared.cursor.set(shared.cursor.get() + Entry::size(len as usize) as u64);
    frame.rax = result as u64;
    Made::Yes
}

/// Whether the program's memory has the same contents as the log. All that the program wrote was readable when
/// recorded.
fn same(program: u64, log: u64, len: u64, logged: usize) -> bool {
    len == logged as u64 && words(program, logged).zip(words(log, logged)).all(|(a, b)| a == b)
}

/// Whether the program opens the path that the log has behind the directory's descriptor, which the check covers.
fn opens(path: u64, log: u64, logged: usize) -> bool {
    const WORD: usize = size_of::<u64>();
    logged == WORD + path_len(path) && same(path, log + WORD as u64, (logged - WORD) as u64, logged - WORD)
}
