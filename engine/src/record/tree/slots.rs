//! Slots in the shared area's scratch memory.

use crate::tracee::Area;

/// The slots in use. Each living task has one.
#[derive(Debug, Default)]
pub(in crate::record) struct Slots {
    /// Slots to be used again.
    free: Vec<u32>,
    /// Number of slots that have ever been in use.
    used: u32,
}

impl Slots {
    /// Returns the address of a free slot; `None` if too many tasks live.
    pub(in crate::record) fn take(&mut self) -> Option<u64> {
        let slot = self.free.pop().unwrap_or(self.used);
        let address = Area::scratch(slot);
        match address {
            Some(_) => self.used = self.used.max(slot + 1),
            None => self.free.push(slot),
        }
        address
    }

    /// Frees the slot at `address`.
    pub(in crate::record) fn give_back(&mut self, address: u64) {
        self.free.extend((0..self.used).find(|slot| Area::scratch(*slot) == Some(address)));
    }
}

/// Offsets in a task's scratch memory.
pub(in crate::record) mod scratch {
    pub(crate) const ZERO: u64 = 0;
    pub(crate) const TIMEOUT: u64 = 16;
    pub(crate) const FDS: u64 = 32;
    /// Number of descriptors for which there is room.
    pub(crate) const MOST: u64 = 8000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_used_again() {
        let mut slots = Slots::default();
        let (one, two) = (slots.take().unwrap(), slots.take().unwrap());
        assert_ne!(one, two);
        slots.give_back(one);
        assert_eq!(slots.take(), Some(one));
        let mut last = None;
        while let Some(address) = slots.take() {
            last = Some(address);
        }
        assert_eq!(slots.take(), None);
        slots.give_back(last.unwrap());
        assert_eq!(slots.take(), last);
    }
}
