//! What several threads touch, each with a letter.

use std::collections::BTreeMap;

use rrtest_engine::history::{Operation, What};
use rrtest_engine::symbols::origin::interesting;
use rrtest_engine::task::TaskId;
use rrtest_preload::calls::KERNEL;
use rrtest_preload::layout::AccessKind;

/// An object in memory that several tasks touch, and at least one writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// Its address.
    pub(super) address: u64,
    /// The tasks, in the order of their numbers.
    pub(super) tasks: Vec<TaskId>,
    /// Whether it has a part in the failure: a thread is preempted beside an access to it, or waits for it.
    pub(super) is_hot: bool,
}

/// The objects of some operations; those that have a part in the failure first, and then by when they are first touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Objects(Vec<Object>);

impl Objects {
    /// Those that are touched from the user's own code. `hot` are addresses that have a part in the failure.
    pub(super) fn of(operations: &[Operation], hot: &[u64]) -> Self {
        let mut order = Vec::new();
        let mut touched: BTreeMap<u64, (Vec<TaskId>, bool)> = BTreeMap::new();
        for operation in operations.iter().filter(|it| interesting(&it.frames).is_some()) {
            let Some((address, writes)) = touch(operation) else { continue };
            let (tasks, written) = touched.entry(address).or_insert_with(|| {
                order.push(address);
                Default::default()
            });
            if !tasks.contains(&operation.task) {
                tasks.push(operation.task);
                tasks.sort_unstable();
            }
            *written |= writes;
        }
        let objects = order.into_iter().filter_map(|address| {
            let (tasks, written) = touched.remove(&address)?;
            let is_hot = hot.contains(&address);
            (is_hot || written && tasks.len() > 1).then_some(Object { address, tasks, is_hot })
        });
        let mut objects: Vec<Object> = objects.collect();
        objects.sort_by_key(|object| !object.is_hot);
        Self(objects)
    }

    /// Which one an operation touches.
    pub(super) fn touched_by(&self, operation: &Operation) -> Option<usize> {
        let (address, _) = touch(operation)?;
        self.0.iter().position(|object| object.address == address)
    }

    pub(super) fn all(&self) -> &[Object] {
        &self.0
    }
}

/// The address in memory that an operation touches, and whether it can change what is there.
pub(super) fn touch(operation: &Operation) -> Option<(u64, bool)> {
    match operation.what {
        What::Access { kind, address, .. } if address != 0 && address != KERNEL => {
            Some((address, !matches!(kind, AccessKind::AtomicLoad | AccessKind::Load)))
        }
        What::Access { .. } | What::Call { .. } => None,
    }
}

/// `A` to `Z`, then `A1` to `Z1` and so on.
pub(super) fn letter(index: usize) -> String {
    let letter = char::from(b'A' + (index % 26) as u8);
    if index < 26 { letter.to_string() } else { format!("{letter}{}", index / 26) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::testing::access;

    #[test]
    fn objects_are_what_several_touch_and_one_writes() {
        let operations = [
            access(1, 1, AccessKind::AtomicLoad, 0x10, 1),
            access(2, 2, AccessKind::AtomicLoad, 0x10, 1),
            access(1, 3, AccessKind::AtomicStore, 0x20, 1),
            access(2, 4, AccessKind::AtomicUpdate, 0x30, 1),
            access(1, 5, AccessKind::AtomicLoad, 0x30, 1),
            access(2, 6, AccessKind::AtomicLoad, 0x40, 1),
            access(3, 7, AccessKind::AtomicStore, 0x40, 1),
            access(3, 7, AccessKind::Fence, 0, 1),
        ];
        let objects = Objects::of(&operations, &[0x40]);
        let addresses: Vec<_> = objects.all().iter().map(|it| (it.address, it.is_hot)).collect();
        assert_eq!(addresses, [(0x40, true), (0x30, false)]);
        assert_eq!(objects.touched_by(&operations[3]), Some(1));
        assert_eq!(objects.touched_by(&operations[0]), None);
    }

    #[test]
    fn there_are_letters_enough() {
        assert_eq!(
            (letter(0), letter(25), letter(26), letter(53)),
            ("A".into(), "Z".into(), "A1".into(), "B2".into())
        );
    }
}
