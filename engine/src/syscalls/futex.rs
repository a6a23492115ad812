//! Decodes futex(2) calls.

use libc::c_int;

/// linux/futex.h
const FUTEX_LOCK_PI2: c_int = 13;

/// A decoded futex call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FutexCall {
    /// Waits while the word has this value.
    Wait {
        /// The value.
        value: u32,
        /// Bitset of the wakes that count.
        bitset: u32,
        /// Time limit.
        timeout: FutexTimeout,
    },
    /// Wakes waiters.
    Wake {
        /// At most this many.
        count: u32,
        /// Only those whose bitset has a bit in common with this one.
        bitset: u32,
    },
    /// Wakes some waiters and moves others to a second word.
    Requeue {
        /// Wakes at most this many.
        wake: u32,
        /// Moves at most this many.
        requeue: u32,
        /// The second word's address.
        to: u64,
        /// Only if the word has this value.
        value: Option<u32>,
    },
    /// Takes a priority-inheritance lock, whose word names the owner; waits while another task owns it.
    Lock {
        /// Time limit.
        timeout: FutexTimeout,
    },
    /// Takes a priority-inheritance lock if nobody owns it.
    TryLock,
    /// Hands a priority-inheritance lock to one of its waiters.
    Unlock,
    /// Waits for a wake and then for a priority-inheritance lock, and the wake for that (`FUTEX_WAIT_REQUEUE_PI`,
    /// `FUTEX_CMP_REQUEUE_PI`).
    RequeueLock,
    /// Changes a second word, wakes waiters on the first, and those on the second if its old value meets a condition.
    WakeOp {
        /// Wakes at most this many on the first word.
        wake: u32,
        /// Wakes at most this many on the second word.
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
    /// No limit.
    Never,
    /// A timespec at this address, relative to now.
    After(u64),
    /// A timespec at this address, a point in time of CLOCK_MONOTONIC.
    AtMonotonic(u64),
    /// A timespec at this address, a point in time of CLOCK_REALTIME.
    AtRealtime(u64),
}

impl FutexCall {
    /// Decodes the arguments of futex(2); `None` for an operation that the kernel does not know (`ENOSYS`).
    #[must_use]
    pub fn decode(args: &[u64; 6]) -> Option<Self> {
        let [_, op, value, timeout, second, third] = *args;
        let op = op as c_int;
        let (value, third) = (value as u32, third as u32);
        let deadline = |absolute: FutexTimeout| if timeout == 0 { FutexTimeout::Never } else { absolute };
        if op & libc::FUTEX_CLOCK_REALTIME != 0 && !takes_clock(op & libc::FUTEX_CMD_MASK) {
            return None;
        }
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
            libc::FUTEX_LOCK_PI => Self::Lock { timeout: deadline(FutexTimeout::AtRealtime(timeout)) },
            FUTEX_LOCK_PI2 => Self::Lock {
                timeout: deadline(if op & libc::FUTEX_CLOCK_REALTIME == 0 {
                    FutexTimeout::AtMonotonic(timeout)
                } else {
                    FutexTimeout::AtRealtime(timeout)
                }),
            },
            libc::FUTEX_TRYLOCK_PI => Self::TryLock,
            libc::FUTEX_UNLOCK_PI => Self::Unlock,
            libc::FUTEX_WAIT_REQUEUE_PI | libc::FUTEX_CMP_REQUEUE_PI => Self::RequeueLock,
            _ => return None,
        })
    }
}

/// Whether an operation may choose the clock of its time limit; others with the flag do not exist (`ENOSYS`).
fn takes_clock(operation: c_int) -> bool {
    matches!(operation, libc::FUTEX_WAIT_BITSET | libc::FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI2)
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
        assert_eq!(FutexCall::decode(&[8, 99, 0, 0, 0, 0]), None);
        let wait = (libc::FUTEX_WAIT | libc::FUTEX_CLOCK_REALTIME) as u64;
        assert_eq!(FutexCall::decode(&[8, wait, 0, 0, 0, 0]), None);
    }
}
