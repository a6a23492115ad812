//! The memory that the recorder shares with the processes it drives.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};
use rrtest_preload::layout::{AREA, AREA_LEN, BUFFER, INJECTION, SCRATCH, SYS_INJECTED, Shared};

use super::list;
use super::memory_file::memory_file;
use crate::Error;
use crate::tracee::system::{TASK_SIZE, last_os, os};

/// Bytes of scratch memory for each task.
pub(in crate::tracee) const SCRATCH_LEN: usize = 64 << 10;

/// The shared area (see [`rrtest_preload::layout`]), as seen by the recorder.
///
/// The first page is [`Shared`]; the second has the code that makes injected calls. Then come the parts of the
/// system-call buffer (see `buffer`), and scratch memory, to which the kernel writes the outputs of a task that blocks
/// while others run.
#[derive(Debug)]
pub struct Area {
    file: File,
    base: NonNull<u8>,
}

// SAFETY: the mapping belongs to this value alone within the recorder; it is only moved between threads, not shared.
unsafe impl Send for Area {}

impl Area {
    /// Address of the injection code in the driven process.
    pub const CODE: u64 = INJECTION as u64;

    /// Instruction pointer of injected calls, which the filter lets through.
    pub const INJECTED_IP: u64 = Self::CODE + 2;

    /// Address of the code that makes the calls of a list ([`super::list`]).
    pub(in crate::tracee) const BATCH: u64 = Self::CODE + 16;

    /// Instruction pointer of those calls, which the filter lets through.
    pub(in crate::tracee) const BATCH_IP: u64 = Self::BATCH + list::CALLED;

    /// Address of the list, in scratch memory: neither replay nor a task that makes the calls needs it otherwise.
    pub(in crate::tracee) const LIST: u64 = SCRATCH as u64;

    /// Where the paths are that those calls bring along: behind the code, where a replayed process cannot write.
    pub(in crate::tracee) const PATHS: u64 = Self::BATCH + 0x70;

    /// How many of them there is room for.
    pub(in crate::tracee) const PATHS_MOST: usize = (BUFFER - Self::PATHS as usize) / list::PATH;

    /// The address of the countdown in the driven process.
    pub const COUNTDOWN: u64 = AREA as u64 + std::mem::offset_of!(Shared, countdown) as u64;

    /// Code that makes one call and then stops with the result in rdi: `syscall; mov rdi, rax; mov eax, SYS_INJECTED;
    /// syscall`.
    pub const INJECTION: [u8; 12] = {
        let n = (SYS_INJECTED as u32).to_le_bytes();
        [0x0f, 0x05, 0x48, 0x89, 0xc7, 0xb8, n[0], n[1], n[2], n[3], 0x0f, 0x05]
    };

    /// Creates an area. Memory is allocated only as it is touched.
    ///
    /// # Errors
    /// If the kernel has no memory or descriptor for it.
    pub fn new() -> Result<Self, Error> {
        super::counter::watch_counter();
        let file = memory_file(c"rrtest")?;
        file.set_len(AREA_LEN as u64).map_err(os("size shared memory"))?;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                AREA_LEN,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(last_os("map shared memory"));
        }
        let Some(base) = NonNull::new(base.cast()) else {
            return Err(last_os("map shared memory"));
        };
        let area = Self { file, base };
        area.copy_in(INJECTION, &Self::INJECTION);
        area.copy_in(Self::BATCH as usize, &list::CODE);
        Ok(area)
    }

    /// Returns the file to map.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns a path under which a driven process can open the area. It could not inherit a descriptor: programs close
    /// those that they do not know.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Returns what is left of the countdown.
    #[must_use]
    pub fn countdown(&self) -> u64 {
        self.countdown_cell().load(Ordering::Relaxed)
    }

    /// Sets the countdown. The driven task must not be running.
    pub fn set_countdown(&self, ticks: u64) {
        self.countdown_cell().store(ticks, Ordering::Relaxed);
    }

    /// Returns what is left of a watched timeslice.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.word(std::mem::offset_of!(Shared, left)).load(Ordering::Relaxed)
    }

    /// Sets what is left of a watched timeslice. The driven task must not be running.
    pub fn set_left(&self, ticks: u64) {
        self.word(std::mem::offset_of!(Shared, left)).store(ticks, Ordering::Relaxed);
    }

    fn countdown_cell(&self) -> &AtomicU64 {
        self.word(std::mem::offset_of!(Shared, countdown))
    }

    /// Returns the word at an offset in [`Shared`].
    pub(super) fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset < size_of::<Shared>());
        // SAFETY: `Shared` lies at the start of the mapping, which is page-aligned, large enough and lives as long as
        // `self`. Another process also writes it, so it is accessed atomically only.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// Whether a range of a driven process's memory overlaps the area. False for ranges that the kernel rejects anyway.
    #[must_use]
    pub fn overlaps(address: u64, len: u64) -> bool {
        let end = address.checked_add(len).filter(|end| *end <= TASK_SIZE);
        len > 0 && address < (AREA + AREA_LEN) as u64 && end.is_some_and(|end| end > AREA as u64)
    }

    /// Returns the address, in the driven process, of a task's scratch memory (`SCRATCH_LEN` bytes); `None` for a task
    /// beyond the area's end.
    #[must_use]
    pub fn scratch(task: u32) -> Option<u64> {
        let address = SCRATCH + task as usize * SCRATCH_LEN;
        (address + SCRATCH_LEN <= AREA + AREA_LEN).then_some(address as u64)
    }

    /// Saves the area's contents. No driven task must be running.
    ///
    /// # Errors
    /// If the kernel does not report which parts have been written.
    pub fn save(&self) -> Result<Saved, Error> {
        let parts = self.touched()?.into_iter();
        Ok(Saved(parts.map(|part| (part.start, self.copy_out(AREA + part.start, part.len()))).collect()))
    }

    /// Restores saved contents, and clears everything else. No driven task must be running.
    ///
    /// # Errors
    /// As [`Self::save`], or if the kernel does not take memory back.
    pub fn restore(&self, saved: &Saved) -> Result<(), Error> {
        let kept = saved.0.iter().map(|(start, bytes)| *start..*start + bytes.len());
        for part in self.touched()? {
            let mut at = part.start;
            for kept in kept.clone().filter(|kept| kept.end > part.start && kept.start < part.end) {
                self.clear(at..kept.start)?;
                at = at.max(kept.end);
            }
            self.clear(at..part.end)?;
        }
        for (start, bytes) in &saved.0 {
            self.copy_in(AREA + *start, bytes);
        }
        Ok(())
    }

    /// Returns the parts that have ever been written, in whole pages (lseek(2), `SEEK_DATA`).
    fn touched(&self) -> Result<Vec<Range<usize>>, Error> {
        let mut parts = Vec::new();
        let mut at = 0;
        loop {
            at = match lseek(&self.file, at, Whence::SeekData) {
                Ok(start) => start,
                Err(Errno::ENXIO) => return Ok(parts),
                Err(errno) => return Err(os("look at shared memory")(errno.into())),
            };
            let start = at as usize;
            at = lseek(&self.file, at, Whence::SeekHole)
                .map_err(|errno| os("look at shared memory")(errno.into()))?;
            parts.push(start..at as usize);
        }
    }

    /// Returns whole pages to the kernel; they read as zeros then (fallocate(2)).
    fn clear(&self, part: Range<usize>) -> Result<(), Error> {
        if part.is_empty() {
            return Ok(());
        }
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let (start, len) = (part.start as i64, part.len() as i64);
        fallocate(&self.file, flags, start, len).map_err(|errno| os("take back shared memory")(errno.into()))
    }

    /// Sets the paths that the calls of a list bring along; what is more than there is room for is left out.
    pub(in crate::tracee) fn set_paths(&self, paths: &[[u8; list::PATH]]) {
        self.copy_in(Self::PATHS as usize, paths[..paths.len().min(Self::PATHS_MOST)].as_flattened());
    }

    /// Write to the area, at an address in the driven process. The driven task must not be running.
    pub(super) fn copy_in(&self, address: usize, bytes: &[u8]) {
        // SAFETY: the range lies within the mapping and nobody holds references into it.
        unsafe { self.pointer(address, bytes.len()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Writes words to the area, at an address in the driven process. The driven task must not be running.
    pub(super) fn copy_in_words(&self, address: usize, words: &[u64]) {
        let len = size_of_val(words);
        // SAFETY: as above; any words are bytes.
        unsafe { self.pointer(address, len).copy_from_nonoverlapping(words.as_ptr().cast(), len) };
    }

    /// Reads from the area, at an address in the driven process. The driven task must not be running.
    pub(super) fn copy_out(&self, address: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        // SAFETY: as above.
        unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(self.pointer(address, len), len) };
        bytes
    }

    /// Translates an address in the driven process to one in this process.
    pub(super) fn pointer(&self, address: usize, len: usize) -> *mut u8 {
        // SAFETY: the range lies within the mapping (checked).
        unsafe { self.base.as_ptr().add(Self::offset(address, len)) }
    }

    fn offset(address: usize, len: usize) -> usize {
        let offset = address.checked_sub(AREA).filter(|offset| offset + len <= AREA_LEN);
        offset.expect("addresses of the area are constants, lengths are checked")
    }
}

/// Saved contents of an [`Area`]: the parts that had been written.
#[derive(Debug)]
pub struct Saved(Vec<(usize, Vec<u8>)>);

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and no reference into it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), AREA_LEN) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracee::system::PAGE;

    #[test]
    fn what_was_saved_is_back_and_nothing_else() {
        let area = Area::new().unwrap();
        let page = PAGE as usize;
        area.set_countdown(5);
        area.copy_in(AREA + 7 * page + 3, b"kept");
        let saved = area.save().unwrap();
        area.set_countdown(1);
        area.copy_in(AREA + 7 * page, b"overwritten");
        area.copy_in(AREA + 6 * page, b"before");
        area.copy_in(AREA + 8 * page, b"behind");
        area.copy_in(AREA + AREA_LEN - 4, b"last");
        area.restore(&saved).unwrap();
        assert_eq!(area.countdown(), 5);
        let touched = area.touched().unwrap();
        assert_eq!(touched, [0..2 * page, 7 * page..8 * page]);
        let mut expected = vec![0; page];
        expected[3..7].copy_from_slice(b"kept");
        assert_eq!(area.copy_out(AREA + 7 * page, page), expected);
    }
}
