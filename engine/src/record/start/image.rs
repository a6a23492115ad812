//! The process image at the start of a recording.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::Pid;
use rrtest_preload::layout::{AREA, AREA_LEN};

use crate::Error;
use crate::trace::event::{Backing, Image, Mapping, Registers, Write};
use crate::trace::log::Log;
use crate::trace::log::inodes::Part;
use crate::tracee::{Line, Memory, PAGE, Place, TASK_SIZE, os, stack_limit};

/// Captures the image of a process that has just executed a program. Its files go into the log.
pub(in crate::record) fn image(
    program: &Path,
    lines: &[Line],
    registers: Registers,
    memory: &Memory,
    log: &mut Log,
) -> Result<Image, Error> {
    let mut mappings = Vec::new();
    let mut writes = Vec::new();
    for line in lines {
        if !belongs(line) {
            continue;
        }
        let stack = line.path == Path::new("[stack]");
        let file = if line.inode == 0 { None } else { Some(file(line, memory.pid(), log)?) };
        let has_file = file.is_some();
        mappings.push(Mapping {
            start: line.start,
            len: line.end - line.start,
            prot: line.prot,
            room: if stack { stack_limit(memory.pid())?.saturating_sub(line.end - line.start) } else { 0 },
            file,
        });
        // The kernel has written the stack above its pointer, and zeros after the file's part of a data segment.
        let written = if stack {
            Some(registers.sp())
        } else if has_file && line.prot & libc::PROT_WRITE != 0 {
            Some(line.end - PAGE)
        } else {
            None
        };
        if let Some(address) = written {
            let bytes = memory.bytes(address, (line.end - address) as usize)?;
            writes.push(Write { address, bytes });
        }
    }
    Ok(Image { program: program.display().to_string(), mappings, writes, registers })
}

/// Whether the image has a dynamic linker, a file besides the program's own.
pub(in crate::record) fn has_linker(image: &Image) -> bool {
    let mut files = image.mappings.iter().filter_map(|mapping| mapping.file.as_ref()).map(|file| file.inode);
    let first = files.next();
    files.any(|file| Some(file) != first)
}

/// Whether a mapping is the program's, neither the kernel's (vdso and its data) nor the recorder's.
pub(in crate::record) fn belongs(line: &Line) -> bool {
    let ours = line.start >= AREA as u64 && line.start < (AREA + AREA_LEN) as u64;
    let kernel = line.path.to_str().is_some_and(|path| path.starts_with("[v"));
    !ours && !kernel && line.start < TASK_SIZE
}

fn file(line: &Line, pid: Pid, log: &mut Log) -> Result<Backing, Error> {
    let failed = |what| os(format!("{what} `{}`, which the program maps", line.path.display()));
    let part = Part { offset: line.offset, len: line.end - line.start, stored: false };
    // A program's file is mapped several times.
    if let Some(Ok(known)) = log.mapped((line.dev, line.inode)).map(File::try_clone) {
        return log.map(&line.path, known, part).map_err(failed("read"));
    }
    // The program's own file may have no name any more, or never have had one.
    let is_exe = Place::Program.metadata(pid).is_ok_and(|metadata| metadata.ino() == line.inode);
    let path = if is_exe { Place::Program.path(pid) } else { line.path.clone() };
    let open = File::open(path).map_err(failed("open"))?;
    log.map(&line.path, open, part).map_err(failed("read"))
}
