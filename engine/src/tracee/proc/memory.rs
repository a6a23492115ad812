//! A traced process's memory.

use std::fs::{File, OpenOptions};
use std::io::{IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;

use crate::Error;
use crate::tracee::system::on_task;

/// A traced process's memory, through `/proc/PID/mem`: a tracer may also write where the process may not.
///
/// The file refers to the address space that the process had when it was opened: open it anew after execve(2).
#[derive(Debug)]
pub struct Memory {
    file: File,
    pid: Pid,
}

impl Memory {
    /// Opens the memory of a stopped process.
    ///
    /// # Errors
    /// If the process is gone or may not be traced.
    pub fn open(pid: Pid) -> Result<Self, Error> {
        let path = format!("/proc/{pid}/mem");
        let file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(on_task(format!("open {path}")))?;
        Ok(Self { file, pid })
    }

    /// Returns the process for which it was opened.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Fills `buffer` from `address` on.
    ///
    /// # Errors
    /// If not all of it is mapped.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let len = buffer.len();
        self.file.read_exact_at(buffer, address).map_err(|source| self.refused("read", address, len, source))
    }

    /// Reads `len` bytes from `address` on.
    ///
    /// # Errors
    /// If not all of them are mapped.
    pub fn bytes(&self, address: u64, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads many ranges, each an address and a length, in few calls. `None` if some of it is not mapped, may not be
    /// read by the process itself, or such calls are not allowed: then each must be read by itself.
    #[must_use]
    pub fn gather(&self, ranges: &[(u64, usize)]) -> Option<Vec<Vec<u8>>> {
        let mut all = Vec::with_capacity(ranges.len());
        for ranges in ranges.chunks(libc::UIO_MAXIOV as usize) {
            let remote =
                ranges.iter().map(|(address, len)| RemoteIoVec { base: *address as usize, len: *len });
            let remote: Vec<RemoteIoVec> = remote.collect();
            let mut bytes = vec![0; ranges.iter().map(|(_, len)| len).sum()];
            let got = process_vm_readv(self.pid, &mut [IoSliceMut::new(&mut bytes)], &remote).ok()?;
            if got < bytes.len() {
                return None;
            }
            let mut rest = &bytes[..];
            for (_, len) in ranges {
                let (one, behind) = rest.split_at(*len);
                all.push(one.to_vec());
                rest = behind;
            }
        }
        Some(all)
    }

    /// Reads up to `len` bytes from `address` on, as far as they are mapped.
    #[must_use]
    pub fn available(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let mut got = 0;
        while got < len {
            match self.file.read_at(&mut bytes[got..], address + got as u64) {
                Ok(n) if n > 0 => got += n,
                _ => break,
            }
        }
        bytes.truncate(got);
        bytes
    }

    /// Computes a digest of `len` bytes from `address` on; `None` if not all of them are mapped.
    #[must_use]
    pub fn digest(&self, address: u64, len: u64) -> Option<u32> {
        let mut hash = crc32fast::Hasher::new();
        let mut buffer = vec![0; 64 << 10];
        let end = address.checked_add(len)?;
        let mut at = address;
        while at < end {
            let part = (end - at).min(buffer.len() as u64) as usize;
            self.read(at, &mut buffer[..part]).ok()?;
            hash.update(&buffer[..part]);
            at += part as u64;
        }
        Some(hash.finalize())
    }

    /// Reads the text at `address`, up to a NUL byte, at most `most` bytes.
    #[must_use]
    pub fn text(&self, address: u64, most: usize) -> String {
        let bytes = self.available(address, most);
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    /// Reads the 32-bit word at `address`.
    ///
    /// # Errors
    /// If it is not mapped.
    pub fn u32(&self, address: u64) -> Result<u32, Error> {
        let mut word = [0; 4];
        self.read(address, &mut word)?;
        Ok(u32::from_ne_bytes(word))
    }

    /// Reads the 64-bit word at `address`.
    ///
    /// # Errors
    /// If it is not mapped.
    pub fn u64(&self, address: u64) -> Result<u64, Error> {
        let mut word = [0; 8];
        self.read(address, &mut word)?;
        Ok(u64::from_ne_bytes(word))
    }

    /// Reads as many of `N` 64-bit words from `address` on as fit into `len` bytes; the others are 0.
    ///
    /// # Errors
    /// If they are not all mapped.
    pub fn words<const N: usize>(&self, address: u64, len: u64) -> Result<[u64; N], Error> {
        let mut words = [[0; 8]; N];
        let fit = words.len().min(usize::try_from(len / 8).unwrap_or(usize::MAX));
        self.read(address, words[..fit].as_flattened_mut())?;
        Ok(words.map(u64::from_ne_bytes))
    }

    /// Writes `bytes` to `address`, whatever the protection there.
    ///
    /// # Errors
    /// If not all of it is mapped.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all_at(bytes, address)
            .map_err(|source| self.refused("write", address, bytes.len(), source))
    }

    /// Writes `bytes` to `address` with the rights of the process itself, as the kernel would for it.
    ///
    /// # Errors
    /// If not all of it is mapped and may be written.
    pub fn put(&self, task: Pid, address: u64, bytes: &[u8]) -> Result<(), Error> {
        let local = [IoSlice::new(bytes)];
        let remote = [RemoteIoVec { base: address as usize, len: bytes.len() }];
        match process_vm_writev(task, &local, &remote) {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(_) | Err(Errno::EFAULT) => {
                Err(self.refused("write", address, bytes.len(), Errno::EFAULT.into()))
            }
            // The process has another user's rights.
            Err(_) => self.write(address, bytes),
        }
    }

    fn refused(&self, what: &str, address: u64, len: usize, source: std::io::Error) -> Error {
        Error::Os { what: format!("{what} {len} bytes at {address:#x} of process {}", self.pid), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_ranges_are_read_in_their_order() {
        let own = Memory::open(Pid::this()).unwrap();
        let bytes: Vec<u8> = (0..=255).cycle().take(3000).collect();
        let start = bytes.as_ptr() as u64;
        // More of them than one call takes.
        let ranges: Vec<(u64, usize)> = (0..2500).rev().map(|at| (start + at as u64, at % 7)).collect();
        let read = own.gather(&ranges).unwrap();
        assert_eq!(read.len(), ranges.len());
        for ((address, len), read) in ranges.iter().zip(&read) {
            let at = (address - start) as usize;
            assert_eq!(*read, bytes[at..at + len]);
        }
        assert_eq!(own.gather(&[(start, 3), (8, 3)]), None, "nothing is mapped there");
        assert_eq!(own.gather(&[]), Some(Vec::new()));
    }
}
