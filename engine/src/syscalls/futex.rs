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

/// A decoded futex call on a priority-inheritance lock (futex(2), "Priority-inheritance futexes").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PiCall {
    /// Takes the lock, or waits for it.
    Lock {
        /// Time limit.
        timeout: FutexTimeout,
    },
    /// Takes the lock if nobody has it.
    TryLock,
    /// Hands the lock to the first waiter.
    Unlock,
    /// Waits while the word has this value, then for the lock.
    WaitRequeue {
        /// The value.
        value: u32,
        /// Time limit.
        timeout: FutexTimeout,
        /// The lock's address.
        lock: u64,
    },
    /// Hands the lock to one of the waiters at the word, and lets others wait for it.
    Requeue {
        /// At most this many wait for it.
        requeue: u32,
        /// The lock's address.
        lock: u64,
        /// Only if the word has this value.
        value: u32,
    },
}

impl PiCall {
    /// Decodes the arguments of futex(2); `None` for other operations.
    #[must_use]
    pub fn decode(args: &[u64; 6]) -> Option<Self> {
        let [_, op, value, timeout, lock, third] = *args;
        let op = op as c_int;
        let at = |realtime: bool| match (timeout, realtime) {
            (0, _) => FutexTimeout::Never,
            (at, true) => FutexTimeout::AtRealtime(at),
            (at, false) => FutexTimeout::AtMonotonic(at),
        };
        let realtime = op & libc::FUTEX_CLOCK_REALTIME != 0;
        Some(match op & libc::FUTEX_CMD_MASK {
            // This operation has always used that clock.
            libc::FUTEX_LOCK_PI => Self::Lock { timeout: at(true) },
            libc::FUTEX_LOCK_PI2 => Self::Lock { timeout: at(realtime) },
            libc::FUTEX_TRYLOCK_PI => Self::TryLock,
            libc::FUTEX_UNLOCK_PI => Self::Unlock,
            libc::FUTEX_WAIT_REQUEUE_PI => {
                Self::WaitRequeue { value: value as u32, timeout: at(realtime), lock }
            }
            libc::FUTEX_CMP_REQUEUE_PI => {
                Self::Requeue { requeue: timeout as u32, lock, value: third as u32 }
            }
            _ => return None,
        })
    }
}

/// A word on which futex_waitv(2) waits (linux/futex.h, `struct futex_waitv`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Waits while the word has this value.
    pub value: u32,
    /// Its address.
    pub address: u64,
    /// Whether it is private to the process (`FUTEX2_PRIVATE`).
    pub private: bool,
}

impl Waiter {
    /// Size of an element of the array.
    pub const SIZE: usize = 24;

    /// Decodes an element; `None` if its size or flags are not those of a 32-bit futex (`EINVAL`).
    #[must_use]
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        /// `FUTEX2_SIZE_U32`
        const SIZE_U32: u32 = 2;
        /// `FUTEX2_PRIVATE`
        const PRIVATE: u32 = 128;
        let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        let long = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        let flags = word(16);
        let valid = flags & !PRIVATE == SIZE_U32 && word(20) == 0;
        valid.then(|| Self { value: long(0) as u32, address: long(8), private: flags & PRIVATE != 0 })
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
        assert_eq!(FutexCall::decode(&[8, 99, 0, 0, 0, 0]), None);
        let wait = (libc::FUTEX_WAIT | libc::FUTEX_CLOCK_REALTIME) as u64;
        assert_eq!(FutexCall::decode(&[8, wait, 0, 0, 0, 0]), None);
    }

    #[test]
    fn locks_with_priority_inheritance() {
        let op = |op: c_int| (op | libc::FUTEX_PRIVATE_FLAG) as u64;
        assert_eq!(
            PiCall::decode(&[8, op(libc::FUTEX_LOCK_PI), 0, 64, 0, 0]),
            Some(PiCall::Lock { timeout: FutexTimeout::AtRealtime(64) })
        );
        assert_eq!(
            PiCall::decode(&[8, op(libc::FUTEX_LOCK_PI2), 0, 64, 0, 0]),
            Some(PiCall::Lock { timeout: FutexTimeout::AtMonotonic(64) })
        );
        assert_eq!(
            PiCall::decode(&[8, op(libc::FUTEX_CMP_REQUEUE_PI), 1, 7, 16, 3]),
            Some(PiCall::Requeue { requeue: 7, lock: 16, value: 3 })
        );
        assert_eq!(PiCall::decode(&[8, op(libc::FUTEX_WAIT), 0, 0, 0, 0]), None);
    }

    #[test]
    fn waiters_are_32_bits_wide() {
        let mut bytes = [0; Waiter::SIZE];
        (bytes[0], bytes[8], bytes[16]) = (5, 64, 2 | 128);
        assert_eq!(Waiter::decode(&bytes), Some(Waiter { value: 5, address: 64, private: true }));
        bytes[16] = 3;
        assert_eq!(Waiter::decode(&bytes), None);
    }
}
