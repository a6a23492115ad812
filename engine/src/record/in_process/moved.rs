//! Instructions of the program that are moved to stubs before anybody executes them: those that read what the program
//! cannot determine ([`super::reads`]), and on request the operations by which threads meet in code that was not
//! compiled with ticks, so that they tick ([`plan_tick`]). Those of the program and its dynamic linker are moved at
//! execve(2), those of libraries when they are mapped.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rrtest_preload::layout::STUBS_MOST;
use rrtest_preload::random::draw;
use rrtest_preload::reads::What;

use super::call_sites::CallSites;
use super::known_code::Mapped;
use super::reads::{Reads, Trapped};
use crate::clock::Clock;
use crate::error::Error;
use crate::record::options::{Options, Ticks};
use crate::trace::event::MovedRead;
use crate::tracee::patch::{AROUND, Window};
use crate::tracee::{
    FileState, Memory, Moved, Operations, Replaced, Site, Tick, TickSites, plan_read, plan_tick, read_sites,
    tick_sites,
};

/// Moved instructions. A program that is executed again, or a library that is mapped again, at the same place finds its
/// stubs there.
#[derive(Clone, Debug, Default)]
pub(in crate::record) struct MovedCode {
    moved: BTreeMap<Place, MovedRead>,
}

/// What a stub does in place of, or before, an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Work {
    /// It reads: a [`What`].
    Reads(u32),
    /// It ticks, and does the operation.
    Ticks(Tick),
}

/// Plans by stub and place; `None` for what cannot be moved. The next recording of the program needs the same plans,
/// and making one takes as long as several calls do.
static PLANS: LazyLock<Mutex<Plans>> = LazyLock::new(Mutex::default);

type Plans = HashMap<(u64, Place), Option<Moved>>;

/// Plans that are kept.
const PLANS_MOST: usize = 1 << 16;

/// Where an instruction stands, with the code around it. Whether code further away leads there depends on the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    file: FileState,
    site: u64,
    work: Work,
    code: Vec<u8>,
}

impl Place {
    /// How far code that is moved with an instruction can be from it.
    const BEFORE: u64 = 112;
    const BEHIND: u64 = 32;
}

/// int3
const TRAP: u8 = 0xcc;

/// With so many stubs no more get one that tick: the others are for call sites.
const FOR_TICKS: usize = STUBS_MOST / 4 * 3;

/// Stubs that an operation takes, roughly.
const STUBS_EACH: usize = 2;

/// Which operations of code without compiled-in ticks are to tick.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::record) struct Ticking {
    ticks: Ticks,
    /// Determines which do if there are too many.
    seed: u64,
}

impl Ticking {
    pub(in crate::record) fn new(options: &Options<'_>) -> Self {
        Self { ticks: options.ticks, seed: options.plan.seed }
    }

    /// Returns the operations of a file that can tick.
    fn operations(self, mapped: &Mapped<'_>) -> Arc<TickSites> {
        let operations = match self.ticks {
            Ticks::CompiledIn => return Arc::default(),
            // The dynamic linker has none that others could see before the program starts.
            Ticks::Atomics | Ticks::Accesses if mapped.linker => return Arc::default(),
            Ticks::Accesses if !is_of_system(mapped.file) => Operations::All,
            Ticks::Atomics | Ticks::Accesses => Operations::Atomic,
        };
        // A file that cannot be parsed is no program.
        tick_sites(mapped.file, operations).unwrap_or_default()
    }

    /// Chooses the operations in a mapping that are to tick, of which there are at most `most`, roughly. Other attempts
    /// choose others.
    fn choose(self, all: &TickSites, mapped: &Mapped<'_>, most: usize) -> Vec<Site<Tick>> {
        let within = mapped.within();
        let mut sites: Vec<_> = all.sites.iter().filter(|site| within.contains(&site.at)).copied().collect();
        if sites.len() > most {
            // Any but 0.
            let mut random = self.seed | 1;
            let share = ((most as u128) << 64) / sites.len() as u128;
            sites.retain(|_| u128::from(draw(&mut random)) < share);
        }
        sites
    }
}

/// Whether a file is a library of the system's: its authors know how to share memory, and a program meets others
/// there only by what it calls.
fn is_of_system(file: &File) -> bool {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
    let within = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"].iter().any(|dir| path.starts_with(dir));
    within && path.file_name().is_some_and(|name| name.as_encoded_bytes().windows(3).any(|it| it == b".so"))
}

/// The instructions of a mapping that are being moved. Nothing is written before all is planned: plans depend on the
/// code as it was.
struct Batch<'a> {
    file: FileState,
    memory: &'a Memory,
    mapped: &'a Mapped<'a>,
    moved: Vec<MovedRead>,
    /// What they replace, by address: the end.
    taken: BTreeMap<u64, u64>,
}

impl Batch<'_> {
    /// Returns code around an address, as far as it is mapped, and where it begins.
    fn code(&self, site: u64, before: u64, behind: u64) -> Result<(u64, Vec<u8>), Error> {
        let end = self.mapped.start + self.mapped.len;
        let start = site.saturating_sub(before).max(self.mapped.start);
        let bytes = self.memory.bytes(start, (site.saturating_add(behind).min(end) - start) as usize)?;
        Ok((start, bytes))
    }

    /// Whether some of this has been taken.
    fn is_taken(&self, start: u64, end: u64) -> bool {
        self.taken.range(..end).next_back().is_some_and(|(_, taken)| *taken > start)
    }

    fn add(&mut self, moved: MovedRead) {
        self.taken.insert(moved.site, moved.site + moved.code.len() as u64);
        self.moved.push(moved);
    }
}

impl MovedCode {
    /// Moves the instructions in code that has been mapped and that nobody has executed yet: those that read, and those
    /// that are to tick.
    pub(super) fn move_code(
        &mut self,
        clock: &Clock,
        call_sites: &mut CallSites,
        reads: &mut Reads,
        memory: &Memory,
        mapped: &Mapped<'_>,
        ticking: Ticking,
    ) -> Result<Vec<MovedRead>, Error> {
        // A file that cannot be parsed is no program.
        let Ok(sites) = read_sites(mapped.file) else { return Ok(Vec::new()) };
        let within = mapped.within();
        // As above.
        let Ok(file) = FileState::of(mapped.file) else { return Ok(Vec::new()) };
        let mut batch = Batch { file, memory, mapped, moved: Vec::new(), taken: BTreeMap::new() };
        for found in sites.iter().filter(|found| within.contains(&found.at)) {
            let what = What { linker: mapped.linker, ..found.what };
            let plan = |window: &Window<'_>, function, site, stub| {
                plan_read(window, function, site, what, stub).ok()
            };
            if !self.move_one(clock, call_sites, &mut batch, found, Work::Reads(what.word()), plan)? {
                let site = mapped.address(found.at);
                reads.traps.insert(site, Trapped { what, len: found.len });
                let (stub, stub_code, places) = (0, Vec::new(), Vec::new());
                batch.add(MovedRead { site, code: vec![TRAP], stub, stub_code, places });
            }
        }
        let operations = ticking.operations(mapped);
        let most = FOR_TICKS.saturating_sub(call_sites.patched().len()) / STUBS_EACH;
        let offset = |address: u64| (address - mapped.start).wrapping_add(mapped.offset);
        for found in &ticking.choose(&operations, mapped, most) {
            let tick = found.what;
            let plan = |window: &Window<'_>, function, site, stub| {
                plan_tick(window, function, site, tick, &operations, offset, stub).ok()
            };
            // What cannot be moved does not tick.
            let _ticks = self.move_one(clock, call_sites, &mut batch, found, Work::Ticks(tick), plan)?;
        }
        let sites: Vec<(u64, usize)> = batch.moved.iter().map(|it| (it.site, it.code.len())).collect();
        // There are hundreds in each library.
        let olds = match memory.gather(&sites) {
            Some(olds) => olds,
            None => sites.iter().map(|(site, len)| memory.bytes(*site, *len)).collect::<Result<_, _>>()?,
        };
        for (moved, old) in batch.moved.iter().zip(olds) {
            call_sites.has_replaced(Replaced {
                site: moved.site,
                old,
                new: moved.code.clone(),
                stub: moved.stub,
                places: Vec::new(),
            });
        }
        for moved in &batch.moved {
            memory.write(moved.site, &moved.code)?;
        }
        Ok(batch.moved)
    }

    /// Moves one instruction, as `plan` says how. Returns false if it cannot be moved.
    fn move_one<T>(
        &mut self,
        clock: &Clock,
        call_sites: &mut CallSites,
        batch: &mut Batch<'_>,
        found: &Site<T>,
        work: Work,
        plan: impl Fn(&Window<'_>, u64, u64, u64) -> Option<Moved>,
    ) -> Result<bool, Error> {
        let site = batch.mapped.address(found.at);
        if batch.is_taken(site, site + u64::from(found.len)) {
            return Ok(false);
        }
        let place =
            Place { file: batch.file, site, work, code: batch.code(site, Place::BEFORE, Place::BEHIND)?.1 };
        if let Some(moved) = self.moved.get(&place) {
            // Its stub is in place.
            batch.add(MovedRead { stub_code: Vec::new(), ..moved.clone() });
            return Ok(true);
        }
        let Some(stub) = call_sites.next_stub() else { return Ok(false) };
        let plans = || PLANS.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (stub, place.clone());
        let known = plans().get(&key).cloned();
        let planned = match known {
            Some(planned) => planned,
            None => {
                let (start, bytes) = batch.code(site, AROUND.max(found.at - found.function), AROUND)?;
                let window = Window { address: start, bytes: &bytes };
                let planned = plan(&window, batch.mapped.address(found.function), site, stub);
                let mut plans = plans();
                if plans.len() >= PLANS_MOST {
                    plans.clear();
                }
                plans.insert(key, planned.clone());
                planned
            }
        };
        let Some(planned) = planned.filter(|it| !batch.is_taken(it.range().start, it.range().end)) else {
            return Ok(false);
        };
        if !call_sites.add_stub(clock.area(), site, &planned.stub) {
            return Ok(false);
        }
        let Moved { site: start, new: code, stub: stub_code, places } = planned;
        let moved = MovedRead { site: start, code, stub, stub_code, places };
        self.moved.insert(place, moved.clone());
        batch.add(moved);
        Ok(true)
    }
}
