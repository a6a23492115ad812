//! The system calls: one table, read by record and replay alike.
//!
//! A call is described once: whether the kernel does it, what it writes to memory, whether it may block, and what
//! replay makes of it. A call that is not described cannot be recorded.

mod clone;
mod describe;
mod futex;
mod gather;
mod ioctl;
mod table;

pub use clone::{CloneCall, NAMESPACES};
pub use describe::{Block, Class, Description, Emulation, Out, Performance};
pub use futex::{FutexCall, FutexTimeout};
pub use gather::gathered;
pub use ioctl::ioctl_output;
pub use table::TABLE;

/// The description of the call of this number, if there is one.
#[must_use]
pub fn describe(number: u64) -> Option<&'static Description> {
    static BY_NUMBER: std::sync::LazyLock<Vec<Option<&'static Description>>> =
        std::sync::LazyLock::new(|| {
            let last = TABLE.iter().map(|d| d.number).max().unwrap_or_default();
            let mut by_number = vec![None; last as usize + 1];
            for description in TABLE {
                by_number[description.number as usize] = Some(description);
            }
            by_number
        });
    BY_NUMBER.get(usize::try_from(number).ok()?).copied().flatten()
}

/// Whether a call is a tick: other tasks may see its effect. So may those of a call that is not described.
#[must_use]
pub fn ticks(number: u64) -> bool {
    !describe(number).is_some_and(|description| description.own)
}

/// The name of a call, whether described or not.
#[must_use]
pub fn name(number: u64) -> String {
    match describe(number) {
        Some(description) => description.name().to_owned(),
        None => table::undescribed(number).map_or_else(|| format!("system call {number}"), str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique() {
        let mut numbers: Vec<_> = TABLE.iter().map(|d| d.number).collect();
        numbers.sort_unstable();
        let all = numbers.len();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }

    #[test]
    fn calls_are_found_by_number() {
        assert_eq!(describe(0).map(Description::name), Some("read"));
        assert_eq!(describe(u64::MAX).map(Description::name), None);
        assert_eq!(name(libc::SYS_execve as u64), "execve");
        assert_eq!(name(100_000), "system call 100000");
    }
}
