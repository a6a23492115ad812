//! How the code inside a process looks at ticks, as seen by the recorder. See [`rrtest_preload::objects`].

use std::mem::offset_of;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use rrtest_preload::layout::{AccessKind, OBJECTS, Object, Shared, TABLE, Watch};
use rrtest_preload::objects::place;

use super::shared::Area;

/// A field of [`Watch`] in the shared area.
macro_rules! word {
    ($area:ident, $field:ident) => {
        $area.word(offset_of!(Shared, watch) + offset_of!(Watch, $field))
    };
}

impl Area {
    /// Starts looking at each tick; stops with `None`. Counts are kept.
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

    /// Looks at an access that the watched task, which stands at a call, is about to make. Returns whether it is to
    /// stop first.
    #[must_use]
    pub fn look(&self, address: u64, kind: AccessKind) -> bool {
        let at = TABLE + place(address) * size_of::<Object>();
        let mut object = object(&self.copy_out(at, size_of::<Object>()));
        let load = |word: &AtomicU64| word.load(Relaxed);
        let mut watch = Watch {
            on: load(word!(self, on)),
            task: load(word!(self, task)),
            random: load(word!(self, random)),
            bar: load(word!(self, bar)),
            alone: load(word!(self, alone)),
            pending: load(word!(self, pending)),
            budget: load(word!(self, budget)),
            drawn: load(word!(self, drawn)),
            events: load(word!(self, events)),
            fresh: load(word!(self, fresh)),
        };
        let stops = watch.stops(&mut object, address, kind as u64);
        word!(self, random).store(watch.random, Relaxed);
        word!(self, drawn).store(watch.drawn, Relaxed);
        word!(self, events).store(watch.events, Relaxed);
        word!(self, fresh).store(watch.fresh, Relaxed);
        let tail = u64::from(object.touched) | u64::from(object.by) << 32;
        self.copy_in(at, &[object.address.to_ne_bytes(), tail.to_ne_bytes()].concat());
        stops
    }

    /// Whether the code in the process has looked at the call that the task has reached, and wants it to stop.
    #[must_use]
    pub fn take_met(&self) -> bool {
        self.word(offset_of!(Shared, met)).swap(0, Relaxed) != 0
    }

    /// Returns the number that was drawn where a task stopped.
    #[must_use]
    pub fn drawn(&self) -> u64 {
        word!(self, drawn).load(Relaxed)
    }

    /// Returns how many accesses have counted so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        word!(self, events).load(Relaxed)
    }

    /// Returns how many objects are known to be shared.
    #[must_use]
    pub fn shared_objects(&self) -> u64 {
        let table = self.copy_out(TABLE, OBJECTS * size_of::<Object>());
        table.chunks_exact(size_of::<Object>()).filter(|bytes| object(bytes).is_shared()).count() as u64
    }
}

/// Decodes an entry of the table of objects.
fn object(bytes: &[u8]) -> Object {
    let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u32::from_ne_bytes(*word));
    let address = u64::from(word(0)) | u64::from(word(4)) << 32;
    Object { address, touched: word(8), by: word(12) }
}
