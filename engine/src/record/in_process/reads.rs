//! Instructions that read what the program cannot know: the time-stamp counter, random numbers, the processor's identity.
//!
//! Nothing stops at them: some cannot be masked on any processor, and the signal that others raise where they can be would not leave
//! the program's mask and handlers alone. So they are moved to stubs before they are first executed ([`crate::tracee::reads`]):
//! those of the program and its dynamic linker when it is executed, those of libraries when they are mapped. The buffer logs
//! what they read. One that cannot be moved becomes a trap.
//!
//! The counter is ahead of the machine's by as much as the program's clocks. Random numbers come from the seed, as
//! those of getrandom(2) do. Code that the program itself makes is not looked through: what it reads is not recorded, and shows
//! when the trace is verified.

use std::arch::x86_64::__cpuid_count;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::unistd::Pid;
use rrtest_preload::reads::{Read, What, same_on_all_cores};

use crate::error::Error;
use crate::record::recorder::Recorder;
use crate::record::start::image::belongs;
use crate::record::step::{Flow, Next};
use crate::record::tree::call::Call;
use crate::record::tree::tasks::{Deaf, Hold};
use crate::schedule::Why;
use crate::task::TaskId;
use crate::trace::event::{Event, MovedRead, MovedReads, Registers, TrappedRead};
use crate::tracee::patch::{AROUND, Window};
use crate::tracee::reads::{MovedRead as Plan, plan_read};
use crate::tracee::{Line, Memory, ReadSite, SignalSet, Stopped, ignore_again, read_sites, signals};

/// What is known of such instructions.
#[derive(Clone, Debug, Default)]
pub(in crate::record) struct Reads {
    /// Those that have been moved. A program that is executed again, or a library mapped again, at the same place, finds its
    /// stubs there.
    moved: BTreeMap<Place, MovedRead>,
    /// Those that could not be, by address: a trap is in their place.
    traps: BTreeMap<u64, Trapped>,
}

/// An instruction in place of which is a trap.
#[derive(Clone, Copy, Debug)]
struct Trapped {
    what: What,
    len: u8,
}

/// Plans by the stubs that they are for. The next recording of a program needs the same, and to plan takes as long as some calls do;
/// none for what cannot be moved.
static PLANS: LazyLock<Mutex<Plans>> = LazyLock::new(Mutex::default);

type Plans = HashMap<(u64, Place), Option<Plan>>;

/// Where such an instruction stands, with the code around it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    site: u64,
    what: u32,
    code: Vec<u8>,
}

impl Place {
    /// What is moved with an instruction is not further away.
    const BEFORE: u64 = 112;
    const BEHIND: u64 = 32;
}

/// A part of a file that is mapped as code.
pub(in crate::record) struct Mapped<'a> {
    pub(in crate::record) start: u64,
    pub(in crate::record) len: u64,
    pub(in crate::record) offset: u64,
    pub(in crate::record) file: &'a File,
    /// It is the dynamic linker's.
    pub(in crate::record) linker: bool,
}

/// int3
const TRAP: u8 = 0xcc;

impl Recorder<'_> {
    /// A task has executed a program, whose mappings these are.
    pub(in crate::record) fn move_reads_of_image(
        &mut self,
        id: TaskId,
        pid: Pid,
        lines: &[Line],
    ) -> Flow<()> {
        let exe = std::fs::metadata(format!("/proc/{pid}/exe")).map(|it| it.ino()).unwrap_or(0);
        let linked = lines.iter().any(|line| belongs(line) && line.inode != 0 && line.inode != exe);
        for line in lines.iter().filter(|line| belongs(line) && is_code(line)) {
            let file = self.log.mapped((line.dev, line.inode)).map(File::try_clone);
            let Some(Ok(file)) = file else { continue };
            let (start, len, offset) = (line.start, line.end - line.start, line.offset);
            let (file, linker) = (&file, linked && line.inode != exe);
            self.move_reads(id, &Mapped { start, len, offset, file, linker })?;
        }
        Ok(())
    }

    /// A task has mapped code, which nobody has executed yet.
    pub(in crate::record) fn move_reads(&mut self, id: TaskId, mapped: &Mapped<'_>) -> Flow<()> {
        // What cannot be read is no program.
        let Ok(sites) = read_sites(mapped.file) else { return Ok(()) };
        let within = mapped.offset..mapped.offset.saturating_add(mapped.len);
        let space = self.space(id);
        let mut all = Vec::new();
        for site in sites.iter().filter(|site| within.contains(&site.at)) {
            let moved = self.move_read(&space.memory, mapped, site)?;
            space.memory.write(moved.site, &moved.code)?;
            all.push(moved);
        }
        if !all.is_empty() {
            self.log.push(Event::MovedReads(MovedReads { task: id, moved: all }));
        }
        Ok(())
    }

    fn move_read(
        &mut self,
        memory: &Memory,
        mapped: &Mapped<'_>,
        found: &ReadSite,
    ) -> Result<MovedRead, Error> {
        let address = |offset: u64| mapped.start + offset.saturating_sub(mapped.offset);
        let (site, what) = (address(found.at), What { linker: mapped.linker, ..found.what });
        let end = mapped.start + mapped.len;
        let code = |before: u64, behind: u64| {
            let start = site.saturating_sub(before).max(mapped.start);
            let bytes = memory.bytes(start, (site.saturating_add(behind).min(end) - start) as usize)?;
            Ok::<_, Error>((start, bytes))
        };
        let place = Place { site, what: what.word(), code: code(Place::BEFORE, Place::BEHIND)?.1 };
        if let Some(moved) = self.reads.moved.get(&place) {
            // Its stub is in place.
            return Ok(MovedRead { stub_code: Vec::new(), ..moved.clone() });
        }
        let stub = self.call_sites.next_stub().unwrap_or_default();
        let plans = || PLANS.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (stub, place.clone());
        let known = plans().get(&key).cloned();
        let plan = match known {
            Some(plan) => plan,
            None => {
                let (start, bytes) = code(AROUND.max(found.at - found.function), AROUND)?;
                let window = Window { address: start, bytes: &bytes };
                let plan = plan_read(&window, address(found.function), site, what, stub).ok();
                plans().insert(key, plan.clone());
                plan
            }
        };
        let moved = match plan {
            Some(plan) if self.call_sites.add_stub(self.clock.area(), &plan) => {
                MovedRead { site: plan.site, code: plan.new, stub, stub_code: plan.stub, places: plan.places }
            }
            _ => {
                self.reads.traps.insert(site, Trapped { what, len: found.len });
                return Ok(MovedRead {
                    site,
                    code: vec![TRAP],
                    stub: 0,
                    stub_code: Vec::new(),
                    places: Vec::new(),
                });
            }
        };
        self.reads.moved.insert(place, moved.clone());
        Ok(moved)
    }

    /// The running task has come to such an instruction, for which the buffer's log has no room, or by which the program has started
    /// up.
    pub(in crate::record) fn drain(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut registers: Registers,
    ) -> Flow<Next> {
        self.take_buffered();
        if self.start_up.take().is_some() {
            self.tasks.hold(id, Hold::Calling(stopped, Call::new(registers)));
            return Ok(Next::Decide(Why::Start, None));
        }
        self.log.push(Event::Drained(self.clock.position(&registers)));
        registers.set_number(u64::MAX);
        stopped.set_registers(&registers)?;
        self.tasks.hold(id, Hold::Ready(stopped));
        // It is in the middle of the buffer's code, on the stack that all use: nobody else may run. While the program starts up
        // there is nobody else.
        Ok(Next::Stay)
    }

    /// The running task has raised a signal: if it stands behind a trap in place of such an instruction, it reads.
    pub(in crate::record) fn trapped_read(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut registers: Registers,
    ) -> Flow<Result<Next, Stopped>> {
        let trapped = registers.ip().checked_sub(1).and_then(|site| self.reads.traps.get(&site)).copied();
        let Some(Trapped { what, len }) = trapped else { return Ok(Err(stopped)) };
        self.take_buffered();
        let position = self.clock.position(&registers);
        let (value, more) = self.read(id, what, &registers);
        registers.finish_read(what, len, value, more);
        registers.set_number(u64::MAX);
        let stopped = self.deafen(id, stopped)?;
        stopped.set_registers(&registers)?;
        self.log.push(Event::TrappedRead(TrappedRead { position, what: what.word(), len, value, more }));
        self.mark(id, &registers);
        self.tasks.hold(id, Hold::Ready(stopped));
        let started = what.read.varies() && !what.linker && self.start_up.take().is_some();
        Ok(Ok(if started { Next::Decide(Why::Start, None) } else { Next::Continue }))
    }

    /// As the buffer's code reads.
    fn read(&self, id: TaskId, what: What, registers: &Registers) -> (u64, [u32; 4]) {
        let area = self.clock.area();
        let core = self.tasks[id].affinity.trailing_zeros() & 63;
        match what.read {
            Read::Counter | Read::CounterAndCore => (area.counter(), [core, 0, 0, 0]),
            Read::Random => (area.draw_random(), [0; 4]),
            Read::Core => (core.into(), [0; 4]),
            Read::Processor => {
                let leaf = registers.result() as u32;
                let it = __cpuid_count(leaf, registers.rcx() as u32);
                (0, same_on_all_cores(leaf, [it.eax, it.ebx, it.ecx, it.edx]))
            }
        }
    }

    /// The trap's signal has been raised: the task blocks and ignores it as before.
    fn deafen(&self, id: TaskId, stopped: Stopped) -> Result<Stopped, Error> {
        let Deaf { blocks, ignores } = self.tasks[id].deaf;
        let stopped = match ignores {
            true => ignore_again(stopped, &self.tasks[id].space.memory, libc::SIGTRAP)?,
            false => stopped,
        };
        if blocks {
            stopped.set_signal_mask(stopped.signal_mask()? | SignalSet::of(&[libc::SIGTRAP]).0)?;
        }
        Ok(stopped)
    }

    /// A task is about to go on: what differs from run to run is not read without a stop while the program starts up; and where there
    /// are traps, it must be known what the task says about their signal.
    pub(in crate::record) fn prepare_reads(&mut self, id: TaskId) -> Result<(), Error> {
        let traps = !self.reads.traps.is_empty();
        self.clock.area().set_starting(self.start_up.is_some());
        self.clock.area().set_masked(traps);
        if traps {
            let says = signals(self.tasks[id].tid)?;
            let has = |set: SignalSet| set.has(libc::SIGTRAP);
            self.task(id).deaf = Deaf { blocks: has(says.blocked), ignores: has(says.ignored) };
        }
        Ok(())
    }
}

/// Whether it is code of a file that the program does not write, and that it has for itself.
fn is_code(line: &Line) -> bool {
    let is_code = line.prot & (libc::PROT_WRITE | libc::PROT_EXEC) == libc::PROT_EXEC;
    is_code && line.inode != 0 && !line.shared
}
