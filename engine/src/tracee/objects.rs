//! How the code inside a process looks at ticks, as the recorder sees it: see [`rrtest_preload::objects`].

use std::mem::offset_of;
use std::sync::atomic::Ordering::Relaxed;

use rrtest_preload::layout::{OBJECTS, Object, Shared, TABLE, Watch};

use crate::tracee::Area;

/// The word of the shared area with a field of [`Watch`].
macro_rules! word {
    ($area:ident, $field:ident) => {
        $area.word(offset_of!(Shared, watch) + offset_of!(Watch, $field))
    };
}

impl Area {
    /// Look at each tick from now on; with none, at no tick. What has been counted stays.
    pub fn watch(&self, watch: Option<&Watch>) {
        word!(self, on).store(watch.is_some().into(), Relaxed);
        if let Some(watch) = watch {
            word!(self, task).store(watch.task, Relaxed);
            word!(self, random).store(watch.random.max(1), Relaxed);
            word!(self, bar).store(watch.bar, Relaxed);
            word!(self, alone).store(watch.alone, Relaxed);
            word!(self, pending).store(watch.pending, Relaxed);
            word!(self, budget).store(watch.budget, Relaxed);
        }
    }

    /// The number that was drawn where a task stopped.
    #[must_use]
    pub fn drawn(&self) -> u64 {
        word!(self, drawn).load(Relaxed)
    }

    /// How many touches have counted so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        word!(self, events).load(Relaxed)
    }

    /// How many objects are known to be shared.
    #[must_use]
    pub fn shared_objects(&self) -> u64 {
        let table = self.copy_out(TABLE, OBJECTS * size_of::<Object>());
        let words = |object: &[u8]| -> Option<Object> {
            let address = u64::from_ne_bytes(object.get(0..8)?.try_into().ok()?);
            let touched = u32::from_ne_bytes(object.get(8..12)?.try_into().ok()?);
            let by = u32::from_ne_bytes(object.get(12..16)?.try_into().ok()?);
            Some(Object { address, touched, by })
        };
        table.chunks_exact(size_of::<Object>()).filter_map(words).filter(Object::is_shared).count() as u64
    }
}
