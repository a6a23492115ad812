//! What calls wait for, of those that may have to wait for descriptors.

use libc::timespec;

use crate::record::kernel::fds;
use crate::record::options::Options;
use crate::record::poller::Poller;
use crate::record::step::Flow;
use crate::record::time::clocks;
use crate::record::tree::call::Call;
use crate::record::tree::descriptor_watch::DescriptorWatch;
use crate::record::tree::slots::scratch;
use crate::record::tree::tasks::Tasks;
use crate::syscalls::{Block, Description};
use crate::task::TaskId;
use crate::tracee::descriptor_room;

/// [`DescriptorWatch::mask`] of calls without a mask. The size is that of a signal set.
const NO_MASK: (u64, u64) = (0, 8);

fn pollfd(fd: u64, events: i16) -> Vec<u8> {
    let mut bytes = (fd as i32).to_ne_bytes().to_vec();
    bytes.extend(events.to_ne_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn milliseconds(ms: i32) -> Option<[u8; 16]> {
    let ms = i64::from(ms);
    (ms >= 0).then(|| clocks::bytes(&timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 }))
}

impl Poller {
    /// Returns what a call would have to wait for, if other tasks could run meanwhile.
    pub(in crate::record) fn must_wait(
        &mut self,
        options: &Options<'_>,
        tasks: &mut Tasks,
        id: TaskId,
        description: &Description,
        call: &Call,
    ) -> Flow<Option<DescriptorWatch>> {
        // A call that has a part of its data, or has used a part of its time, cannot be left to the kernel even if no
        // other task is left.
        let begun = call.got > 0 || call.deadline.is_some() || call.until.is_some();
        if tasks.alone(options) && !begun || call.has_waited() {
            return Ok(None);
        }
        let args = call.args();
        let one = |fd: u64, events: i16, socket_limit| {
            let fds = pollfd(fd, events);
            DescriptorWatch { fds, count: 1, timeout: None, socket_limit, mask: NO_MASK }
        };
        let (fd, events, option) = match description.block {
            Block::Never | Block::InKernel | Block::Children => return Ok(None),
            Block::Readable(fd) => (args[fd], libc::POLLIN, libc::SO_RCVTIMEO),
            Block::Writable(fd) => (args[fd], libc::POLLOUT, libc::SO_SNDTIMEO),
            Block::Either(fd) => (args[fd], libc::POLLIN | libc::POLLOUT, libc::SO_SNDTIMEO),
            Block::Epoll => {
                let timeout = args[3] as i32;
                if timeout == 0 {
                    return Ok(None);
                }
                return Ok(Some(DescriptorWatch {
                    timeout: milliseconds(timeout),
                    mask: if call.number() == libc::SYS_epoll_pwait as u64 {
                        (args[4], args[5])
                    } else {
                        NO_MASK
                    },
                    ..one(args[0], libc::POLLIN, None)
                }));
            }
            Block::EpollPwait2 => {
                let Some(timeout) = tasks.limit(id, args[3], 1) else { return Ok(None) };
                return Ok(Some(DescriptorWatch {
                    timeout,
                    mask: (args[4], args[5]),
                    ..one(args[0], libc::POLLIN, None)
                }));
            }
            Block::Select => {
                let limit = tasks.limit(id, args[4], 1000);
                return Ok(tasks.select_watch(id, &args, limit));
            }
            Block::Pselect => {
                let limit = tasks.limit(id, args[4], 1);
                let watch = tasks.select_watch(id, &args, limit);
                let memory = &tasks.space(id).memory;
                let mask = match (args[5], memory.u64(args[5]), memory.u64(args[5] + 8)) {
                    (0, ..) => NO_MASK,
                    (_, Ok(set), Ok(size)) => (set, size),
                    _ => return Ok(None),
                };
                return Ok(watch.map(|watch| DescriptorWatch { mask, ..watch }));
            }
            Block::Poll | Block::Ppoll => return tasks.poll_watch(id, description, &args),
        };
        let waits = !dont_wait(call)
            && self.is_waited_on(tasks, id, fd)
            && !fds::is_in_background(tasks[id].tid, fd)
            && tasks.asks_for(id, call).is_some();
        Ok(waits.then(|| one(fd, events, Some(option))))
    }
}

impl Tasks {
    fn poll_watch(
        &mut self,
        id: TaskId,
        description: &Description,
        args: &[u64; 6],
    ) -> Flow<Option<DescriptorWatch>> {
        let timeout = if description.block == Block::Poll {
            milliseconds(args[2] as i32)
        } else if args[2] == 0 {
            None
        } else {
            // The kernel reports an unreadable address.
            let Ok(bytes) = self.space(id).memory.bytes(args[2], 16) else { return Ok(None) };
            bytes.try_into().ok()
        };
        if timeout == Some([0; 16]) {
            return Ok(None);
        }
        if args[1] > scratch::MOST {
            return self.unsupported(id, "poll of more than 8000 descriptors");
        }
        let Ok(fds) = self.space(id).memory.bytes(args[0], args[1] as usize * 8) else { return Ok(None) };
        let mask = if description.block == Block::Ppoll { (args[3], args[4]) } else { NO_MASK };
        Ok(Some(DescriptorWatch { fds, count: args[1], timeout, socket_limit: None, mask }))
    }

    /// Reads the time limit at an address: seconds, and a fraction in units of `unit` ns. The inner `None` means no
    /// limit; the outer that the call does not wait, or has an error that the kernel will report.
    fn limit(&self, id: TaskId, address: u64, unit: i64) -> Option<Option<[u8; 16]>> {
        if address == 0 {
            return Some(None);
        }
        let at = clocks::timespec_at(&self.space(id).memory, address).ok()?;
        let parts = at.tv_nsec.checked_mul(unit).filter(|parts| *parts >= 0)?;
        let second = clocks::SECOND.cast_signed();
        let limit = timespec { tv_sec: at.tv_sec.checked_add(parts / second)?, tv_nsec: parts % second };
        (limit.tv_sec >= 0 && (limit.tv_sec, limit.tv_nsec) != (0, 0)).then(|| Some(clocks::bytes(&limit)))
    }

    /// Returns what select(2) waits for.
    fn select_watch(
        &mut self,
        id: TaskId,
        args: &[u64; 6],
        limit: Option<Option<[u8; 16]>>,
    ) -> Option<DescriptorWatch> {
        let timeout = limit?;
        // In terms of poll(2), which always reports that a peer has hung up.
        let sets = [(args[1], libc::POLLIN), (args[2], libc::POLLOUT), (args[3], libc::POLLPRI)];
        let room = descriptor_room(self.task(id).tid)?.min(scratch::MOST as usize);
        let count = usize::try_from(args[0] as i32).ok()?.min(room);
        let sets = sets.map(|(set, events)| {
            let bytes =
                if set == 0 { Vec::new() } else { self.space(id).memory.available(set, count.div_ceil(8)) };
            (bytes, events)
        });
        let events = |fd: usize| {
            let has = |set: &[u8]| set.get(fd / 8).is_some_and(|byte| byte >> (fd % 8) & 1 != 0);
            sets.iter().filter(|(set, _)| has(set)).fold(0, |all, (_, events)| all | events)
        };
        let watched = (0..count).filter(|&fd| events(fd) != 0);
        let fds: Vec<u8> = watched.flat_map(|fd| pollfd(fd as u64, events(fd))).collect();
        Some(DescriptorWatch { count: fds.len() as u64 / 8, fds, timeout, socket_limit: None, mask: NO_MASK })
    }
}

/// Whether a call's flags say that it must not wait.
fn dont_wait(call: &Call) -> bool {
    /// Calls, the index of their flags, and the flag.
    const FLAGS: &[(i64, usize, u32)] = &[
        (libc::SYS_recvfrom, 3, libc::MSG_DONTWAIT as u32),
        (libc::SYS_sendto, 3, libc::MSG_DONTWAIT as u32),
        (libc::SYS_recvmsg, 2, libc::MSG_DONTWAIT as u32),
        (libc::SYS_sendmsg, 2, libc::MSG_DONTWAIT as u32),
        (libc::SYS_recvmmsg, 3, libc::MSG_DONTWAIT as u32),
        (libc::SYS_sendmmsg, 3, libc::MSG_DONTWAIT as u32),
        (libc::SYS_preadv2, 5, libc::RWF_NOWAIT as u32),
        (libc::SYS_pwritev2, 5, libc::RWF_NOWAIT as u32),
        (libc::SYS_vmsplice, 3, libc::SPLICE_F_NONBLOCK),
    ];
    let args = call.args();
    FLAGS.iter().any(|(number, at, flag)| *number as u64 == call.number() && args[*at] as u32 & flag != 0)
}
