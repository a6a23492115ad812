//! The requests of ioctl(2).

use crate::syscalls::describe::{
    Answer,
    Answer::{Refused, Writes},
    Commands, Key,
    Out::{Always, Counted, Encoded, Fixed, Pointed},
};

/// ioctl(2): the request is in argument 1, outputs go to argument 2. A request that fails (`ENOTTY` if a descriptor
/// does not support it) writes nothing, so it needs no description.
pub(in crate::syscalls) static IOCTL: Commands =
    Commands { what: "ioctl request", key: Key::Argument(1), known: REQUESTS, others: encoded };

const QUIET: Answer = Writes(&[]);
const BYTE: Answer = Writes(&[Fixed(2, 1)]);
const SHORT: Answer = Writes(&[Fixed(2, 2)]);
const INT: Answer = Writes(&[Fixed(2, 4)]);
const LONG: Answer = Writes(&[Fixed(2, 8)]);
const TERMIO: Answer = Writes(&[Fixed(2, 18)]);
const TERMIOS: Answer = Writes(&[Fixed(2, 36)]);
const TIMEVAL: Answer = Writes(&[Fixed(2, 16)]);
const IFREQ: Answer = Writes(&[Fixed(2, 40)]);
const DENIED: Answer = Refused(libc::EPERM);

/// Sources are linux/ioctl.h, sys/ioctl.h and the manual pages named below. Bare numbers have no constant in the libc
/// crate.
const REQUESTS: &[(u64, Answer)] = &[
    // Descriptors.
    (libc::FIONREAD, INT),
    (libc::FIONBIO, QUIET),
    (libc::FIOASYNC, QUIET),
    (libc::FIOCLEX, QUIET),
    (libc::FIONCLEX, QUIET),
    (0x5460, LONG), // FIOQSIZE
    // Terminals: ioctl_tty(2).
    (libc::TCGETS, TERMIOS),
    (libc::TCSETS, QUIET),
    (libc::TCSETSW, QUIET),
    (libc::TCSETSF, QUIET),
    (libc::TCGETA, TERMIO),
    (libc::TCSETA, QUIET),
    (libc::TCSETAW, QUIET),
    (libc::TCSETAF, QUIET),
    (libc::TCSBRK, QUIET),
    (libc::TCSBRKP, QUIET),
    (libc::TIOCSBRK, QUIET),
    (libc::TIOCCBRK, QUIET),
    (libc::TCXONC, QUIET),
    (libc::TCFLSH, QUIET),
    (libc::TIOCEXCL, QUIET),
    (libc::TIOCNXCL, QUIET),
    (libc::TIOCSCTTY, QUIET),
    (libc::TIOCNOTTY, QUIET),
    (libc::TIOCGPGRP, INT),
    (libc::TIOCSPGRP, QUIET),
    (libc::TIOCGSID, INT),
    (libc::TIOCOUTQ, INT),
    (libc::TIOCGWINSZ, LONG),
    (libc::TIOCSWINSZ, QUIET),
    (libc::TIOCMGET, INT),
    (libc::TIOCMBIS, QUIET),
    (libc::TIOCMBIC, QUIET),
    (libc::TIOCMSET, QUIET),
    (libc::TIOCGSOFTCAR, INT),
    (libc::TIOCSSOFTCAR, QUIET),
    (libc::TIOCPKT, QUIET),
    (0x5423, QUIET),   // TIOCSETD
    (0x5424, INT),     // TIOCGETD
    (0x5437, QUIET),   // TIOCVHANGUP
    (0x5441, QUIET),   // TIOCGPTPEER
    (0x5456, TERMIOS), // TIOCGLCKTRMIOS
    (0x5457, QUIET),   // TIOCSLCKTRMIOS
    // These would type at, or take over, somebody's terminal.
    (libc::TIOCSTI, DENIED),
    (libc::TIOCLINUX, DENIED),
    (libc::TIOCCONS, DENIED),
    // Consoles: ioctl_console(2).
    (0x4b33, BYTE),                   // KDGKBTYPE
    (0x4b3b, INT),                    // KDGETMODE
    (0x4b44, INT),                    // KDGKBMODE
    (0x5600, INT),                    // VT_OPENQRY
    (0x5603, Writes(&[Fixed(2, 6)])), // VT_GETSTATE
    // Sockets: socket(7), unix(7), tcp(7).
    (0x8901, QUIET),   // FIOSETOWN
    (0x8902, QUIET),   // SIOCSPGRP
    (0x8903, INT),     // FIOGETOWN
    (0x8904, INT),     // SIOCGPGRP
    (0x8905, INT),     // SIOCATMARK
    (0x8906, TIMEVAL), // SIOCGSTAMP
    (0x8907, TIMEVAL), // SIOCGSTAMPNS
    (0x8010_8906, TIMEVAL),
    (0x8010_8907, TIMEVAL),
    (0x894b, INT),   // SIOCOUTQNSD
    (0x89e0, QUIET), // SIOCUNIXFILE
    // Network interfaces: netdevice(7), arp(7).
    (0x8910, IFREQ),                                                          // SIOCGIFNAME
    (0x8912, Writes(&[Fixed(2, 16), Pointed { at: 2, pointer: 8, len: 0 }])), // SIOCGIFCONF
    (0x8913, IFREQ),                                                          // SIOCGIFFLAGS
    (0x8914, QUIET),                                                          // SIOCSIFFLAGS
    (0x8915, IFREQ),                                                          // SIOCGIFADDR
    (0x8916, QUIET),                                                          // SIOCSIFADDR
    (0x8917, IFREQ),                                                          // SIOCGIFDSTADDR
    (0x8918, QUIET),                                                          // SIOCSIFDSTADDR
    (0x8919, IFREQ),                                                          // SIOCGIFBRDADDR
    (0x891a, QUIET),                                                          // SIOCSIFBRDADDR
    (0x891b, IFREQ),                                                          // SIOCGIFNETMASK
    (0x891c, QUIET),                                                          // SIOCSIFNETMASK
    (0x891d, IFREQ),                                                          // SIOCGIFMETRIC
    (0x891e, QUIET),                                                          // SIOCSIFMETRIC
    (0x8921, IFREQ),                                                          // SIOCGIFMTU
    (0x8922, QUIET),                                                          // SIOCSIFMTU
    (0x8923, QUIET),                                                          // SIOCSIFNAME
    (0x8927, IFREQ),                                                          // SIOCGIFHWADDR
    (0x8931, QUIET),                                                          // SIOCADDMULTI
    (0x8932, QUIET),                                                          // SIOCDELMULTI
    (0x8933, IFREQ),                                                          // SIOCGIFINDEX
    (0x8942, IFREQ),                                                          // SIOCGIFTXQLEN
    (0x8943, QUIET),                                                          // SIOCSIFTXQLEN
    (0x8954, Writes(&[Fixed(2, 68)])),                                        // SIOCGARP
    (0x8970, IFREQ),                                                          // SIOCGIFMAP
    // TUN and TAP: they do not write what is encoded in the request.
    (0x4004_54ca, IFREQ), // TUNSETIFF
    (0x8004_54d2, IFREQ), // TUNGETIFF
    (0x8004_54cf, INT),   // TUNGETFEATURES
    (0x4004_54cb, QUIET), // TUNSETPERSIST
    (0x4004_54cc, QUIET), // TUNSETOWNER
    // Files: ioctl_ficlone(2), ioctl_fideduperange(2), ioctl_getfsmap(2), ioctl_iflags(2), ioctl_fslabel(2).
    (libc::FICLONE, QUIET),
    (libc::FICLONERANGE, QUIET),
    (0xc018_9436, Writes(&[Counted { at: 2, header: 24, count: 16, room: None, size: 32 }])), // FIDEDUPERANGE
    (libc::FS_IOC_GETFLAGS, INT),
    (libc::FS_IOC_SETFLAGS, QUIET),
    (libc::FS_IOC_GETVERSION, INT),
    (libc::FS_IOC_SETVERSION, QUIET),
    (
        0xc020_660b,
        Writes(&[Counted { at: 2, header: 32, count: 20, room: Some(24), size: 56 }, Always(2, 32)]),
    ), // FS_IOC_FIEMAP
    (0x801c_581f, Writes(&[Fixed(2, 28)])),  // FS_IOC_FSGETXATTR
    (0x401c_5820, QUIET),                    // FS_IOC_FSSETXATTR
    (0x8100_9431, Writes(&[Fixed(2, 256)])), // FS_IOC_GETFSLABEL
    (0x4100_9432, QUIET),                    // FS_IOC_SETFSLABEL
    (0x8011_1500, Writes(&[Fixed(2, 17)])),  // FS_IOC_GETFSUUID
    (0x8081_1501, Writes(&[Fixed(2, 129)])), // FS_IOC_GETFSSYSFSPATH
    // linux/falloc.h
    (0x4030_5828, QUIET),                   // FS_IOC_RESVSP
    (0x4030_5829, QUIET),                   // FS_IOC_UNRESVSP
    (0x4030_582a, QUIET),                   // FS_IOC_RESVSP64
    (0x4030_582b, QUIET),                   // FS_IOC_UNRESVSP64
    (0x4030_5839, QUIET),                   // FS_IOC_ZERO_RANGE
    (0x0001, INT),                          // FIBMAP
    (0x0002, INT),                          // FIGETBSZ
    (0xc004_5877, DENIED),                  // FIFREEZE
    (0xc004_5878, DENIED),                  // FITHAW
    (0xc018_5879, Writes(&[Fixed(2, 24)])), // FITRIM
    // Mappings of a process: the query, its name and its build id.
    (
        0xc068_6611,
        Writes(&[
            Fixed(2, 104),
            Pointed { at: 2, pointer: 88, len: 80 },
            Pointed { at: 2, pointer: 96, len: 84 },
        ]),
    ), // PROCMAP_QUERY
    // Block devices.
    (0x125d, QUIET),                   // BLKROSET
    (0x125e, INT),                     // BLKROGET
    (0x1260, LONG),                    // BLKGETSIZE
    (0x1261, QUIET),                   // BLKFLSBUF
    (0x1263, LONG),                    // BLKRAGET
    (0x1265, LONG),                    // BLKFRAGET
    (0x1267, SHORT),                   // BLKSECTGET
    (0x1268, INT),                     // BLKSSZGET
    (0x8008_1270, INT),                // BLKBSZGET
    (0x8008_1272, LONG),               // BLKGETSIZE64
    (0x1277, QUIET),                   // BLKDISCARD
    (0x1278, INT),                     // BLKIOMIN
    (0x1279, INT),                     // BLKIOOPT
    (0x127a, INT),                     // BLKALIGNOFF
    (0x127b, INT),                     // BLKPBSZGET
    (0x127c, INT),                     // BLKDISCARDZEROES
    (0x127e, SHORT),                   // BLKROTATIONAL
    (0x127f, QUIET),                   // BLKZEROOUT
    (0x8008_1280, LONG),               // BLKGETDISKSEQ
    (0x0301, Writes(&[Fixed(2, 16)])), // HDIO_GETGEO
    // Loop devices: loop(4).
    (0x4c00, QUIET),                    // LOOP_SET_FD
    (0x4c01, QUIET),                    // LOOP_CLR_FD
    (0x4c02, QUIET),                    // LOOP_SET_STATUS
    (0x4c03, Writes(&[Fixed(2, 168)])), // LOOP_GET_STATUS
    (0x4c04, QUIET),                    // LOOP_SET_STATUS64
    (0x4c05, Writes(&[Fixed(2, 232)])), // LOOP_GET_STATUS64
    (0x4c06, QUIET),                    // LOOP_CHANGE_FD
    (0x4c07, QUIET),                    // LOOP_SET_CAPACITY
    (0x4c08, QUIET),                    // LOOP_SET_DIRECT_IO
    (0x4c09, QUIET),                    // LOOP_SET_BLOCK_SIZE
    (0x4c0a, QUIET),                    // LOOP_CONFIGURE
    (0x4c80, QUIET),                    // LOOP_CTL_ADD
    (0x4c81, QUIET),                    // LOOP_CTL_REMOVE
    (0x4c82, QUIET),                    // LOOP_CTL_GET_FREE
    // Namespaces: ioctl_ns(2).
    (0xb701, QUIET), // NS_GET_USERNS
    (0xb702, QUIET), // NS_GET_PARENT
    (0xb703, QUIET), // NS_GET_NSTYPE
    (0xb704, INT),   // NS_GET_OWNER_UID
    // epoll(7), inotify(7).
    (0x4008_8a01, QUIET), // EPIOCSPARAMS
    (0x8008_8a02, LONG),  // EPIOCGPARAMS
    (0x4004_4900, QUIET), // INOTIFY_IOC_SETNEXTWD
];

/// Kinds of requests that write as many bytes as they encode, and follow no pointers: the letter, and the first and
/// last number.
const PLAIN: &[(u64, u64, u64)] = &[
    // Terminals (from TCGETS2 to TIOCGEXCL) and timerfd's TFD_IOC_SET_TICKS.
    (b'T' as u64, 0x00, 0x4f),
    // random(4).
    (b'R' as u64, 0x00, 0x08),
    // rtc(4), up to where pps begins.
    (b'p' as u64, 0x01, 0x1f),
    // Namespaces.
    (0xb7, 0x05, 0x1f),
    // Descriptors of processes.
    (0xff, 0x01, 0x1f),
];

fn encoded(request: u64) -> Option<Answer> {
    let (letter, number) = (request >> 8 & 0xff, request & 0xff);
    let plain = PLAIN.iter().any(|(l, first, last)| *l == letter && (*first..=*last).contains(&number));
    // The oldest of them encode no direction and no size, but may write.
    let tells = letter != u64::from(b'T') || direction(request) != 0;
    (plain && tells).then_some(Writes(&[Encoded]))
}

fn direction(request: u64) -> u64 {
    request >> 30 & 3
}

/// Returns how many bytes a request writes according to its encoding (linux/ioctl.h).
#[must_use]
pub fn encoded_size(request: u64) -> u64 {
    /// `_IOC_READ`: the program reads what the kernel writes.
    const READ: u64 = 2;
    if direction(request) & READ == 0 { 0 } else { request >> 16 & 0x3fff }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_requests_are_taken_at_their_word() {
        /// TCGETS2, TIOCGPTN
        const KNOWN: [(u64, u64); 2] = [(0x802c_542a, 44), (0x8004_5430, 4)];
        for (request, size) in KNOWN {
            assert!(matches!(IOCTL.answer_to(request), Some(Writes([Encoded]))), "{request:#x}");
            assert_eq!(encoded_size(request), size);
        }
        // TIOCMIWAIT has no encoding; DRM_IOCTL_VERSION points to strings.
        assert!(IOCTL.answer_to(0x545c).is_none());
        assert!(IOCTL.answer_to(0xc040_6400).is_none());
        assert_eq!(encoded_size(0x4004_5431), 0);
    }

    #[test]
    fn requests_are_told_once() {
        let mut requests: Vec<_> = REQUESTS.iter().map(|(request, _)| *request).collect();
        requests.sort_unstable();
        assert!(requests.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
