//! Surprises that come at reads of clocks.

use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::record::surprises::strikes::Note;
use crate::record::time::clocks::{self, wall_now};
use crate::record::tree::call::Call;
use crate::schedule::surprise::Surprise;
use crate::strike::Doing;
use crate::task::TaskId;

impl Recorder<'_> {
    /// Prepares for a task to read a clock in this call.
    pub(in crate::record) fn before_read(&mut self, id: TaskId, call: &Call, clock: i32) -> Flow<()> {
        if self.is_harness(id) {
            return Ok(());
        }
        let wall = clocks::is_wall_clock(clock);
        for kind in if wall { &[Surprise::Date, Surprise::Year][..] } else { &[Surprise::Uptime] } {
            self.is_seen(*kind, id, call);
        }
        let now = wall_now(&self.time.clocks)?;
        if let Some(edge) = self.surprises.at_reads.comes_to_edge(now, wall) {
            let wait = u64::try_from(edge.at - now).unwrap_or(0);
            if self.surprises.may_keep_waiting(self.options, wait) {
                self.pass(wait)?;
            }
        }
        if wall && let Some(step) = self.surprises.at_reads.steps() {
            self.time.clocks.step_back(step.back)?;
            self.set_clocks();
            self.time.stamped.stamps_are_stale(&self.clock, &self.time.clocks)?;
            let place = Some(self.code.call_sites.place(&self.tasks, id, &call.registers));
            let strike = Note::new(Surprise::ClockStep, id, Doing::Runs);
            self.surprises.note_strike(Note { more: step.back, place, ..strike });
        }
        self.reads_slowly(id, call, self.surprises.at_reads.are_awaited())
    }

    /// Returns what a task is told that reads a clock in this call.
    pub(in crate::record) fn told(&mut self, id: TaskId, call: &Call, clock: i32) -> Flow<libc::timespec> {
        let now = self.time.clocks.read(clock)?;
        if clocks::is_cpu_clock(clock) || self.is_harness(id) {
            return Ok(now);
        }
        let (told, again) = self.surprises.at_reads.tell(clock, now);
        if again {
            let place = Some(self.code.call_sites.place(&self.tasks, id, &call.registers));
            self.surprises.note_strike(Note { place, ..Note::new(Surprise::CoarseClock, id, Doing::Runs) });
        }
        Ok(told)
    }

    /// Notes that a task notices a surprise by a call. A harness does not count.
    pub(in crate::record) fn is_seen(&mut self, kind: Surprise, id: TaskId, call: &Call) {
        if self.is_harness(id) {
            return;
        }
        self.surprises.is_seen(&self.tasks, &self.code.call_sites, kind, id, call);
    }

    /// Whether a task is a test harness, which measures how long tests take.
    fn is_harness(&self, id: TaskId) -> bool {
        self.options.watchdog_main && id == TaskId(0)
    }
}
