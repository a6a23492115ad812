//! The machine code of a file, by functions: where instructions begin in it.
//!
//! The bytes of an instruction occur everywhere, in the middle of other instructions and in tables. So the function
//! that contains them is decoded from its beginning, which the call frame information shows (LSB core specification,
//! 10.6: `.eh_frame_hdr` has a sorted table for that; files without one have the section `.eh_frame`). Bytes outside
//! functions are left alone.

use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::io::{ErrorKind, Result};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex, PoisonError};

use addr2line::gimli::{
    BaseAddresses, CieOrFde, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, UnwindSection,
};
use iced_x86::{Decoder, DecoderOptions, Instruction};
use object::elf::{PF_W, PF_X, PT_GNU_EH_FRAME, PT_GNU_RELRO, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

/// Identifies a file in its present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileState([i64; 7]);

impl FileState {
    /// Returns the state of a file.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn of(file: &File) -> Result<Self> {
        let it = file.metadata()?;
        Ok(Self([
            it.dev().cast_signed(),
            it.ino().cast_signed(),
            it.size().cast_signed(),
            it.mtime(),
            it.mtime_nsec(),
            it.ctime(),
            it.ctime_nsec(),
        ]))
    }
}

/// Returns what is known under a key, or else what is searched for now: a file is searched once.
///
/// # Errors
/// Those of the search.
pub(super) fn once<K: Eq + Hash, T: ?Sized>(
    known: &Mutex<HashMap<K, Arc<T>>>,
    key: K,
    search: impl FnOnce() -> Result<Arc<T>>,
) -> Result<Arc<T>> {
    let known = || known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known().get(&key) {
        return Ok(Arc::clone(found));
    }
    let found = search()?;
    known().insert(key, Arc::clone(&found));
    Ok(found)
}

/// An instruction of a file that is to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site<T> {
    /// Its offset in the file.
    pub at: u64,
    /// The offset of its function.
    pub function: u64,
    /// Its length.
    pub len: u8,
    /// What it does.
    pub what: T,
}

/// A file's code.
pub(super) struct Functions {
    parts: Vec<Part>,
    frames: Frames,
    /// The addresses of what the program can write.
    data: Vec<Range<u64>>,
    /// Of those, what only the dynamic linker writes (`PT_GNU_RELRO`).
    relocated: Vec<Range<u64>>,
}

/// A part of a file that is mapped as code.
struct Part {
    address: u64,
    offset: u64,
    code: Vec<u8>,
}

impl Part {
    fn holds(&self, address: u64) -> bool {
        (self.address..self.address.saturating_add(self.code.len() as u64)).contains(&address)
    }

    /// Returns the site of an instruction of the function at offset `start`.
    fn site<T>(&self, start: usize, instruction: &Instruction, what: T) -> Site<T> {
        Site {
            at: self.offset + instruction.ip().wrapping_sub(self.address),
            function: self.offset + start as u64,
            len: instruction.len() as u8,
            what,
        }
    }
}

impl Functions {
    /// Reads a file's code. Returns `None` if it has no 64-bit code with call frame information.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn read(file: &File) -> Result<Option<Self>> {
        let header = read(file, 0, size_of::<Header>() as u64)?;
        let Ok(header) = Header::parse(&*header) else { return Ok(None) };
        let endian = object::LittleEndian;
        if header.e_machine.get(endian) != object::elf::EM_X86_64 {
            return Ok(None);
        }
        let count = u64::from(header.e_phnum.get(endian));
        let size = size_of::<ProgramPart>() as u64;
        let table = read(file, header.e_phoff.get(endian), count * size)?;
        let Ok((headers, _)) = object::pod::slice_from_bytes::<ProgramPart>(&table, count as usize) else {
            return Ok(None);
        };
        let segment = |it: &ProgramPart| Segment {
            address: it.p_vaddr(endian),
            offset: it.p_offset(endian),
            len: it.p_filesz(endian),
            code: it.p_flags(endian) & PF_X != 0,
        };
        let of_type = |kind: u32| headers.iter().filter(move |it| it.p_type(endian) == kind).map(segment);
        let segments: Vec<Segment> = of_type(PT_LOAD).collect();
        let frames = match of_type(PT_GNU_EH_FRAME).next() {
            Some(index) => Frames::indexed(file, &index, &segments)?,
            None => Frames::of_section(file, header)?,
        };
        let Some(frames) = frames else { return Ok(None) };
        let part = |it: &Segment| {
            Ok(Part { address: it.address, offset: it.offset, code: read(file, it.offset, it.len)? })
        };
        let parts = segments.iter().filter(|it| it.code).map(part).collect::<Result<_>>()?;
        let in_memory =
            |it: &ProgramPart| it.p_vaddr(endian)..it.p_vaddr(endian).saturating_add(it.p_memsz(endian));
        let of_type = |kind: u32| headers.iter().filter(move |it| it.p_type(endian) == kind);
        let data = of_type(PT_LOAD).filter(|it| it.p_flags(endian) & PF_W != 0).map(in_memory).collect();
        let relocated = of_type(PT_GNU_RELRO).map(in_memory).collect();
        Ok(Some(Self { parts, frames, data, relocated }))
    }

    /// Returns a single function with this code, at address and offset 0, and data from 0x4100 to 0x4fff.
    #[cfg(test)]
    #[expect(clippy::single_range_in_vec_init, reason = "there is one of each")]
    pub(super) fn of_code(code: &[u8]) -> Self {
        let part = Part { address: 0, offset: 0, code: code.to_vec() };
        let frames = Frames::Listed(vec![0..code.len() as u64]);
        Self { parts: vec![part], frames, data: vec![0x4000..0x5000], relocated: vec![0x4000..0x4100] }
    }

    /// Shows each instruction of every function to `look`, function by function. Instructions have the addresses for which the file was linked.
    pub(super) fn look_at_all(&self, mut look: impl FnMut(&Function<'_>, &Instruction)) {
        for range in self.frames.list() {
            let Some(part) = self.parts.iter().find(|part| part.holds(range.start)) else { continue };
            let start = (range.start - part.address) as usize;
            let end = part.code.len().min(range.end.saturating_sub(part.address) as usize);
            let Some(code) = part.code.get(start..end) else { continue };
            let function = Function { part, start, code, offset: part.offset + start as u64 };
            let decoder = Decoder::with_ip(64, code, range.start, DecoderOptions::NONE);
            for instruction in decoder.into_iter().take_while(|it| !it.is_invalid()) {
                look(&function, &instruction);
            }
        }
    }

    /// Returns the offset in the file of what was linked to an address, if it is code.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        let part = self.parts.iter().find(|part| part.holds(address))?;
        Some(part.offset + (address - part.address))
    }

    /// Whether the program can write what was linked to an address, other than when it is loaded.
    pub(super) fn is_data(&self, address: u64) -> bool {
        self.data.iter().any(|data| data.contains(&address))
            && !self.relocated.iter().any(|relocated| relocated.contains(&address))
    }

    /// Finds instructions: those that contain a byte at one of the `candidates`, which are offsets in ascending order
    /// in the code that they are given, and of which `what` tells something.
    pub(super) fn find<T>(
        &self,
        candidates: impl Fn(&[u8]) -> Vec<usize>,
        what: impl Fn(&Instruction) -> Option<T>,
    ) -> Vec<Site<T>> {
        let mut sites = Vec::new();
        for part in &self.parts {
            let start_of = |at: usize| {
                let start = self.frames.function_of(part.address.wrapping_add(at as u64))?;
                Some(start.checked_sub(part.address)? as usize)
            };
            let mut walk: Option<Walk<'_>> = None;
            for at in candidates(&part.code) {
                let Some(start) = start_of(at) else { continue };
                if walk.as_ref().is_none_or(|walk| walk.start != start) {
                    walk = part.code.get(start..).map(|code| Walk::new(start, code, part.address));
                }
                let Some(instruction) = walk.as_mut().and_then(|walk| walk.reach(at)) else { continue };
                sites.extend(what(&instruction).map(|what| part.site(start, &instruction, what)));
            }
        }
        sites
    }
}

/// A function in a file.
pub(super) struct Function<'a> {
    part: &'a Part,
    /// Offset in the part.
    start: usize,
    /// Its code.
    pub(super) code: &'a [u8],
    /// Its offset in the file.
    pub(super) offset: u64,
}

impl Function<'_> {
    /// Returns the site of one of its instructions.
    pub(super) fn site<T>(&self, instruction: &Instruction, what: T) -> Site<T> {
        self.part.site(self.start, instruction, what)
    }
}

/// Decodes a function from its beginning.
struct Walk<'a> {
    start: usize,
    address: u64,
    decoder: Decoder<'a>,
    invalid: bool,
}

impl<'a> Walk<'a> {
    /// Begins with the code from offset `start` on of a part at `address`.
    fn new(start: usize, code: &'a [u8], address: u64) -> Self {
        let decoder = Decoder::with_ip(64, code, address.wrapping_add(start as u64), DecoderOptions::NONE);
        Self { start, address, decoder, invalid: false }
    }

    /// Returns the next instruction that contains the byte at offset `at`, if it has not been returned yet.
    fn reach(&mut self, at: usize) -> Option<Instruction> {
        let mut instruction = None;
        while !self.invalid && self.decoder.ip() <= self.address.wrapping_add(at as u64) {
            let decoded = instruction.insert(self.decoder.decode());
            self.invalid = decoded.is_invalid();
        }
        instruction.filter(|it| !it.is_invalid())
    }
}

/// A part of a file that is mapped.
struct Segment {
    address: u64,
    offset: u64,
    len: u64,
    code: bool,
}

impl Segment {
    fn holds(&self, address: u64) -> bool {
        (self.address..self.address.saturating_add(self.len)).contains(&address)
    }
}

type Header = object::elf::FileHeader64<object::LittleEndian>;
type ProgramPart = object::elf::ProgramHeader64<object::LittleEndian>;
type Section = object::elf::SectionHeader64<object::LittleEndian>;

/// The call frame information of a file.
enum Frames {
    /// With a table that is sorted by address: `.eh_frame_hdr`, which dynamically linked programs and libraries have.
    Indexed { index: Vec<u8>, index_address: u64, frames: Vec<u8>, address: u64 },
    /// The functions' addresses, sorted. Statically linked programs may have nothing but the section.
    Listed(Vec<Range<u64>>),
}

impl Frames {
    fn indexed(file: &File, index: &Segment, segments: &[Segment]) -> Result<Option<Self>> {
        let index_address = index.address;
        let index = read(file, index.offset, index.len)?;
        let bases = BaseAddresses::default().set_eh_frame_hdr(index_address);
        let address = match EhFrameHdr::new(&index, LittleEndian).parse(&bases, 8) {
            Ok(parsed) if parsed.table().is_some() => parsed.eh_frame_ptr(),
            _ => return Ok(None),
        };
        let addr2line::gimli::Pointer::Direct(address) = address else { return Ok(None) };
        let Some(segment) = segments.iter().find(|segment| segment.holds(address)) else { return Ok(None) };
        let ahead = address - segment.address;
        let frames = read(file, segment.offset + ahead, segment.len - ahead)?;
        Ok(Some(Self::Indexed { index, index_address, frames, address }))
    }

    fn of_section(file: &File, header: &Header) -> Result<Option<Self>> {
        let endian = object::LittleEndian;
        let count = header.e_shnum.get(endian);
        let size = size_of::<Section>() as u64;
        let table = read(file, header.e_shoff.get(endian), u64::from(count) * size)?;
        let Ok((sections, _)) = object::pod::slice_from_bytes::<Section>(&table, count.into()) else {
            return Ok(None);
        };
        let bytes = |it: &Section| read(file, it.sh_offset.get(endian), it.sh_size.get(endian));
        let Some(names) = sections.get(usize::from(header.e_shstrndx.get(endian))) else { return Ok(None) };
        let names = bytes(names)?;
        let is_named = |it: &&Section, name: &[u8]| {
            names.get(it.sh_name.get(endian) as usize..).is_some_and(|rest| rest.starts_with(name))
        };
        let Some(section) = sections.iter().find(|it| is_named(it, b".eh_frame\0")) else { return Ok(None) };
        let frames = bytes(section)?;
        Ok(Some(Self::Listed(listed(&frames, section.sh_addr.get(endian)))))
    }

    /// Returns all functions.
    fn list(&self) -> Vec<Range<u64>> {
        match self {
            Self::Indexed { frames, address, .. } => listed(frames, *address),
            Self::Listed(functions) => functions.clone(),
        }
    }

    /// Where the function begins that an address is in.
    fn function_of(&self, at: u64) -> Option<u64> {
        match self {
            Self::Indexed { index, index_address, frames, address } => {
                let bases = BaseAddresses::default().set_eh_frame_hdr(*index_address).set_eh_frame(*address);
                let index = EhFrameHdr::new(index, LittleEndian).parse(&bases, 8).ok()?;
                let frames = EhFrame::from(EndianSlice::new(frames, LittleEndian));
                let fde = index.table()?.fde_for_address(&frames, &bases, at, EhFrame::cie_from_offset);
                Some(fde.ok()?.initial_address())
            }
            Self::Listed(functions) => {
                let behind = functions.partition_point(|function| function.start <= at);
                let function = functions.get(behind.checked_sub(1)?)?;
                function.contains(&at).then_some(function.start)
            }
        }
    }
}

fn read(file: &File, offset: u64, len: u64) -> Result<Vec<u8>> {
    /// More than any program has; a larger number is an error.
    const MOST: u64 = 4 << 30;
    if len > MOST {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// Returns the functions that call frame information at an address is about, sorted.
fn listed(frames: &[u8], address: u64) -> Vec<Range<u64>> {
    let bases = BaseAddresses::default().set_eh_frame(address);
    let frames = EhFrame::from(EndianSlice::new(frames, LittleEndian));
    let mut functions = Vec::new();
    let mut entries = frames.entries(&bases);
    // What comes behind an entry that makes no sense is left alone.
    while let Ok(Some(entry)) = entries.next() {
        if let CieOrFde::Fde(partial) = entry
            && let Ok(fde) = partial.parse(EhFrame::cie_from_offset)
        {
            let start = fde.initial_address();
            functions.push(start..start.saturating_add(fde.len()));
        }
    }
    functions.sort_by_key(|function| function.start);
    functions
}
