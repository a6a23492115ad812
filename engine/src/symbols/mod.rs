//! Stack traces: from registers and memory to functions, files and lines. Used only after a failure.
//!
//! Callers are found by the call frame information in `.eh_frame`, which Rust and glibc always have (x86-64 psABI,
//! section 3.7), so frame pointers are not needed. Names and lines come from DWARF, as far as the program has it.

mod awaits;
pub mod debug_files;
pub mod origin;
mod shared_code;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use addr2line::Loader;
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{FrameAddress, Module, ModuleSectionInfo, Unwinder};
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{LittleEndian, Object, ObjectSection, ObjectSymbol, ReadCache, SymbolKind, elf};

use awaits::{Futures, Place};
use origin::Origin;
use shared_code::{Functions, source_line};

use crate::ending::Frame;

/// Deeper stacks, which come from endless recursion, are cut off.
const MOST_FRAMES: usize = 256;

/// A part of a process's memory to which a file is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Start address.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// The file.
    pub path: PathBuf,
    /// Offset in the file.
    pub offset: u64,
}

impl Mapping {
    /// Whether an address is in it.
    #[must_use]
    pub fn has(&self, address: u64) -> bool {
        address.checked_sub(self.start).is_some_and(|offset| offset < self.len)
    }
}

/// The registers from which a stack is unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackRegisters {
    /// The instruction pointer.
    pub rip: u64,
    /// The stack pointer.
    pub rsp: u64,
    /// The frame pointer, or whatever else rbp contains.
    pub rbp: u64,
}

/// Symbols of a process's code. Each file is read once; its names are read only when a stack passes through it.
pub struct Symbols {
    unwinder: UnwinderX86_64<Vec<u8>>,
    cache: CacheX86_64,
    code: Vec<Code>,
    loaders: BTreeMap<PathBuf, Option<Loader>>,
    functions: BTreeMap<PathBuf, Functions>,
    futures: BTreeMap<PathBuf, Option<Futures>>,
}

/// The places on a stack, innermost first.
#[derive(Clone, Debug, Default)]
pub struct Stack(Vec<FrameAddress>);

/// Code of a file in memory.
struct Code {
    addresses: Range<u64>,
    /// Difference between addresses in memory and addresses in the file.
    bias: u64,
    path: PathBuf,
}

impl Symbols {
    /// Reads the code of a process with these mappings, in any order. Files that cannot be read, or are no programs or
    /// libraries, have no names.
    #[must_use]
    pub fn new(mappings: &[Mapping]) -> Self {
        let mut symbols = Self {
            unwinder: UnwinderX86_64::new(),
            cache: CacheX86_64::new(),
            code: Vec::new(),
            loaders: BTreeMap::new(),
            functions: BTreeMap::new(),
            futures: BTreeMap::new(),
        };
        let paths: BTreeSet<&Path> = mappings.iter().map(|mapping| mapping.path.as_path()).collect();
        for path in paths {
            // A file that cannot be read is treated as absent.
            let _ = symbols.add(path, mappings);
        }
        symbols
    }

    /// Returns a task's stack, innermost frame first. Inlined functions have frames of their own.
    ///
    /// `read` reads the task's memory: the whole buffer, or nothing. The stack ends where it returns false.
    pub fn backtrace(
        &mut self,
        registers: StackRegisters,
        read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
    ) -> Vec<Frame> {
        let stack = self.stack(registers, read);
        self.frames_of(&stack, &source_line).concat()
    }

    /// Returns a task's stack without names. This needs neither symbols nor debug information.
    pub fn stack(
        &mut self,
        registers: StackRegisters,
        read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
    ) -> Stack {
        Stack(self.unwind(registers, read).into_iter().map(|(address, _)| address).collect())
    }

    /// Returns the frames of a stack, innermost first: for each of the machine's those of the functions that are inlined
    /// there, and last that of the function itself. `line` reads a line of a source.
    pub fn frames_of(
        &mut self,
        stack: &Stack,
        line: &dyn Fn(&(String, u32)) -> Option<String>,
    ) -> Vec<Vec<Frame>> {
        let mut all: Vec<Vec<Frame>> = stack.0.iter().map(|address| self.frames(*address)).collect();
        for (index, address) in stack.0.iter().enumerate() {
            let Some(names) = self.names_at(address.address_for_lookup()) else { continue };
            let caller = all.get(index + 1).and_then(|frames| frames.first());
            let line = caller.and_then(|caller| line(caller.location.as_ref()?));
            if let Some(function) = all[index].last_mut() {
                function.function = Some(shared_code::name(&names, line.as_deref()));
            }
        }
        all
    }

    /// Returns where in memory those functions begin whose symbols are wanted.
    #[must_use]
    pub fn addresses_of(&self, wanted: impl Fn(&str) -> bool) -> Vec<u64> {
        let paths: BTreeSet<&Path> = self.code.iter().map(|code| code.path.as_path()).collect();
        let mut addresses = Vec::new();
        for path in paths {
            // A file that cannot be read any more has no names.
            for own in functions_of(path, &wanted).unwrap_or_default() {
                let code = self.code.iter().filter(|code| code.path == path);
                let at = code.map(|code| (own.wrapping_add(code.bias), &code.addresses));
                addresses.extend(at.filter(|(at, within)| within.contains(at)).map(|(at, _)| at));
            }
        }
        addresses
    }

    /// Returns what the future waits for that is driven by the innermost function of the user's own or by a function
    /// below it: the future that is awaited in the end, and the async functions that lead to it, innermost first. Empty
    /// if there is none, or if it is not certain.
    pub fn awaited(
        &mut self,
        registers: StackRegisters,
        read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
    ) -> Vec<Frame> {
        for (address, StackRegisters { rsp, rbp, .. }) in self.unwind(registers, read) {
            let lookup = address.address_for_lookup();
            let code = self.code.iter().find(|code| code.addresses.contains(&lookup));
            if let Some(code) = code {
                let place = Place { address: lookup - code.bias, rsp, rbp };
                let futures = self.futures.entry(code.path.clone());
                let futures = futures.or_insert_with(|| Futures::read(&code.path));
                if let Some(frames) = futures.as_ref().and_then(|futures| futures.awaited(place, read)) {
                    return frames;
                }
            }
            // A function of the user's own that runs is not waiting: futures suspended further out are being polled.
            if self.frames(address).iter().any(|frame| Origin::of(frame) == Origin::Own) {
                break;
            }
        }
        Vec::new()
    }

    /// Unwinds the stack: the machine's frames, innermost first, each with its registers.
    fn unwind(
        &mut self,
        registers: StackRegisters,
        read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
    ) -> Vec<(FrameAddress, StackRegisters)> {
        let mut read_word = |address| {
            let mut word = [0; 8];
            if read(address, &mut word) { Ok(u64::from_le_bytes(word)) } else { Err(()) }
        };
        let StackRegisters { rip, rsp, rbp } = registers;
        let mut unwound = UnwindRegsX86_64::new(rip, rsp, rbp);
        let mut address = FrameAddress::from_instruction_pointer(rip);
        let mut frames = vec![(address, registers)];
        while frames.len() < MOST_FRAMES
            && let Ok(Some(caller)) =
                self.unwinder.unwind_frame(address, &mut unwound, &mut self.cache, &mut read_word)
            && let Some(next) = FrameAddress::from_return_address(caller)
        {
            address = next;
            let registers = StackRegisters { rip: caller, rsp: unwound.sp(), rbp: unwound.bp() };
            frames.push((address, registers));
        }
        frames
    }

    /// Returns the names of the function at an address, if it has several.
    fn names_at(&mut self, address: u64) -> Option<Vec<String>> {
        let code = self.code.iter().find(|code| code.addresses.contains(&address))?;
        let functions = self.functions.entry(code.path.clone());
        let functions = functions.or_insert_with(|| Functions::read(&code.path).unwrap_or_default());
        functions.at(address - code.bias).map(<[String]>::to_vec)
    }

    /// Adds the code of a file. Returns `None` if it has none.
    fn add(&mut self, path: &Path, mappings: &[Mapping]) -> Option<()> {
        let file = ReadCache::new(File::open(path).ok()?);
        let file: ElfFile64<'_, LittleEndian, _> = ElfFile64::parse(&file).ok()?;
        let endian = LittleEndian;
        for segment in file.elf_program_headers() {
            if segment.p_type(endian) != elf::PT_LOAD || segment.p_flags(endian) & elf::PF_X == 0 {
                continue;
            }
            let (offset, address) = (segment.p_offset(endian), segment.p_vaddr(endian));
            for mapping in mappings.iter().filter(|mapping| mapping.path == path) {
                let Some(bias) = bias(mapping, offset, address) else { continue };
                let addresses =
                    bias + address..bias.saturating_add(address).saturating_add(segment.p_memsz(endian));
                let module =
                    Module::new(path.display().to_string(), addresses.clone(), bias, Sections(&file));
                self.unwinder.add_module(module);
                self.code.push(Code { addresses, bias, path: path.to_owned() });
            }
        }
        Some(())
    }

    /// Returns the frames at an address: one, and one more for each function inlined there.
    fn frames(&mut self, address: FrameAddress) -> Vec<Frame> {
        let mut frames = self.named(address).unwrap_or_default();
        if frames.is_empty() {
            frames.push(Frame { address: address.address(), function: None, location: None });
        }
        frames
    }

    fn named(&mut self, address: FrameAddress) -> Option<Vec<Frame>> {
        let lookup = address.address_for_lookup();
        let code = self.code.iter().find(|code| code.addresses.contains(&lookup))?;
        let loader = self.loaders.entry(code.path.clone()).or_insert_with(|| Loader::new(&code.path).ok());
        let (loader, own) = (loader.as_ref()?, lookup - code.bias);
        let mut frames = Vec::new();
        let mut inlined = loader.find_frames(own).ok()?;
        while let Ok(Some(frame)) = inlined.next() {
            let function = frame.function.as_ref().and_then(|name| name.demangle().ok());
            let location = frame.location.and_then(|at| Some((at.file?.to_owned(), at.line?)));
            frames.push(Frame {
                address: address.address(),
                function: function.map(std::borrow::Cow::into_owned),
                location,
            });
        }
        let symbol =
            || loader.find_symbol(own).map(|name| addr2line::demangle_auto(name.into(), None).into_owned());
        match frames.last_mut() {
            Some(outermost) if outermost.function.is_none() => outermost.function = symbol(),
            Some(_) => {}
            None => frames.push(Frame { address: address.address(), function: symbol(), location: None }),
        }
        Some(frames)
    }
}

/// Returns where those functions of a file begin whose symbols are wanted, in its own addresses.
fn functions_of(path: &Path, wanted: &impl Fn(&str) -> bool) -> Option<Vec<u64>> {
    let file = ReadCache::new(File::open(path).ok()?);
    let file: ElfFile64<'_, LittleEndian, _> = ElfFile64::parse(&file).ok()?;
    let functions = file.symbols().chain(file.dynamic_symbols());
    let functions = functions.filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition());
    let wanted = functions.filter(|symbol| symbol.name().is_ok_and(wanted));
    let addresses: BTreeSet<u64> = wanted.map(|symbol| symbol.address()).collect();
    Some(addresses.into_iter().collect())
}

/// Returns the difference between addresses in memory and in the file, if `mapping` maps the segment that begins at
/// `offset` of the file and at address `address`.
fn bias(mapping: &Mapping, offset: u64, address: u64) -> Option<u64> {
    // The loader gives each segment its own mapping, which starts with the page in which the segment begins. The
    // previous mapping may include that page too, but does not start with it.
    const PAGE: u64 = 4096;
    let begins = mapping.offset == offset / PAGE * PAGE;
    mapping.start.checked_add(offset % PAGE)?.checked_sub(address).filter(|_| begins)
}

/// Gives the unwinder a file's sections.
struct Sections<'file, F>(&'file F);

impl<'data, F: Object<'data>> ModuleSectionInfo<Vec<u8>> for Sections<'_, F> {
    fn base_svma(&self) -> u64 {
        0
    }

    fn section_svma_range(&mut self, name: &[u8]) -> Option<Range<u64>> {
        let section = self.0.section_by_name_bytes(name)?;
        Some(section.address()..section.address().checked_add(section.size())?)
    }

    fn section_data(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        Some(self.0.section_by_name_bytes(name)?.data().ok()?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::arch::asm;
    use std::fs;
    use std::io::IoSliceMut;

    use nix::sys::uio::{RemoteIoVec, process_vm_readv};
    use nix::unistd::Pid;

    use super::origin::interesting;
    use super::*;

    /// This process's own mappings, by proc(5).
    fn own_mappings() -> Vec<Mapping> {
        let number = |digits| u64::from_str_radix(digits, 16).unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines()
            .filter_map(|line| {
                let mut fields = line.split_ascii_whitespace();
                let (start, end) = fields.next()?.split_once('-')?;
                let offset = number(fields.nth(1)?);
                let path = fields.nth(2).filter(|path| path.starts_with('/'))?;
                let (start, end) = (number(start), number(end));
                Some(Mapping { start, len: end - start, path: path.into(), offset })
            })
            .collect()
    }

    fn read_own(address: u64, buffer: &mut [u8]) -> bool {
        let len = buffer.len();
        let remote = RemoteIoVec { base: usize::try_from(address).unwrap(), len };
        process_vm_readv(Pid::this(), &mut [IoSliceMut::new(buffer)], &[remote]) == Ok(len)
    }

    /// Calls `look` with the registers of here, while the stack above them stands.
    #[inline(never)]
    fn innermost<T>(look: &mut dyn FnMut(StackRegisters) -> T) -> (T, u32) {
        let mut registers = StackRegisters { rip: 0, rsp: 0, rbp: 0 };
        // SAFETY: copies registers, touches no memory, stack or flags.
        unsafe {
            asm!("lea {}, [rip]", "mov {}, rsp", "mov {}, rbp", out(reg) registers.rip, out(reg) registers.rsp,
                out(reg) registers.rbp, options(nomem, nostack, preserves_flags));
        }
        (look(registers), line!())
    }

    #[inline(always)]
    fn inlined<T>(look: &mut dyn FnMut(StackRegisters) -> T) -> (T, u32) {
        let result = innermost(look);
        (std::hint::black_box(result.0), line!() - 1)
    }

    #[inline(never)]
    fn outer<T>(look: &mut dyn FnMut(StackRegisters) -> T) -> (T, u32) {
        let result = inlined(look);
        (std::hint::black_box(result.0), line!() - 1)
    }

    fn names(frames: &[Frame]) -> Vec<&str> {
        frames.iter().map(|frame| frame.function.as_deref().unwrap_or("?")).collect()
    }

    /// The frame of the function of this module that is called `name`.
    fn find<'a>(frames: &'a [Frame], name: &str) -> (usize, &'a Frame) {
        let is = |frame: &Frame| {
            frame.function.as_ref().is_some_and(|it| it.contains(&format!("symbols::tests::{name}")))
        };
        let index = frames.iter().position(is);
        let index = index.unwrap_or_else(|| panic!("no {name} among {:?}", names(frames)));
        (index, &frames[index])
    }

    #[test]
    #[cfg_attr(not(debug_assertions), ignore = "release builds have no debug information to look at")]
    fn a_stack_has_functions_files_and_lines_up_to_the_threads_start() {
        let mut symbols = Symbols::new(&own_mappings());
        let (frames, line) = outer(&mut |registers| symbols.backtrace(registers, &mut read_own));
        let places = ["innermost", "inlined", "outer"].map(|name| find(&frames, name).0);
        assert!(places.is_sorted(), "{:?}", names(&frames));
        assert_eq!(places[0], 0);
        let (file, found) = find(&frames, "outer").1.location.clone().unwrap();
        assert!(file.ends_with("src/symbols/mod.rs"), "{file}");
        assert_eq!(found, line);
        // A frame of its own, though not one of the machine's stack.
        let [inlined, outer] = [1, 2].map(|place| &frames[places[place]]);
        assert_eq!(inlined.address, outer.address);
        assert_ne!(inlined.location, outer.location);
        // The stack reaches the thread's start in std, and continues into glibc.
        let start = frames
            .iter()
            .position(|frame| frame.function.as_ref().is_some_and(|name| name.contains("thread_start")));
        assert!(start.is_some_and(|start| start + 1 < frames.len()), "{:?}", names(&frames));
        assert!(frames.len() < MOST_FRAMES);
    }

    #[test]
    #[cfg_attr(not(debug_assertions), ignore = "release builds have no debug information to look at")]
    fn the_frame_of_interest_is_the_users() {
        let mut symbols = Symbols::new(&own_mappings());
        let mut seen = None;
        let mut look = |registers| seen = Some(symbols.backtrace(registers, &mut read_own));
        // std's sort calls a comparison of this module.
        let mut numbers = [2, 1];
        numbers.sort_by(|a, b| {
            innermost(&mut look);
            a.cmp(b)
        });
        let frames = seen.unwrap();
        assert_eq!(interesting(&frames), frames.first());
        let in_std =
            |frame: &Frame| frame.location.as_ref().is_some_and(|(path, _)| path.contains("/library/"));
        let sort = frames.iter().position(in_std).unwrap();
        let user = interesting(&frames[sort..]).unwrap().function.as_deref().unwrap();
        assert!(user.ends_with("the_frame_of_interest_is_the_users"), "{user}");
    }

    #[test]
    fn what_cannot_be_read_ends_the_stack() {
        let mut symbols = Symbols::new(&own_mappings());
        let (frames, _) = outer(&mut |registers| symbols.backtrace(registers, &mut |_, _| false));
        assert_eq!(find(&frames, "innermost").0, 0);
        let address = frames[0].address;
        assert!(frames.iter().all(|frame| frame.address == address), "{frames:?}");
        let nowhere = StackRegisters { rip: 0, rsp: 1, rbp: u64::MAX };
        assert!(symbols.backtrace(nowhere, &mut read_own).len() <= 1);
    }

    #[test]
    fn files_that_are_no_programs_stay_without_names() {
        let directory = tempfile::tempdir().unwrap();
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let damaged = [b"text".to_vec(), Vec::new(), own[..4096].to_vec(), own[..own.len() / 2].to_vec()];
        for (number, contents) in damaged.into_iter().enumerate() {
            let path = directory.path().join(number.to_string());
            fs::write(&path, contents).unwrap();
            let mappings = [0, 0x1000, 0x5000, 0x10_0000].map(|offset| Mapping {
                start: 0x40_0000 + offset,
                len: 0x100_0000,
                path: path.clone(),
                offset,
            });
            let registers = StackRegisters { rip: 0x40_2000, rsp: 0x1000, rbp: 0 };
            let frames = Symbols::new(&mappings).backtrace(registers, &mut |_, _| false);
            assert_eq!(names(&frames), ["?"], "file {number}");
        }
        let missing = Mapping { start: 0, len: 1, path: directory.path().join("none"), offset: u64::MAX };
        let nowhere = StackRegisters { rip: 0, rsp: 0, rbp: 0 };
        assert_eq!(names(&Symbols::new(&[missing]).backtrace(nowhere, &mut |_, _| false)), ["?"]);
    }
}
