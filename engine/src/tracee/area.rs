//! The memory that the recorder shares with the processes it drives.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rrtest_preload::layout::{AREA, AREA_LEN, SYS_INJECTED, Shared};

use crate::Error;
use crate::tracee::{PAGE, last_os};

/// Bytes of scratch memory for each task.
const SCRATCH: usize = 64 << 10;

/// The shared area (see [`rrtest_preload::layout`]), as the recorder sees it.
///
/// First page: [`Shared`]. Second page: code with which calls are injected. The rest: scratch memory, into which the
/// kernel writes what it has for a task that is blocked while others run.
#[derive(Debug)]
pub struct Area {
    file: File,
    base: NonNull<u8>,
}

// SAFETY: the mapping belongs to this value alone within the recorder; it is only moved between threads, not shared.
unsafe impl Send for Area {}

impl Area {
    /// The address of the injection code in the driven process.
    pub const CODE: u64 = AREA as u64 + PAGE;

    /// The value of the instruction pointer that marks an injected call: the filter lets it through.
    pub const INJECTED_IP: u64 = Self::CODE + 2;

    /// Code that makes one call and then stops with the result in rdi:
    /// `syscall; mov rdi, rax; mov eax, SYS_INJECTED; syscall`.
    pub const INJECTION: [u8; 12] = {
        let n = (SYS_INJECTED as u32).to_le_bytes();
        [0x0f, 0x05, 0x48, 0x89, 0xc7, 0xb8, n[0], n[1], n[2], n[3], 0x0f, 0x05]
    };

    /// Make one. Memory is used only as it is touched.
    ///
    /// # Errors
    /// If the kernel has no memory or descriptor for it.
    pub fn new() -> Result<Self, Error> {
        // SAFETY: the name is a valid C string; the descriptor is new and ours.
        let file = unsafe {
            let fd = libc::memfd_create(c"rrtest".as_ptr(), libc::MFD_CLOEXEC);
            if fd < 0 {
                return Err(last_os("create shared memory"));
            }
            File::from_raw_fd(fd)
        };
        file.set_len(AREA_LEN as u64).map_err(super::os("size shared memory"))?;
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
        area.copy_in(PAGE as usize, &Self::INJECTION);
        Ok(area)
    }

    /// The descriptor to map.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// A path under which a process that we start can open the area. Inheriting a descriptor would not do: programs close
    /// all that they do not know.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// What is left of the countdown.
    #[must_use]
    pub fn countdown(&self) -> u64 {
        self.countdown_cell().load(Ordering::Relaxed)
    }

    /// Set the countdown. The driven task must not be running.
    pub fn set_countdown(&self, ticks: u64) {
        self.countdown_cell().store(ticks, Ordering::Relaxed);
    }

    fn countdown_cell(&self) -> &AtomicU64 {
        // SAFETY: `Shared` lies at the start of the mapping, which is page-aligned, large enough and lives as long as
        // `self`. Another process also writes it, so it is accessed atomically only.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.base.as_ptr().cast::<Shared>()).countdown) }
    }

    /// The address, in the driven process, of a task's scratch memory ([`SCRATCH`] bytes); none for a task beyond the
    /// area's end.
    #[must_use]
    pub fn scratch(task: u32) -> Option<u64> {
        let offset = 2 * PAGE as usize + task as usize * SCRATCH;
        (offset + SCRATCH <= AREA_LEN).then_some((AREA + offset) as u64)
    }

    fn copy_in(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= AREA_LEN);
        // SAFETY: the range lies within the mapping (checked) and nobody holds references into it.
        unsafe { self.base.as_ptr().add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and no reference into it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), AREA_LEN) };
    }
}
