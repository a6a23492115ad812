//! What stood in a program's code where jumps to stubs, or traps, stand now: for who looks at it as its author wrote
//! it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::patch::STUB_LEN;
use crate::Error;
use crate::tracee::proc::Memory;

/// Code that has been replaced.
#[derive(Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Where it begins.
    pub site: u64,
    /// What stood there.
    pub old: Vec<u8>,
    /// What stands there: as many bytes.
    pub new: Vec<u8>,
    /// The stub to which that leads; 0 for none.
    pub stub: u64,
    /// Which places in the stub stand for which of the code: offset in the stub, offset from the site. In order.
    pub places: Vec<(u8, i64)>,
}

impl Replaced {
    fn place(&self, offset: u8, original: i64) -> (u64, u64) {
        (self.stub.wrapping_add(offset.into()), self.site.wrapping_add_signed(original))
    }

    fn places(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> {
        self.places.iter().map(|(offset, original)| self.place(*offset, *original))
    }
}

/// The code of an address space that has been replaced.
#[derive(Clone, Debug, Default)]
pub struct Originals {
    by_site: BTreeMap<u64, Rc<Replaced>>,
    by_stub: BTreeMap<u64, Rc<Replaced>>,
}

impl Originals {
    /// This has been replaced.
    pub fn add(&mut self, replaced: Replaced) {
        let replaced = Rc::new(replaced);
        if replaced.stub != 0 {
            self.by_stub.insert(replaced.stub, Rc::clone(&replaced));
        }
        self.by_site.insert(replaced.site, replaced);
    }

    /// `len` bytes of memory from `address` on, with what stood there in place of what replaces it.
    ///
    /// # Errors
    /// If not all of it is mapped.
    pub fn read(&self, memory: &Memory, address: u64, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = memory.bytes(address, len)?;
        self.put_back(address, &mut bytes);
        Ok(bytes)
    }

    /// Put back into bytes from `address` on what stood there. Where something else stands than what replaces it, the
    /// code is no more, and is left as it is.
    pub fn put_back(&self, address: u64, bytes: &mut [u8]) {
        let end = address.saturating_add(bytes.len() as u64);
        for replaced in self.by_site.range(..end).rev().map(|(_, it)| it).take_while(|it| {
            // None is longer than a stub.
            it.site.saturating_add(STUB_LEN as u64) > address
        }) {
            let start = replaced.site.max(address);
            let until = replaced.site.saturating_add(replaced.new.len() as u64).min(end);
            if start >= until {
                continue;
            }
            let inside = (start - replaced.site) as usize..(until - replaced.site) as usize;
            let there = &mut bytes[(start - address) as usize..(until - address) as usize];
            if let (Some(new), Some(old)) = (replaced.new.get(inside.clone()), replaced.old.get(inside))
                && there == new
            {
                there.copy_from_slice(old);
            }
        }
    }

    /// Whether something of these addresses has been replaced.
    #[must_use]
    pub fn overlap(&self, addresses: &Range<u64>) -> bool {
        let before = self.by_site.range(..addresses.end).next_back();
        before
            .is_some_and(|(site, replaced)| site.saturating_add(replaced.new.len() as u64) > addresses.start)
    }

    /// Put what stood there back into memory, for good.
    ///
    /// # Errors
    /// If the memory cannot be written.
    pub fn restore(&self, memory: &Memory) -> Result<(), Error> {
        for replaced in self.by_site.values() {
            // Where nothing is mapped any more there is no code.
            let now = memory.available(replaced.site, replaced.new.len());
            if now == replaced.new {
                memory.write(replaced.site, &replaced.old)?;
            }
        }
        Ok(())
    }

    /// Where a task that stands at this place in a stub would stand without it. None between the instructions that
    /// stand for one, and anywhere else.
    #[must_use]
    pub fn original(&self, place: u64) -> Option<u64> {
        self.stub_of(place)?.places().find(|(at, _)| *at == place).map(|(_, original)| original)
    }

    /// Where a task comes by, if anywhere, that would come to this address: in a stub for what the jump to it has
    /// overwritten.
    #[must_use]
    pub fn place_of(&self, address: u64) -> u64 {
        let replaced = self.by_site.range(..address).next_back().map(|(_, it)| it);
        let inside = replaced.filter(|it| address < it.site.saturating_add(it.new.len() as u64));
        let place = inside.and_then(|it| it.places().find(|(_, original)| *original == address));
        place.map_or(address, |(at, _)| at)
    }

    /// The first place in the same stub, behind this one, that stands for something else.
    #[must_use]
    pub fn next_place(&self, place: u64) -> Option<u64> {
        let replaced = self.stub_of(place)?;
        let original =
            replaced.places().take_while(|(at, _)| *at <= place).last().map(|(_, original)| original);
        let mut behind = replaced.places().skip_while(|(at, _)| *at <= place);
        behind.find(|(_, other)| Some(*other) != original).map(|(at, _)| at)
    }

    fn stub_of(&self, place: u64) -> Option<&Replaced> {
        let (stub, replaced) = self.by_stub.range(..=place).next_back()?;
        // A stub may be as long as two.
        (place < stub.saturating_add(2 * STUB_LEN as u64)).then_some(replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: u64 = 0x5000;
    const STUB: u64 = 0x7001_0000;

    fn originals() -> Originals {
        let mut originals = Originals::default();
        let old = vec![0x0f, 0x05, 0x48, 0x3d, 0, 0xf0, 0xff, 0xff];
        let places = vec![(8, 0), (13, 0), (22, 0), (24, 2), (30, 8)];
        originals.add(Replaced { site: SITE, old, new: vec![1, 2, 3, 4, 5, 6, 7, 0xcc], stub: STUB, places });
        originals.add(Replaced { site: SITE + 8, old: vec![0x0f], new: vec![0xcc], stub: 0, places: vec![] });
        originals
    }

    #[test]
    fn no_address_of_a_trace_overflows() {
        let mut originals = Originals::default();
        let places = vec![(8, 0)];
        let [site, stub] = [u64::MAX - 1, u64::MAX - 4];
        originals.add(Replaced { site, old: vec![1, 2], new: vec![3, 4], stub, places });
        assert_eq!((originals.next_place(stub), originals.original(stub)), (None, None));
        assert!(originals.overlap(&(site..u64::MAX)));
        assert_eq!(originals.place_of(u64::MAX), u64::MAX);
        let mut bytes = [3];
        originals.put_back(site, &mut bytes);
        assert_eq!(bytes, [1]);
    }

    #[test]
    fn what_stood_there_is_put_back_wherever_reading_begins_and_ends() {
        let now = [9, 1, 2, 3, 4, 5, 6, 7, 0xcc, 0xcc, 9];
        let then = [9, 0x0f, 0x05, 0x48, 0x3d, 0, 0xf0, 0xff, 0xff, 0x0f, 9];
        for start in 0..now.len() {
            for end in start..=now.len() {
                let mut bytes = now[start..end].to_vec();
                originals().put_back(SITE - 1 + start as u64, &mut bytes);
                assert_eq!(bytes, then[start..end], "{start}..{end}");
            }
        }
    }

    #[test]
    fn other_code_that_is_mapped_there_by_now_is_left_alone() {
        let mut bytes = [9, 1, 2, 3, 4, 5, 0x90, 7, 0xcc, 0x90, 9];
        let before = bytes;
        originals().put_back(SITE - 1, &mut bytes);
        assert_eq!(bytes, before);
    }

    #[test]
    fn places_in_stubs_stand_for_places_in_the_code() {
        let originals = originals();
        for (place, original) in
            [(0, None), (8, Some(0)), (22, Some(0)), (23, None), (24, Some(2)), (30, Some(8)), (127, None)]
        {
            assert_eq!(
                originals.original(STUB + place),
                original.map(|offset: u64| SITE + offset),
                "{place}"
            );
        }
        assert_eq!(originals.original(STUB + 256 + 8), None, "another stub's");
        assert_eq!(originals.original(SITE), None);
        for (address, place) in [
            (SITE - 1, SITE - 1),
            (SITE, SITE),
            (SITE + 2, STUB + 24),
            (SITE + 8, SITE + 8),
            (SITE + 9, SITE + 9),
        ] {
            assert_eq!(originals.place_of(address), place, "{address:#x}");
        }
        for (place, next) in [(8, Some(24)), (15, Some(24)), (24, Some(30)), (30, None)] {
            assert_eq!(originals.next_place(STUB + place), next.map(|offset: u64| STUB + offset), "{place}");
        }
    }
}
