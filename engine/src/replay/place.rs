//! Where in a program an instruction is, in words: for reports of divergences.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use nix::unistd::Pid;

use crate::error::Error;
use crate::symbols::{Mapping, StackRegisters, Symbols};
use crate::tracee::{Line, Memory, maps};

/// Bytes of the longest instruction (Intel SDM, volume 2, 2.3.11).
const LONGEST: usize = 15;

/// Describes the instruction at an address: the instruction, the file that it comes from and the offset there, and the
/// nearest symbol if that file is at hand.
pub(super) fn describe(tid: Pid, memory: &Memory, ip: u64) -> String {
    let lines = maps(tid).unwrap_or_default();
    let line = lines.iter().find(|line| (line.start..line.end).contains(&ip));
    let Some(line) = line else { return "where nothing is mapped".to_owned() };
    let mut bytes = [0; LONGEST];
    let len = LONGEST.min((line.end - ip) as usize);
    let instruction = match memory.read(ip, &mut bytes[..len]) {
        Ok(()) => instruction(&bytes[..len], ip),
        Err(_) => "unreadable".to_owned(),
    };
    let Some(path) = file(line) else { return format!("`{instruction}`, in no file") };
    let offset = ip - line.start + line.offset;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let near =
        symbol(line, path, &bytes[..len], ip).map(|symbol| format!(" (near `{symbol}`)")).unwrap_or_default();
    format!("`{instruction}`, in {name}+{offset:#x}{near}")
}

fn instruction(bytes: &[u8], ip: u64) -> String {
    let instruction = Decoder::with_ip(64, bytes, ip, DecoderOptions::NONE).decode();
    let mut text = String::new();
    IntelFormatter::new().format(&instruction, &mut text);
    text
}

/// Returns what a process has mapped of files, by the names of their stand-ins.
pub(super) fn mapped(pid: Pid) -> Result<Vec<Mapping>, Error> {
    let lines = maps(pid)?;
    Ok(lines.iter().filter_map(|line| Some(mapping(line, file(line)?))).collect())
}

/// Returns what a process has mapped, with the recorded names of the files.
pub(super) fn map(pid: Pid) -> Result<Vec<Line>, Error> {
    let mut lines = maps(pid)?;
    for line in &mut lines {
        line.path = file(line).map(Path::to_owned).unwrap_or_default();
    }
    Ok(lines)
}

fn mapping(line: &Line, path: &Path) -> Mapping {
    Mapping { start: line.start, len: line.end - line.start, path: path.to_owned(), offset: line.offset }
}

/// Returns the file for which a mapping's stand-in has been made: that is the stand-in's name.
fn file(line: &Line) -> Option<&Path> {
    let name = line.path.to_str()?.strip_prefix("/memfd:")?;
    Some(Path::new(name.strip_suffix(" (deleted)").unwrap_or(name)))
}

/// Returns the nearest symbol, if the file is on this machine, with this code at this place.
fn symbol(line: &Line, path: &Path, code: &[u8], ip: u64) -> Option<String> {
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut found = vec![0; code.len()];
    File::open(path).ok()?.read_exact_at(&mut found, ip - line.start + line.offset).ok()?;
    if found != code {
        return None;
    }
    let registers = StackRegisters { rip: ip, rsp: 0, rbp: 0 };
    Symbols::new(&[mapping(line, path)]).backtrace(registers, &mut |_, _| false).into_iter().next()?.function
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_decoded() {
        assert_eq!(instruction(&[0x0f, 0x05, 0, 0], 0x1000), "syscall");
        assert_eq!(instruction(&[0x62, 0xe1, 0x7d, 0x48, 0xef, 0xc0], 0x1000), "vpxord zmm16,zmm0,zmm0");
        assert_eq!(instruction(&[0x06], 0x1000), "(bad)");
    }

    #[test]
    fn a_place_in_this_process_has_its_instruction() {
        let memory = Memory::open(Pid::this()).expect("this process's memory");
        let here = a_place_in_this_process_has_its_instruction as fn() as usize as u64;
        let place = describe(Pid::this(), &memory, here);
        // The file is no stand-in.
        assert!(place.starts_with('`') && place.ends_with("`, in no file"), "{place}");
        assert_eq!(describe(Pid::this(), &memory, 1), "where nothing is mapped");
    }
}
