//! A fork server: a process that has started up, of which copies are made. So what all attempts of a test begin with is
//! done once.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use nix::unistd::setpgid;

use super::in_process::call_sites::CallSites;
use super::in_process::moved::MovedCode;
use super::in_process::reads::Reads;
use super::journal::Journal;
use super::kernel::fds::Fds;
use super::options::Options;
use super::recorder::Recorder;
use super::start::fork_check;
use super::surprises::Surprises;
use super::tree::call::Call;
use super::tree::natively::Natively;
use super::tree::task::{Hold, Origin, Space, Task};
use super::{Recording, finish, record_anew};
use crate::clock::Clock;
use crate::ending::Stats;
use crate::error::Error;
use crate::output::Output;
use crate::program::Program;
use crate::task::TaskId;
use crate::trace::event::{Event, Patched, Position, Write, Written};
use crate::trace::log::Prefix;
use crate::tracee::{
    KillOnDrop, Memory, SYSCALL_LEN, Saved, Stdin, Stopped, Streams, bind_to_core, branch, fds, maps, os,
};

/// A process that has started up (it stands at the entry of the first call whose result depends on more than the
/// program), and what has been recorded of it.
///
/// Like everything traced, it belongs to the thread that made it.
pub struct ForkServer {
    program: Program,
    /// `None` when it is lost.
    task: Option<Stopped>,
    /// Addresses of the words that hold its process id.
    ids: Vec<u64>,
    started: Started,
    prefix: Prefix,
    output: Output,
    stats: Stats,
    clock: Clock,
    area: Saved,
    call_sites: CallSites,
    reads: Reads,
    moved: MovedCode,
    /// Call sites that were patched after the start-up, and all that were tried for that.
    learned: Vec<Patched>,
    looked_at: BTreeSet<u64>,
    memory: Memory,
    fds: Rc<Fds>,
    kill_on_drop: KillOnDrop,
}

/// What is known of its task.
struct Started {
    name: String,
    call: Call,
    clear_tid: u64,
    robust_list: u64,
    affinity: u64,
    natively: Natively,
    boundary: Position,
    dumpable: bool,
}

impl ForkServer {
    /// Starts a program up. Returns the reason if copies of it would differ from a new start.
    ///
    /// The options must be those of the later recordings, except for their plans.
    ///
    /// # Errors
    /// As [`super::record`].
    pub fn start(program: &Program, options: &Options<'_>) -> Result<Result<Self, String>, Error> {
        if options.listener.is_some() || options.stdin == Stdin::Inherit {
            return Ok(Err("it works on our terminal".into()));
        }
        let fds = Rc::new(Fds::new(Streams::new(options.stdin)?)?);
        let clock = Clock::new()?;
        let blank = clock.area().save()?;
        let other = match start_up(program, options, &clock, &fds)? {
            Ok(other) => other,
            Err(reason) => return Ok(Err(reason)),
        };
        clock.area().restore(&blank)?;
        let recorder = match start_up(program, options, &clock, &fds)? {
            Ok(recorder) => recorder,
            Err(reason) => return Ok(Err(reason)),
        };
        let (Some(one), Some(other)) = (standing(&recorder), standing(&other)) else {
            return Ok(Err("it has other tasks".into()));
        };
        match fork_check::ids(one, other)? {
            Ok(ids) => Ok(Self::of(program, recorder, ids)),
            Err(reason) => Ok(Err(reason)),
        }
    }

    pub(in crate::record) fn of(
        program: &Program,
        recorder: Recorder<'_>,
        ids: Vec<u64>,
    ) -> Result<Self, String> {
        let Recorder { mut tasks, journal, clock, poller, code, .. } = recorder;
        let Journal { log, output, stats, .. } = journal;
        let id = tasks.only().map(|task| task.id);
        let (Some(id), Some(Hold::Calling(task, call))) = (id, id.map(|id| tasks.release(id))) else {
            return Err("it has other tasks".into());
        };
        let Task { name, space, clear_tid, robust_list, affinity, natively, boundary, .. } = &tasks[id];
        let started = Started {
            name: name.clone(),
            call,
            clear_tid: *clear_tid,
            robust_list: *robust_list,
            affinity: *affinity,
            natively: *natively,
            boundary: *boundary,
            dumpable: space.dumpable.get(),
        };
        let memory = Memory::open(task.tid()).map_err(|error| error.to_string())?;
        let area = clock.area().save().map_err(|error| error.to_string())?;
        let Some(prefix) = log.into_prefix() else { return Err("it takes too long to start up".into()) };
        Ok(Self {
            program: program.clone(),
            task: Some(task),
            ids,
            started,
            prefix,
            output,
            stats,
            clock,
            area,
            call_sites: code.call_sites,
            reads: code.reads,
            moved: code.moved,
            learned: Vec::new(),
            looked_at: BTreeSet::new(),
            memory,
            fds: poller.fds,
            kill_on_drop: tasks.children.kill_on_drop,
        })
    }

    /// Records one run that goes on from here, on the same core.
    ///
    /// # Errors
    /// As [`super::record`]. After an error the fork server may be unusable.
    pub fn record(&mut self, options: &Options<'_>) -> Result<Recording, Error> {
        let start = Instant::now();
        let mut surprises = Surprises::new(options);
        if let Some(program) = surprises.started(&self.program) {
            return record_anew(&program, options, surprises, start);
        }
        bind_to_core(options.core)?;
        let mut recorder = self.attempt(options, surprises)?;
        let recording = finish(&mut recorder, &self.program, start)?;
        let sites = std::mem::take(&mut recorder.code.call_sites);
        drop(recorder);
        self.learn(&sites)?;
        Ok(recording)
    }

    /// Kills the process. Dropping the fork server waits for its end.
    pub fn kill(&self) {
        self.kill_on_drop.kill();
    }

    /// Patches the call sites that a copy has patched, so that later copies start with them.
    fn learn(&mut self, sites: &CallSites) -> Result<(), Error> {
        self.call_sites.learn_reached(sites);
        let known = self.call_sites.patched().len();
        let new = sites.patched().iter().skip(known).filter(|(space, _)| *space == 0);
        let new = new.map(|(_, address)| *address).filter(|address| self.looked_at.insert(*address));
        let new: Vec<u64> = new.collect();
        let Some(task) = self.task.as_ref().filter(|_| !new.is_empty()) else { return Ok(()) };
        let area = self.clock.area();
        area.restore(&self.area)?;
        for address in new {
            let Some(patch) = self.call_sites.plan(task.tid(), &self.memory, address)? else { continue };
            let stands = self.started.call.registers.ip();
            let mut here = Vec::new();
            if stands == address.wrapping_add(SYSCALL_LEN) {
                // Copies make the call at which it stands in the stub.
                let Started { call, boundary, .. } = &mut self.started;
                call.registers.set_ip(patch.traced);
                *boundary = Position::of(boundary.left, &call.registers);
                here.push(TaskId(0));
            } else if patch.interior().any(|ip| ip == stands) {
                continue;
            }
            self.learned.push(self.call_sites.apply(area, &self.memory, 0, patch, here)?);
        }
        self.area = area.save()?;
        Ok(())
    }

    /// Copies the process, and creates a recorder that goes on with the copy.
    fn attempt<'a>(&mut self, options: &'a Options<'a>, surprises: Surprises) -> Result<Recorder<'a>, Error> {
        self.clock.area().restore(&self.area)?;
        self.fds.streams().reset()?;
        let lost = || Error::Bug { what: "a template has lost its process".into() };
        let Started { name, call, clear_tid, robust_list, affinity, natively, boundary, dumpable } =
            &self.started;
        let (task, copy) = branch(self.task.take().ok_or_else(lost)?, *clear_tid)?;
        self.task = Some(task);
        let tid = copy.tid();
        let kill_on_drop = KillOnDrop::new(tid);
        // Like every program that the recorder starts, it gets a process group of its own.
        setpgid(tid, tid).map_err(|errno| os("set a process group")(errno.into()))?;
        copy.set_registers(&call.registers)?;
        let space = Space::new(0, Memory::open(tid)?);
        space.dumpable.set(*dumpable);
        let mut writes = Vec::new();
        for &address in &self.ids {
            let bytes = tid.as_raw().to_ne_bytes().to_vec();
            space.memory.write(address, &bytes)?;
            writes.push(Write { address, bytes });
        }
        let mut log = self.prefix.log();
        if !writes.is_empty() {
            log.push(Event::Written(Written { task: TaskId(0), writes }));
        }
        let mut recorder =
            Recorder::new(options, surprises, self.clock.clone(), log, Rc::clone(&self.fds), kill_on_drop)?;
        recorder.journal.output.clone_from(&self.output);
        recorder.journal.stats = self.stats;
        recorder.code.call_sites = self.call_sites.clone();
        recorder.code.reads = self.reads.clone();
        recorder.code.moved = self.moved.clone();
        for patched in &self.learned {
            recorder.journal.log.push(Event::Patched(patched.clone()));
        }
        let (name, clear_tid, affinity, natively) = (name.clone(), *clear_tid, *affinity, *natively);
        let origin = Origin { pid: tid, space: Rc::new(space), name, clear_tid, affinity, natively };
        let (hold, scratch) = (Hold::Calling(copy, call.clone()), recorder.tasks.slots.take());
        let mut task = Task::new(TaskId(0), tid, hold, origin, scratch, *boundary);
        task.robust_list = *robust_list;
        recorder.scheduler.join(&mut recorder.tasks, &recorder.clock, task);
        Ok(recorder)
    }
}

/// Starts a program up. Returns its recorder, or why it cannot be a fork server.
fn start_up<'a>(
    program: &Program,
    options: &'a Options<'a>,
    clock: &Clock,
    fds: &Rc<Fds>,
) -> Result<Result<Recorder<'a>, String>, Error> {
    let mut recorder =
        Recorder::start(program, options, Surprises::new(options), clock.clone(), Rc::clone(fds))?;
    let inherited = recorder.tasks.living().find_map(|task| match task.hold() {
        Hold::Ready(stopped) => Some(descriptors(stopped)),
        _ => None,
    });
    let inherited = inherited.transpose()?;
    if let Some(ending) = recorder.start_up()? {
        return Ok(Err(format!("it does not start up ({ending:?})")));
    }
    let Some((task, _)) = standing(&recorder) else {
        return Ok(Err("it gets signals as it starts up".into()));
    };
    let refused = |what: &str| Ok(Err(format!("it has {what} where it has started up")));
    if Some(descriptors(task)?) != inherited {
        return refused("files open");
    }
    if maps(task.tid())?.iter().any(|line| line.shared && super::start::image::belongs(line)) {
        return refused("shared memory");
    }
    Ok(Ok(recorder))
}

/// Returns the only task, if it stands at the entry of a call and has got no signals.
fn standing<'a>(recorder: &'a Recorder<'_>) -> Option<(&'a Stopped, &'a Memory)> {
    let task = recorder.tasks.only().filter(|task| task.deferred.is_empty() && task.resent.is_empty())?;
    match task.hold() {
        Hold::Calling(stopped, _) => Some((stopped, &task.space.memory)),
        _ => None,
    }
}

/// Returns a process's descriptors: numbers, and what they refer to.
fn descriptors(task: &Stopped) -> Result<BTreeSet<(i32, PathBuf)>, Error> {
    let all = fds(task.tid()).map_err(os(format!("look at the descriptors of process {}", task.tid())))?;
    Ok(all.map(|fd| (fd.number, fd.link().unwrap_or_default())).collect())
}
