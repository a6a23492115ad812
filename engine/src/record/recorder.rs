//! The recorder: owns the parts of a recording.

use std::rc::Rc;

use rand_xoshiro::rand_core::RngCore;

use super::deadlock::wakers::{View, Wakers};
use super::futex::Futexes;
use super::in_process::InProcess;
use super::in_process::moved::Ticking;
use super::journal::Journal;
use super::kernel::fds::Fds;
use super::marks::Marks;
use super::options::Options;
use super::outside::Outside;
use super::poller::Poller;
use super::progress::Progress;
use super::scheduler::Scheduler;
use super::start::image;
use super::start::start_up::StartUp;
use super::step::Halt;
use super::surprises::Surprises;
use super::time::Times;
use super::tree::children::Children;
use super::tree::natively::Natively;
use super::tree::task::{Hold, Origin, Space, Task};
use super::tree::tasks::Tasks;
use crate::clock::Clock;
use crate::error::Error;
use crate::program::Program;
use crate::task::TaskId;
use crate::trace::event::Event;
use crate::trace::log::Log;
use crate::tracee::{self, KillOnDrop, Launched, Stopped};

/// A recording in progress.
pub(super) struct Recorder<'a> {
    pub(super) options: &'a Options<'a>,
    pub(super) clock: Clock,
    pub(super) journal: Journal,
    pub(super) scheduler: Scheduler,
    pub(super) progress: Progress,
    pub(super) surprises: Surprises,
    pub(super) marks: Marks,
    pub(super) futexes: Futexes,
    pub(super) time: Times,
    pub(super) poller: Poller,
    pub(super) outside: Outside,
    pub(super) code: InProcess,
    /// Last, so that it is dropped last: it kills what is left of the program.
    pub(super) tasks: Tasks,
}

impl<'a> Recorder<'a> {
    /// Starts the program, which stops before its first instruction. The clock is at zero.
    pub(super) fn start(
        program: &Program,
        options: &'a Options<'a>,
        surprises: Surprises,
        clock: Clock,
        fds: Rc<Fds>,
    ) -> Result<Self, Error> {
        tracee::bind_to_core(options.core)?;
        tracee::raise_descriptor_limit();
        let mut start_up = StartUp::default();
        let mut at_random = [0; 16];
        start_up.random.fill_bytes(&mut at_random);
        let Launched { task, memory, kill_on_drop } =
            tracee::launch(program, fds.streams(), clock.area(), at_random)?;
        let registers = task.registers()?;
        let tid = task.tid();
        let mut log = Log::default().with_processor(options.processor);
        let lines = tracee::maps(tid)?;
        let image = image::image(&program.path, &lines, registers, &memory, &mut log)?;
        start_up.linking = image::has_linker(&image);
        log.push(Event::Image(image));
        clock.area().load_buffer(rrtest_preload::BUFFER);
        log.push(Event::Buffer(rrtest_preload::layout::BUFFER_VERSION));
        let mut recorder = Self::new(options, surprises, clock, log, fds, kill_on_drop)?;
        recorder.scheduler.start_up = Some(start_up);
        let space = Rc::new(Space::new(0, memory));
        let affinity = options.all_cores();
        let (name, natively) = (tracee::comm(tid), Natively::started());
        let id = recorder.adopt(task, Origin { pid: tid, space, name, clear_tid: 0, affinity, natively })?;
        match recorder.code.replace_in_image(
            &recorder.tasks,
            &recorder.clock,
            &mut recorder.journal,
            id,
            &lines,
            false,
        ) {
            Err(Halt::Error(error)) => Err(error),
            _ => Ok(recorder),
        }
    }

    /// Creates a recorder without tasks.
    pub(super) fn new(
        options: &'a Options<'a>,
        surprises: Surprises,
        clock: Clock,
        log: Log,
        fds: Rc<Fds>,
        kill_on_drop: KillOnDrop,
    ) -> Result<Self, Error> {
        let mut scheduler = Scheduler::new(&options.plan);
        clock.area().set_random(scheduler.random.next_u64());
        clock.area().set_processor(options.processor);
        clock.area().set_quota(fds.has_quota());
        Ok(Self {
            options,
            clock,
            journal: Journal { log, ..Journal::default() },
            scheduler,
            progress: Progress::new(options),
            surprises,
            marks: Marks::default(),
            futexes: Futexes::default(),
            time: Times::default(),
            poller: Poller::new(fds),
            outside: Outside::default(),
            code: InProcess { ticking: Ticking::new(options), ..InProcess::default() },
            tasks: Tasks::new(Children::new(kill_on_drop)?),
        })
    }

    /// Adds a new task.
    pub(super) fn adopt(&mut self, task: Stopped, origin: Origin) -> Result<TaskId, Error> {
        let boundary = self.clock.position(&task.registers()?);
        let id = self.tasks.next();
        let (tid, hold) = (task.tid(), Hold::Ready(task));
        let scratch = self.tasks.slots.take();
        self.scheduler.join(
            &mut self.tasks,
            &self.clock,
            Task::new(id, tid, hold, origin, scratch, boundary),
        );
        self.journal.stats.tasks += 1;
        self.time.proc.note_birth(&self.time.clocks, tid);
        self.tasks.woken = true;
        Ok(id)
    }

    /// Returns the means to find out who could wake the waiting tasks, given `view`.
    pub(in crate::record) fn wakers(&self, view: View) -> Wakers<'_> {
        Wakers {
            options: self.options,
            tasks: &self.tasks,
            poller: &self.poller,
            reach: &self.outside.reach,
            view,
        }
    }
}
