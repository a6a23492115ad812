//! Filling an empty process from a recorded image.

use rrtest_preload::layout::{AREA, AREA_LEN};

use crate::Error;
use crate::trace::Source;
use crate::trace::event::{Image, Mapping};
use crate::tracee::{Memory, Stopped, TASK_SIZE, os, remote};

/// Give an empty process the memory and registers of `image`.
pub(super) fn fill(
    task: Stopped,
    memory: &Memory,
    image: &Image,
    trace: &dyn Source,
) -> Result<Stopped, Error> {
    let mut task = task;
    for mapping in &image.mappings {
        task = map(task, memory, mapping, trace)?;
    }
    for write in &image.writes {
        memory.write(write.address, &write.bytes)?;
    }
    let mut registers = image.registers;
    registers.set_number(u64::MAX);
    task.set_registers(&registers)?;
    task.reset_vector_state()?;
    Ok(task)
}

fn map(task: Stopped, memory: &Memory, mapping: &Mapping, trace: &dyn Source) -> Result<Stopped, Error> {
    let refused =
        |source| os(format!("map {} bytes at {:#x} in the replay", mapping.len, mapping.start))(source);
    let room = mapping.room.min(mapping.start);
    let (start, len) = (mapping.start - room, mapping.len.saturating_add(room));
    let end = start.checked_add(len).filter(|end| *end <= TASK_SIZE);
    let apart = end.is_some_and(|end| end <= AREA as u64 || start >= (AREA + AREA_LEN) as u64);
    if !apart {
        return Err(refused(std::io::Error::other("no program has memory there")));
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    let args = [start, len, mapping.prot as u64, flags as u64, u64::MAX, 0];
    let (task, result) = remote(task, libc::SYS_mmap as u64, args)?;
    if result != start.cast_signed() {
        return Err(refused(std::io::Error::from_raw_os_error((-result).try_into().unwrap_or(libc::EINVAL))));
    }
    if let Some(range) = mapping.file {
        let mut bytes = trace.file(range)?;
        bytes.truncate(mapping.len as usize);
        memory.write(mapping.start, &bytes)?;
    }
    Ok(task)
}
