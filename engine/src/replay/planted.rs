//! Traps in the program's code: where the running task is to stop, as long as it runs.
//!
//! There are as many as are asked for, which the debug registers have no room for. They are there only while a task
//! runs, so that whoever reads or copies the program's memory, checks it or replaces code finds what belongs there.

use crate::tracee::Memory;

/// `int3` (Intel SDM, volume 2).
const TRAP: u8 = 0xcc;

/// What stands in a process's code, and what stood there.
#[derive(Debug, Default)]
pub(super) struct Planted {
    /// Where something was to stand.
    places: Vec<u64>,
    /// Where it does, and the byte in whose place.
    there: Vec<(u64, u8)>,
}

impl Planted {
    /// Has a task with this memory stop at these places. One that is not mapped is none that it comes to.
    pub(super) fn plant(memory: &Memory, places: Vec<u64>) -> Self {
        let mut there = Vec::new();
        for &place in &places {
            let mut old = [0];
            // A trap of the program's own, or one that stands for an instruction, traps as well.
            if memory.read(place, &mut old).is_ok() && old != [TRAP] && memory.write(place, &[TRAP]).is_ok() {
                there.push((place, old[0]));
            }
        }
        Self { places, there }
    }

    /// Takes all of them out. Where something else stands by now, that stays.
    pub(super) fn take_out(&mut self, memory: &Memory) {
        // In reverse, for a place that was named twice.
        for (place, old) in self.there.drain(..).rev() {
            let mut now = [0];
            if memory.read(place, &mut now).is_ok() && now == [TRAP] {
                // What could be written a moment ago can be written now, unless the process is gone.
                let _ = memory.write(place, &[old]);
            }
        }
    }

    /// Returns the place at which a task stopped that has come by a trap to this address.
    pub(super) fn stopped_at(&self, ip: u64) -> Option<u64> {
        let place = ip.wrapping_sub(1);
        self.places.contains(&place).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::Pid;

    use super::*;

    #[test]
    fn traps_stand_where_something_is_mapped_and_leave_no_trace() {
        let memory = Memory::open(Pid::this()).expect("this process's memory");
        let code = vec![0x90, TRAP, 0x90, 0x90];
        let at = code.as_ptr() as u64;
        let now = || memory.bytes(at, 4).expect("memory");
        let mut planted = Planted::plant(&memory, vec![at, at + 1, at + 2, at + 2, 8]);
        assert_eq!(now(), [TRAP, TRAP, TRAP, 0x90]);
        assert_eq!(
            [1, 2, 3, 4].map(|n| planted.stopped_at(at + n)),
            [0, 1, 2, 9].map(|n| (n < 9).then_some(at + n))
        );
        memory.write(at, &[0x77]).expect("a write");
        planted.take_out(&memory);
        assert_eq!(now(), [0x77, TRAP, 0x90, 0x90], "what was written in between stays");
        drop(code);
    }
}
