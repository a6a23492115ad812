//! futex(2) calls, decoded.

use libc::c_int;

/// What a futex call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FutexCall {
    /// Wait while the word has this value.
    Wait {
        /// The value.
        value: u32,
        /// Which wakes count.
        bitset: u32,
        /// How long.
        timeout: FutexTimeout,
    },
    /// Wake waiters.
    Wake {
        /// At most so many.
        count: u32,
        /// Of those whose bitset meets this one.
        bitset: u32,
    },
    /// Wake some waiters and have others wait on a second word.
    Requeue {
        /// Wake at most so many.
        wake: u32,
        /// Requeue at most so many.
        requeue: u32,
        /// The second word's address.
        to: u64,
        /// Only if the word has this value.
        value: Option<u32>,
    },
    /// Change a second word, wake waiters of the first, and of the second if its old value compares.
    WakeOp {
        /// Wake at most so many on the first.
        wake: u32,
        /// Wake at most so many on the second.
        wake_second: u32,
        /// The second word's address.
        second: u64,
        /// The encoded operation and comparison.
        operation: u32,
    },
}

/// The time limit of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FutexTimeout {
    /// None.
    Never,
    /// A timespec at this address, counted from now.
    After(u64),
    /// A timespec at this address, a point in time of CLOCK_MONOTONIC.
    AtMonotonic(u64),
    /// A timespec at this address, a point in time of CLOCK_REALTIME.
    AtRealtime(u64),
}

impl FutexCall {
    /// Decode the arguments of futex(2); none for an operation that is not described.
    #[must_use]
    pub fn decode(args: &[u64; 6]) -> Option<Self> {
        let [_, op, value, timeout, second, third] = *args;
        let op = op as c_int;
        let (value, third) = (value as u32, third as u32);
        let deadline = |absolute: FutexTimeout| if timeout == 0 { FutexTimeout::Never } else { absolute };
        Some(match op & libc::FUTEX_CMD_MASK {
            libc::FUTEX_WAIT => {
                Self::Wait { value, bitset: u32::MAX, timeout: deadline(FutexTimeout::After(timeout)) }
            }
            libc::FUTEX_WAIT_BITSET => Self::Wait {
                value,
                bitset: third,
                timeout: deadline(if op & libc::FUTEX_CLOCK_REALTIME == 0 {
                    FutexTimeout::AtMonotonic(timeout)
                } else {
                    FutexTimeout::AtRealtime(timeout)
                }),
            },
            libc::FUTEX_WAKE => Self::Wake { count: value, bitset: u32::MAX },
            libc::FUTEX_WAKE_BITSET => Self::Wake { count: value, bitset: third },
            libc::FUTEX_REQUEUE => {
                Self::Requeue { wake: value, requeue: timeout as u32, to: second, value: None }
            }
            libc::FUTEX_CMP_REQUEUE => {
                Self::Requeue { wake: value, requeue: timeout as u32, to: second, value: Some(third) }
            }
            libc::FUTEX_WAKE_OP => {
                Self::WakeOp { wake: value, wake_second: timeout as u32, second, operation: third }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_clock_flags_are_seen() {
        let op = (libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) as u64;
        assert_eq!(
            FutexCall::decode(&[8, op, 3, 64, 0, 5]),
            Some(FutexCall::Wait { value: 3, bitset: 5, timeout: FutexTimeout::AtRealtime(64) })
        );
        assert_eq!(FutexCall::decode(&[8, libc::FUTEX_LOCK_PI as u64, 0, 0, 0, 0]), None);
    }
}
