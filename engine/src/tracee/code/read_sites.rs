//! Finds instructions in a file's code that read what the program cannot determine.
//!
//! The bytes of such instructions occur everywhere, in the middle of other instructions and in tables. So the function
//! that contains them is decoded from its beginning, which the call frame information shows (LSB core specification,
//! 10.6: `.eh_frame_hdr` has a sorted table for that; files without one have the section `.eh_frame`). Bytes outside
//! functions are left alone.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, LazyLock, Mutex};

use addr2line::gimli::{
    BaseAddresses, CieOrFde, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, UnwindSection,
};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};
use nix::unistd::Pid;
use object::elf::{PF_X, PT_GNU_EH_FRAME, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use rrtest_preload::reads::{Read, What};

use crate::tracee::proc::{Line, maps};

/// Such an instruction in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSite {
    /// Its offset in the file.
    pub at: u64,
    /// The offset of its function.
    pub function: u64,
    /// Its length.
    pub len: u8,
    /// What it reads.
    pub what: What,
}

/// Identifies a file in its present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileState([i64; 7]);

impl FileState {
    /// Returns the state of a file.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn of(file: &File) -> std::io::Result<Self> {
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

/// The results for the files seen so far: each is searched once.
static KNOWN: LazyLock<Mutex<HashMap<FileState, Arc<[ReadSite]>>>> = LazyLock::new(Mutex::default);

/// Returns all such instructions in a file; none if it has no 64-bit code with call frame information.
///
/// # Errors
/// If the file cannot be read.
pub fn read_sites(file: &File) -> std::io::Result<Arc<[ReadSite]>> {
    let key = FileState::of(file)?;
    let known = || KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(sites) = known().get(&key) {
        return Ok(Arc::clone(sites));
    }
    let sites: Arc<[ReadSite]> = look(file)?.into();
    known().insert(key, Arc::clone(&sites));
    Ok(sites)
}

/// Searches the libraries that this process uses: nearly every other program uses them too. This takes some
/// milliseconds.
pub fn get_ready() {
    let this = std::env::current_exe().unwrap_or_default();
    let lines = maps(Pid::this()).unwrap_or_default();
    let is_library = |line: &&Line| line.prot & libc::PROT_EXEC != 0 && line.inode != 0 && line.path != this;
    for library in lines.iter().filter(is_library) {
        // A file that cannot be read now is searched when it is needed.
        let _ = File::open(&library.path).and_then(|file| read_sites(&file));
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
        (self.address..self.address + self.len).contains(&address)
    }
}

type Header = object::elf::FileHeader64<object::LittleEndian>;
type Section = object::elf::SectionHeader64<object::LittleEndian>;

fn look(file: &File) -> std::io::Result<Vec<ReadSite>> {
    let nothing = Ok(Vec::new());
    let header = read(file, 0, size_of::<Header>() as u64)?;
    let Ok(header) = Header::parse(&*header) else {
        return nothing;
    };
    let endian = object::LittleEndian;
    if header.e_machine.get(endian) != object::elf::EM_X86_64 {
        return nothing;
    }
    let count = u64::from(header.e_phnum.get(endian));
    let table = header.e_phoff.get(endian);
    let size = size_of::<object::elf::ProgramHeader64<object::LittleEndian>>() as u64;
    let table = read(file, table, count * size)?;
    let Ok((headers, _)) = object::pod::slice_from_bytes::<object::elf::ProgramHeader64<object::LittleEndian>>(
        &table,
        count as usize,
    ) else {
        return nothing;
    };
    let part = |it: &object::elf::ProgramHeader64<object::LittleEndian>| Segment {
        address: it.p_vaddr(endian),
        offset: it.p_offset(endian),
        len: it.p_filesz(endian),
        code: it.p_flags(endian) & PF_X != 0,
    };
    let of_type = |kind: u32| headers.iter().filter(move |it| it.p_type(endian) == kind).map(part);
    let segments: Vec<Segment> = of_type(PT_LOAD).collect();
    let frames = match of_type(PT_GNU_EH_FRAME).next() {
        Some(index) => Frames::indexed(file, &index, &segments)?,
        None => Frames::of_section(file, header)?,
    };
    let Some(frames) = frames else { return nothing };
    let mut sites = Vec::new();
    for segment in segments.iter().filter(|segment| segment.code) {
        let code = read(file, segment.offset, segment.len)?;
        for at in candidates(&code) {
            let Some(start) = frames.function_of(segment.address + at as u64) else { continue };
            let Some(start) = start.checked_sub(segment.address).map(|it| it as usize) else { continue };
            let Some(function) = code.get(start..) else { continue };
            if let Some((instruction, what)) = instruction_at(function, at - start) {
                sites.push(ReadSite {
                    at: segment.offset + (start as u64 + instruction.ip()),
                    function: segment.offset + start as u64,
                    len: instruction.len() as u8,
                    what,
                });
            }
        }
    }
    Ok(sites)
}

/// The call frame information of a file.
enum Frames {
    /// With a table that is sorted by address: `.eh_frame_hdr`, which dynamically linked programs and libraries have.
    Indexed { index: Vec<u8>, index_address: u64, frames: Vec<u8>, address: u64 },
    /// The functions' addresses, sorted. Statically linked programs may have nothing but the section.
    Listed(Vec<Range<u64>>),
}

impl Frames {
    fn indexed(file: &File, index: &Segment, segments: &[Segment]) -> std::io::Result<Option<Self>> {
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

    fn of_section(file: &File, header: &Header) -> std::io::Result<Option<Self>> {
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
        let bases = BaseAddresses::default().set_eh_frame(section.sh_addr.get(endian));
        let frames = EhFrame::from(EndianSlice::new(&frames, LittleEndian));
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
        Ok(Some(Self::Listed(functions)))
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

fn read(file: &File, offset: u64, len: u64) -> std::io::Result<Vec<u8>> {
    /// More than any program has; a larger number is an error.
    const MOST: u64 = 4 << 30;
    if len > MOST {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// Finds bytes 0x0f that begin the opcode of such an instruction, or seem to.
fn candidates(code: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memchr_iter(0x0f, code).filter(|at| match code.get(at + 1..) {
        Some([0x31 | 0xa2, ..] | [0x01, 0xf9 | 0xd0, ..]) => true,
        // Group 9 with registers: rdrand is /6, rdseed and rdpid are /7.
        Some([0xc7, modrm, ..]) => *modrm >= 0xf0,
        _ => false,
    })
}

/// Returns the instruction of a function whose opcode is at an offset, if it is such an instruction. Its address is its
/// offset.
fn instruction_at(function: &[u8], at: usize) -> Option<(Instruction, What)> {
    let mut decoder = Decoder::with_ip(64, function, 0, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.position() <= at {
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            return None;
        }
    }
    what(&instruction).map(|what| (instruction, what))
}

/// Returns what an instruction reads, if it is such an instruction.
pub(super) fn what(instruction: &Instruction) -> Option<What> {
    let read = match instruction.mnemonic() {
        Mnemonic::Rdtsc => Read::Counter,
        Mnemonic::Rdtscp => Read::CounterAndCore,
        Mnemonic::Rdrand | Mnemonic::Rdseed => Read::Random,
        Mnemonic::Rdpid => Read::Core,
        Mnemonic::Cpuid => Read::Processor,
        Mnemonic::Xgetbv => Read::States,
        _ => return None,
    };
    let register = instruction.op0_register();
    let (number, bytes) = match read {
        Read::Random | Read::Core => (register.number() as u8, register.size() as u8),
        Read::Counter | Read::CounterAndCore | Read::Processor | Read::States => (0, 8),
    };
    Some(What { read, register: number, bytes, linker: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_told_from_bytes_like_theirs() {
        // mov eax, 0x310f; rdtsc; rdrand rdx; rdpid rcx; rdseed r9w; cmpxchg8b [rdi]; cpuid; rdtscp; xgetbv
        let code = [
            0xb8, 0x0f, 0x31, 0, 0, 0x0f, 0x31, 0x48, 0x0f, 0xc7, 0xf2, 0xf3, 0x0f, 0xc7, 0xf9, 0x66, 0x41,
            0x0f, 0xc7, 0xf9, 0x0f, 0xc7, 0x0f, 0x0f, 0xa2, 0x0f, 0x01, 0xf9, 0x0f, 0x01, 0xd0,
        ];
        let found: Vec<_> = candidates(&code)
            .filter_map(|at| instruction_at(&code, at))
            .map(|(instruction, what)| (instruction.ip(), what.read, what.register, what.bytes))
            .collect();
        let expected = [
            (5, Read::Counter, 0, 8),
            (7, Read::Random, 2, 8),
            (11, Read::Core, 1, 8),
            (15, Read::Random, 9, 2),
            (23, Read::Processor, 0, 8),
            (25, Read::CounterAndCore, 0, 8),
            (28, Read::States, 0, 8),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_dynamic_linker_asks_for_the_processor_and_the_time() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let path =
            maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/ld-"));
        let file = File::open(path.unwrap()).unwrap();
        let sites = read_sites(&file).unwrap();
        let count = |read| sites.iter().filter(|site| site.what.read == read).count();
        assert!(count(Read::Processor) >= 10 && count(Read::Counter) >= 1, "{sites:?}");
        assert!(sites.windows(2).all(|pair| pair[0].at < pair[1].at));
        assert!(sites.iter().all(|site| site.function <= site.at));
        assert!(Arc::ptr_eq(&sites, &read_sites(&file).unwrap()));
    }
}
