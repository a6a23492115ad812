//! The order in which directories list their entries.

use super::Surprises;
use super::placement::mixed;
use crate::record::step::Flow;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;

impl Surprises {
    /// Puts the entries of a directory, which a call has just listed, into another order. It is the same order each
    /// time that the same entries are listed. Returns whether there were any.
    pub(in crate::record) fn reorder(
        &self,
        tasks: &Tasks,
        id: TaskId,
        call: &Call,
        result: i64,
    ) -> Flow<bool> {
        let lists = [libc::SYS_getdents, libc::SYS_getdents64].contains(&(call.number() as i64));
        let Some(seed) = self.listing.filter(|_| lists) else { return Ok(false) };
        let Ok(len @ 1..) = usize::try_from(result) else { return Ok(false) };
        let memory = &tasks.space(id).memory;
        let entries = memory.bytes(call.args()[1], len)?;
        memory.write(call.args()[1], &reordered(&entries, seed))?;
        Ok(true)
    }
}

/// Returns entries (`struct linux_dirent`, getdents(2)) in an order that depends on the seed and themselves. The places
/// at which to go on stay where they are.
fn reordered(entries: &[u8], seed: u64) -> Vec<u8> {
    /// Offsets of the inode's number, of the place at which to go on after the entry, of the length, of the rest.
    const PLACE: usize = 8;
    const LENGTH: usize = 16;
    const REST: usize = 18;
    let (mut all, mut rest) = (Vec::new(), entries);
    while let Some(length) = rest.get(LENGTH..REST) {
        let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
        let Some((entry, behind)) = rest.split_at_checked(length).filter(|_| length >= REST) else { break };
        all.push(entry);
        rest = behind;
    }
    let key = |entry: &&[u8]| {
        // Behind the name is whatever was there before.
        let (kind, name) = entry[REST..].split_at_checked(1).unwrap_or_default();
        let name = name.iter().take_while(|byte| **byte != 0);
        entry[..PLACE]
            .iter()
            .chain(kind)
            .chain(name)
            .fold(mixed(seed), |hash, byte| mixed(hash ^ u64::from(*byte)))
    };
    let places: Vec<&[u8]> = all.iter().map(|entry| &entry[PLACE..LENGTH]).collect();
    all.sort_by_cached_key(key);
    let mut reordered = Vec::with_capacity(entries.len());
    for (entry, place) in all.iter().zip(places) {
        reordered.extend([&entry[..PLACE], place, &entry[LENGTH..]].concat());
    }
    reordered.extend(rest);
    reordered
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn entry(inode: u64, place: u64, name: &str) -> Vec<u8> {
        let length = (19 + name.len() + 1).next_multiple_of(8);
        let mut entry = [inode.to_ne_bytes(), place.to_ne_bytes()].concat();
        entry.extend((length as u16).to_ne_bytes());
        entry.push(8);
        entry.extend(name.bytes());
        entry.resize(length, 0);
        entry
    }

    #[test]
    fn all_orders_come_and_places_stay() {
        let listed = |order: &[u64]| -> Vec<u8> {
            let names = order.iter().zip(1..);
            names.flat_map(|(inode, place)| entry(*inode, place, &"x".repeat(*inode as usize))).collect()
        };
        let orders =
            [[1, 2, 30], [1, 30, 2], [2, 1, 30], [2, 30, 1], [30, 1, 2], [30, 2, 1]].map(|it| listed(&it));
        let seen: BTreeSet<_> = (0..200).map(|seed| reordered(&orders[0], seed)).collect();
        assert_eq!(seen, orders.iter().cloned().collect());
        for order in &orders {
            assert_eq!(reordered(order, 7), reordered(&orders[0], 7), "whatever the kernel's order");
        }
        let names =
            |bytes: &[u8]| bytes.iter().copied().filter(|byte| [b'x', 30].contains(byte)).collect::<Vec<_>>();
        let mut other = orders[0].clone();
        // The padding of the first entry.
        other[22] = 0xff;
        assert_eq!(names(&reordered(&other, 7)), names(&reordered(&orders[0], 7)));
    }

    #[test]
    fn what_is_no_list_stays_as_it_is() {
        for bytes in [&[][..], &[1; 17], &[0; 40], &[255; 40]] {
            assert_eq!(reordered(bytes, 3), bytes);
        }
    }
}
