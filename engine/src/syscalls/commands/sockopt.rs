//! Socket options (socket(7), ip(7), tcp(7)).

use crate::syscalls::describe::{
    Answer,
    Answer::{Refused, Writes},
    Commands, Key,
    Out::{Always, Sized},
    pair,
};

/// getsockopt(2): level and option are in arguments 1 and 2.
pub(in crate::syscalls) static GETSOCKOPT: Commands = Commands {
    what: "socket option",
    key: Key::Pair(1, 2),
    known: &[
        // A filter, whose length is in instructions.
        (pair(libc::SOL_SOCKET as u64, libc::SO_GET_FILTER as u64), Refused(libc::ENOPROTOOPT)),
        // Maps what has been received instead of copying it.
        (pair(libc::IPPROTO_TCP as u64, TCP_ZEROCOPY_RECEIVE), Refused(libc::ENOPROTOOPT)),
    ],
    // Some fail for lack of room and report how much there should be.
    others: |_| Some(VALUE),
};

const VALUE: Answer = Writes(&[Sized { at: 3, len: 4 }, Always(4, 4)]);

/// setsockopt(2): level and option are in arguments 1 and 2.
pub(in crate::syscalls) static SETSOCKOPT: Commands = Commands {
    what: "socket option",
    key: Key::Pair(1, 2),
    known: &[
        // Memory to which the kernel would write at any time.
        (pair(libc::SOL_PACKET as u64, libc::PACKET_RX_RING as u64), Refused(libc::ENOPROTOOPT)),
        (pair(libc::SOL_PACKET as u64, libc::PACKET_TX_RING as u64), Refused(libc::ENOPROTOOPT)),
        (pair(libc::SOL_XDP as u64, libc::XDP_UMEM_REG as u64), Refused(libc::ENOPROTOOPT)),
    ],
    others: |_| Some(Writes(&[])),
};

/// linux/tcp.h
const TCP_ZEROCOPY_RECEIVE: u64 = 35;
