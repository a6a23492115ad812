//! Calls while replaying.

use super::{Frame, Made, copy, entry, hand_over, kernel, tick, written};
use crate::calls::{self, Way};
use crate::layout::{Entry, Shared};

/// Take the outcome of a call from the log, if it has been made without a stop.
pub(super) fn call(shared: &mut Shared, frame: &mut Frame) -> Made {
    if shared.cursor >= shared.end {
        return Made::No;
    }
    let (at, payload) = entry(shared.cursor);
    // SAFETY: the replayer has put entries there, up to the end.
    let Entry { payload: len, number, check, result } = unsafe { *at };
    let stream = number / Entry::STREAM;
    if u64::from(number % Entry::STREAM) != frame.rax || check != frame.check() {
        // The replayer sees that entries are left, and which.
        return Made::No;
    }
    let (number, args) = (frame.rax, frame.args());
    let call = calls::call(number);
    if call.ticks() && !tick(shared) {
        return Made::No;
    }
    if stream == Entry::HANDS_OVER {
        if !hand_over::again(shared, payload, len as usize) {
            return Made::No;
        }
        shared.cursor += Entry::size(len as usize) as u64;
        return Made::Waits;
    }
    match call.way {
        Way::Repeat | Way::Advise => {
            kernel(number, args);
        }
        Way::Map if result >= 0 => {
            const FIXED: u64 = 0x10;
            kernel(number, [result as u64, args[1], args[2], args[3] | FIXED, args[4], args[5]]);
        }
        _ if stream != 0 => {}
        _ => {
            copy(shared, payload, written(call.out, &args, result).0, len as usize);
        }
    }
    shared.cursor += Entry::size(len as usize) as u64;
    frame.rax = result as u64;
    Made::Yes
}
