//! Finds instructions in a file's code that read what the program cannot determine.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, LazyLock, Mutex};

use iced_x86::{Instruction, Mnemonic};
use nix::unistd::Pid;
use rrtest_preload::reads::{Read, What};

use super::functions::{FileState, Functions, Site, once};
use crate::tracee::proc::{Line, maps};

/// Such an instruction in a file.
type ReadSite = Site<What>;

/// The results for the files seen so far: each is searched once.
static KNOWN: LazyLock<Mutex<HashMap<FileState, Arc<[ReadSite]>>>> = LazyLock::new(Mutex::default);

/// Returns all such instructions in a file; none if it has no 64-bit code with call frame information.
///
/// # Errors
/// If the file cannot be read.
pub fn read_sites(file: &File) -> std::io::Result<Arc<[ReadSite]>> {
    once(&KNOWN, FileState::of(file)?, || {
        let functions = Functions::read(file)?;
        Ok(functions.map(|it| it.find(candidates, what)).unwrap_or_default().into())
    })
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

/// Finds bytes 0x0f that begin the opcode of such an instruction, or seem to.
fn candidates(code: &[u8]) -> Vec<usize> {
    let begins = |at: &usize| match code.get(at + 1..) {
        Some([0x31 | 0xa2, ..] | [0x01, 0xf9 | 0xd0, ..]) => true,
        // Group 9 with registers: rdrand is /6, rdseed and rdpid are /7.
        Some([0xc7, modrm, ..]) => *modrm >= 0xf0,
        _ => false,
    };
    memchr::memchr_iter(0x0f, code).filter(begins).collect()
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
        let found: Vec<_> = Functions::of_code(&code)
            .find(candidates, what)
            .iter()
            .map(|site| (site.at, site.what.read, site.what.register, site.what.bytes))
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
