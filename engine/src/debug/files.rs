//! The program, its libraries and sources, from the trace: gdb reads them as files of the machine that it debugs.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use gdbstub::common::Pid;
use gdbstub::target::TargetResult;
use gdbstub::target::ext::exec_file::ExecFile;
use gdbstub::target::ext::host_io::{
    FsKind, HostIo, HostIoClose, HostIoCloseOps, HostIoErrno, HostIoError, HostIoFstat, HostIoFstatOps,
    HostIoOpen, HostIoOpenFlags, HostIoOpenMode, HostIoOpenOps, HostIoPread, HostIoPreadOps, HostIoReadlink,
    HostIoReadlinkOps, HostIoResult, HostIoSetfs, HostIoSetfsOps, HostIoStat,
};

use super::debugger::Debugger;
use super::state::answers::{REFUSED, part};
use super::state::files::Opened;

impl Debugger<'_> {
    /// What /proc says of the memory of the process, as far as gdb reads it.
    fn maps(&self) -> Vec<u8> {
        let mut text = String::new();
        let lines = self.timeline.session().memory_map(self.shown()).unwrap_or_default();
        for line in lines {
            let may = |flag: i32, letter: char| if line.prot & flag == flag { letter } else { '-' };
            let (read, write) = (may(libc::PROT_READ, 'r'), may(libc::PROT_WRITE, 'w'));
            let (execute, shared) = (may(libc::PROT_EXEC, 'x'), if line.shared { 's' } else { 'p' });
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{:x}-{:x} {read}{write}{execute}{shared} {:08x} 00:00 0 {}",
                line.start,
                line.end,
                line.offset,
                line.path.display()
            );
        }
        text.into_bytes()
    }
}

impl ExecFile for Debugger<'_> {
    fn get_exec_file(
        &self,
        _: Option<Pid>,
        offset: u64,
        length: usize,
        buffer: &mut [u8],
    ) -> TargetResult<usize, Self> {
        let state = self.timeline.session().state();
        let (program, _) = state.program(self.shown()).ok_or(REFUSED)?;
        Ok(part(program.as_bytes(), offset, length, buffer))
    }
}

impl HostIo for Debugger<'_> {
    fn support_open(&mut self) -> Option<HostIoOpenOps<'_, Self>> {
        Some(self)
    }

    fn support_close(&mut self) -> Option<HostIoCloseOps<'_, Self>> {
        Some(self)
    }

    fn support_pread(&mut self) -> Option<HostIoPreadOps<'_, Self>> {
        Some(self)
    }

    fn support_fstat(&mut self) -> Option<HostIoFstatOps<'_, Self>> {
        Some(self)
    }

    fn support_readlink(&mut self) -> Option<HostIoReadlinkOps<'_, Self>> {
        Some(self)
    }

    fn support_setfs(&mut self) -> Option<HostIoSetfsOps<'_, Self>> {
        Some(self)
    }
}

impl HostIoOpen for Debugger<'_> {
    fn open(&mut self, name: &[u8], flags: HostIoOpenFlags, _: HostIoOpenMode) -> HostIoResult<u32, Self> {
        if flags != HostIoOpenFlags::O_RDONLY {
            return Err(HostIoError::Errno(HostIoErrno::EROFS));
        }
        let path = Path::new(OsStr::from_bytes(name));
        let is_maps = path.starts_with("/proc") && path.ends_with("maps");
        let opened = if is_maps {
            Opened::Text(self.maps())
        } else {
            let carried = self.files.carried();
            let mut copy = carried.file(path).map_err(HostIoError::Fatal)?;
            if copy.is_none()
                && let Some(linked) = carried.linked(path)
            {
                copy = carried.file(&linked).map_err(HostIoError::Fatal)?;
            }
            Opened::File(File::open(copy.ok_or(HostIoError::Errno(HostIoErrno::ENOENT))?)?)
        };
        self.files.add(opened).map_err(HostIoError::Errno)
    }
}

impl HostIoClose for Debugger<'_> {
    fn close(&mut self, number: u32) -> HostIoResult<(), Self> {
        self.files.close(number).map_err(HostIoError::Errno)
    }
}

impl HostIoPread for Debugger<'_> {
    fn pread(
        &mut self,
        number: u32,
        count: usize,
        offset: u64,
        buffer: &mut [u8],
    ) -> HostIoResult<usize, Self> {
        match self.files.get(number).map_err(HostIoError::Errno)? {
            Opened::File(file) => {
                let len = count.min(buffer.len());
                Ok(file.read_at(&mut buffer[..len], offset)?)
            }
            Opened::Text(text) => Ok(part(text, offset, count, buffer)),
        }
    }
}

impl HostIoFstat for Debugger<'_> {
    fn fstat(&mut self, number: u32) -> HostIoResult<HostIoStat, Self> {
        let size = match self.files.get(number).map_err(HostIoError::Errno)? {
            Opened::File(file) => file.metadata()?.len(),
            Opened::Text(text) => text.len() as u64,
        };
        Ok(HostIoStat {
            st_dev: 0,
            // Other files are other files.
            st_ino: number,
            st_mode: HostIoOpenMode::S_IFREG | HostIoOpenMode::S_IRUSR,
            st_nlink: 1,
            st_uid: 0,
            st_gid: 0,
            st_rdev: 0,
            st_size: size,
            st_blksize: 4096,
            st_blocks: size.div_ceil(512),
            st_atime: 0,
            st_mtime: 0,
            st_ctime: 0,
        })
    }
}

impl HostIoReadlink for Debugger<'_> {
    fn readlink(&mut self, _: &[u8], _: &mut [u8]) -> HostIoResult<usize, Self> {
        // What the trace has are files.
        Err(HostIoError::Errno(HostIoErrno::EINVAL))
    }
}

impl HostIoSetfs for Debugger<'_> {
    fn setfs(&mut self, _: FsKind) -> HostIoResult<(), Self> {
        Ok(())
    }
}
