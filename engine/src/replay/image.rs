//! Filling an empty process from a recorded image.

use super::files::{Contents, Files};
use super::mapper::{Mapper, Place};
use crate::Error;
use crate::trace::event::{Image, Mapping};
use crate::tracee::{Area, Memory, Stopped, set_stack_limit};

/// Give an empty process the memory and registers of `image`.
pub(super) fn fill(
    task: Stopped,
    (memory, area): (&Memory, &Area),
    image: &Image,
    files: &mut Files,
    contents: &Contents<'_>,
) -> Result<Stopped, Error> {
    let mut task = task;
    let mut mapper = Mapper::default();
    for mapping in &image.mappings {
        map(&mut mapper, &task, mapping, files, contents)?;
        if mapper.is_full() {
            task = mapper.run(task, memory, area)?;
        }
    }
    task = mapper.run(task, memory, area)?;
    for write in &image.writes {
        memory.write(write.address, &write.bytes)?;
    }
    let mut registers = image.registers;
    registers.set_number(u64::MAX);
    task.set_registers(&registers)?;
    task.reset_vector_state()?;
    Ok(task)
}

fn map(
    mapper: &mut Mapper,
    task: &Stopped,
    mapping: &Mapping,
    files: &mut Files,
    contents: &Contents<'_>,
) -> Result<(), Error> {
    let place = Place { address: mapping.start, len: mapping.len, prot: mapping.prot as u64 };
    let mut flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE;
    if mapping.room > 0 {
        flags |= libc::MAP_GROWSDOWN;
        set_stack_limit(task.tid(), mapping.len.saturating_add(mapping.room))?;
    }
    match &mapping.file {
        Some(backing) => files.map(mapper, backing, place, flags, contents),
        None => mapper.anonymous(place, flags),
    }
}
