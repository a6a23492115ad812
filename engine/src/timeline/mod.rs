//! Moving about in a recorded run, in both directions.
//!
//! A replay only goes forwards. To go back is to begin again and to go less far: most failing tests replay in some
//! milliseconds. Whoever moves asks for moments, or for the nearest one at which something of interest happens, before
//! or after this one; what was found on the way is kept, and output is shown once, however often it is passed.
//!
//! Every moment is *settled*: whatever the trace tells of that needs no instruction of the program (a thread that gets
//! the core, what the kernel has written) has happened, and the thread that executes the next instruction is the
//! running one. So each state of the program has one moment, and a step back undoes a step.
//!
//! The room stands on [`replay`](crate::replay).

mod back;
mod code;
mod expression;
mod forward;
mod hits;
mod moment;
mod place;
mod scan;
mod shown;
mod stretch;
mod walker;

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::Error;
use crate::replay::{Limit, Session, Sink, Why};
use crate::task::TaskId;
use crate::trace::Source;
use crate::tracee::{Registers, VectorRegisters};

pub use expression::{Expression, Look, Malformed};
pub use hits::{Asked, Breakpoint, Watch, Watchpoint};
pub use moment::Moment;

use place::Place;
use scan::Scan;
use shown::Shown;
use stretch::Stretch;
use walker::Walker;

/// How to replay, again and again.
pub struct Options<'a> {
    /// The core to use.
    pub core: usize,
    /// Set to true to have a move end soon, where it has come to or where it began. It is set back by then.
    pub interrupt: &'a AtomicBool,
    /// How long the process may run from one event to the next; past it the replay counts as diverged.
    pub patience: Duration,
    /// Gets the program's output the first time that it comes.
    pub output: Sink<'a>,
}

/// Why a move has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The step was made.
    Stepped,
    /// A task stands at a breakpoint.
    Breakpoint(TaskId, u64),
    /// A task has written what is watched at this address, or is about to, if the move was back; or has read it.
    Watchpoint(TaskId, u64),
    /// There is nothing before.
    Begin,
    /// There is nothing behind: the program has ended.
    End,
    /// It was asked to.
    Interrupted,
}

/// A moment that can be gone back to.
#[derive(Clone, Debug)]
pub struct Mark(Place);

/// A run that can be looked at anywhere.
pub struct Timeline<'a> {
    setup: Setup<'a>,
    /// Before the first instruction.
    begin: Place,
    walker: Walker<'a>,
    /// If what is looked at lies before what the walker has come to: which of the moments that it has come by.
    rewound: Option<(Rc<Stretch>, usize)>,
    scan: Option<Scan>,
    /// The place whose instructions were counted last, and how many they are.
    counted: Option<(Place, u64)>,
}

/// What each replay needs.
struct Setup<'a> {
    trace: &'a dyn Source,
    core: usize,
    interrupt: &'a AtomicBool,
    patience: Duration,
    shown: Shown<'a>,
}

impl Setup<'_> {
    fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// Takes back that somebody has asked for an end.
    fn go_on(&self) {
        self.interrupt.store(false, Ordering::Relaxed);
    }
}

impl<'a> Timeline<'a> {
    /// Begins: the program stands before its first instruction. The calling thread is pinned to the core.
    ///
    /// # Errors
    /// As for [`Session::start`].
    pub fn start(trace: &'a dyn Source, options: Options<'a>) -> Result<Self, Error> {
        let Options { core, interrupt, patience, output } = options;
        let setup = Setup { trace, core, interrupt, patience, shown: Shown::new(output) };
        let walker = Walker::open(&setup)?;
        Ok(Self { setup, begin: walker.place.clone(), walker, rewound: None, scan: None, counted: None })
    }

    /// Returns the task that executes the next instruction.
    #[must_use]
    pub fn current(&self) -> TaskId {
        match &self.rewound {
            Some((stretch, at)) => stretch.task(*at),
            None => self.walker.session.state().current(),
        }
    }

    /// Returns the session, which may have gone further than what is looked at, but by instructions of the running
    /// task only.
    #[must_use]
    pub fn session(&self) -> &Session<'a> {
        &self.walker.session
    }

    /// Returns the session where this moment is, for who looks at more than is told here. Whoever has it go on moves it
    /// away.
    ///
    /// # Errors
    /// If the replay diverges.
    pub fn look(&mut self) -> Result<&mut Session<'a>, Error> {
        self.arrive()?;
        Ok(&mut self.walker.session)
    }

    /// Returns another session that stands at this moment, for who does to it what would disturb this one.
    ///
    /// # Errors
    /// If the replay diverges.
    pub fn another(&self) -> Result<Session<'a>, Error> {
        let mut walker = Walker::open(&self.setup)?;
        walker.go_to(&self.place())?;
        Ok(walker.session)
    }

    /// Returns how its replays are made: the core, the flag that interrupts them, and how long the program may run from
    /// one event to the next.
    #[must_use]
    pub fn replays(&self) -> (usize, &'a AtomicBool, Duration) {
        (self.setup.core, self.setup.interrupt, self.setup.patience)
    }

    /// Takes back that somebody has asked for an end.
    pub fn go_on(&self) {
        self.setup.go_on();
    }

    /// Returns the event and ticks of this moment, which take nothing to find out.
    #[must_use]
    pub fn position(&self) -> (u64, u64) {
        let place = self.place();
        (place.event, place.ticks)
    }

    /// Returns this moment.
    ///
    /// # Errors
    /// If the replay diverges.
    pub fn moment(&mut self) -> Result<Moment, Error> {
        let moment = self.moment_within(u64::MAX)?;
        moment.ok_or_else(back::uncounted)
    }

    /// Returns this moment; nothing if its instructions are more than `most`, which are counted one by one.
    ///
    /// # Errors
    /// If the replay diverges.
    pub fn moment_within(&mut self, most: u64) -> Result<Option<Moment>, Error> {
        let (event, ticks) = self.position();
        Ok(self.exact(most)?.map(|instructions| Moment { event, ticks, instructions }))
    }

    /// Marks this moment, which takes nothing to do.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.place())
    }

    /// Goes to a marked moment.
    ///
    /// # Errors
    /// As for [`Self::seek`].
    pub fn go_to(&mut self, mark: &Mark) -> Result<(), Error> {
        self.walker_to(&mark.0)
    }

    /// Goes to a moment, or, where there is none with so many ticks or instructions, to the next one.
    ///
    /// # Errors
    /// If the replay diverges, or is interrupted; then this moment stays.
    pub fn seek(&mut self, moment: Moment) -> Result<(), Error> {
        self.walker_to(&Place::exactly(moment.event.max(1), moment.ticks, moment.instructions))
    }

    /// Returns the numbers of events between which a process lives: after the first it does, and after the last it still
    /// does. Goes through the whole run for it.
    ///
    /// # Errors
    /// If the replay diverges.
    pub fn lifetime(&self, process: TaskId) -> Result<(u64, u64), Error> {
        let mut walker = Walker::open(&self.setup)?;
        let (mut first, mut last) = (None, walker.at().0);
        loop {
            let state = walker.session.state();
            if state.tasks().any(|(task, _)| state.process(task) == Some(process)) {
                last = walker.at().0;
                first = first.or(Some(last));
            }
            if walker.run(Limit::Event)?.why == Why::Ended {
                return Ok((first.unwrap_or(last), last));
            }
        }
    }

    /// Returns the registers of a task as the program sees them; none if there is no such task.
    ///
    /// # Errors
    /// As for [`Session::registers`].
    pub fn registers(&mut self, task: TaskId) -> Result<Option<Registers>, Error> {
        if let Some((stretch, at)) = &self.rewound
            && stretch.task(*at) == task
        {
            return Ok(Some(stretch.registers(*at)));
        }
        Ok(self.walker.session.registers(task)?.map(Registers::of_user_code))
    }

    /// Returns the floating-point and vector registers of a task.
    ///
    /// # Errors
    /// As for [`Session::registers`].
    pub fn vector_registers(&mut self, task: TaskId) -> Result<Option<VectorRegisters>, Error> {
        if self.rewound.as_ref().is_some_and(|(stretch, at)| stretch.task(*at) == task) {
            self.arrive()?;
        }
        self.walker.session.vector_registers(task)
    }

    /// Reads memory of a task as the program sees it.
    ///
    /// # Errors
    /// If not all of it is mapped, or there is no such task.
    pub fn read(&self, task: TaskId, address: u64, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = self.walker.session.read(task, address, len)?;
        let session = &self.walker.session;
        if let Some((stretch, at)) = &self.rewound
            && session.state().space(stretch.task(*at)) == session.state().space(task)
        {
            stretch.rewind(*at, address, &mut bytes);
        }
        Ok(bytes)
    }

    fn place(&self) -> Place {
        match &self.rewound {
            Some((stretch, at)) => stretch.place(*at),
            None => self.walker.place.clone(),
        }
    }

    /// Has the walker stand at what is looked at.
    fn arrive(&mut self) -> Result<(), Error> {
        match self.rewound.clone() {
            Some((stretch, at)) => self.walker_to(&stretch.place(at)),
            None => Ok(()),
        }
    }

    /// Has the walker, or one in its place, stand here.
    fn walker_to(&mut self, place: &Place) -> Result<(), Error> {
        let stood = self.walker.place.clone();
        let goes_on = self.walker.is_before(place);
        let moved = if goes_on {
            self.walker.go_to(place)
        } else {
            Walker::open(&self.setup).and_then(|mut walker| {
                walker.go_to(place)?;
                self.walker = walker;
                Ok(())
            })
        };
        match moved {
            Ok(()) => self.rewound = None,
            // What is looked at may be told from where it stood (`rewound`), and from nowhere in between.
            Err(Error::Stopped) if goes_on => self.recover(&stood)?,
            // Another one was stopped: this one is where it was.
            Err(Error::Stopped) => self.setup.go_on(),
            Err(error) => return Err(error),
        }
        moved
    }

    /// The walker was stopped on its way somewhere, and may be of no use: another one stands at a place by which it has
    /// come.
    fn recover(&mut self, place: &Place) -> Result<(), Error> {
        loop {
            self.setup.go_on();
            let mut walker = Walker::open(&self.setup)?;
            match walker.go_to(place) {
                Ok(()) => {
                    self.walker = walker;
                    return Ok(());
                }
                // Who asks once more for an end waits for this: there is no walker to look at before.
                Err(Error::Stopped) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl std::fmt::Debug for Timeline<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timeline").field("place", &self.place()).finish_non_exhaustive()
    }
}
