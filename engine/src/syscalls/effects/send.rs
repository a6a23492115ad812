//! System calls that send signals.

/// Returns the signal that a call sends; `None` if it sends none.
#[must_use]
pub fn signal_sent(number: u64, args: &[u64; 6]) -> Option<i32> {
    let signal = match number as i64 {
        libc::SYS_kill | libc::SYS_tkill | libc::SYS_rt_sigqueueinfo | libc::SYS_pidfd_send_signal => args[1],
        libc::SYS_tgkill | libc::SYS_rt_tgsigqueueinfo => args[2],
        _ => return None,
    };
    Some(signal as i32)
}
