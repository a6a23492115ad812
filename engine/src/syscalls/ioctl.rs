//! What ioctl(2) requests write.

/// How many bytes at argument 2 a successful request writes; none for a request that is not described.
#[must_use]
pub fn ioctl_output(request: u64) -> Option<u64> {
    /// Requests and the bytes they write.
    const REQUESTS: &[(u64, u64)] = &[
        (libc::TCGETS, 36),
        (libc::TCSETS, 0),
        (libc::TCSETSW, 0),
        (libc::TCSETSF, 0),
        (libc::TIOCGWINSZ, 8),
        (libc::TIOCSWINSZ, 0),
        (libc::TIOCGPGRP, 4),
        (libc::TIOCSPGRP, 0),
        (libc::FIONREAD, 4),
        (libc::FIONBIO, 0),
        (libc::FIOCLEX, 0),
        (libc::FIONCLEX, 0),
        (libc::FICLONE, 0),
        (libc::FICLONERANGE, 0),
        (libc::FS_IOC_GETFLAGS, 8),
        (libc::FS_IOC_SETFLAGS, 0),
    ];
    // The kernel looks at 32 bits of the request only.
    REQUESTS.iter().find(|(r, _)| *r as u32 == request as u32).map(|(_, bytes)| *bytes)
}
