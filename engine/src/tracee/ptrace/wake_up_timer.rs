//! A timer that interrupts waits.

use std::sync::Once;
use std::time::Duration;

use crate::Error;
use crate::tracee::system::last_os;

/// Longest wait without an interruption, so that a time limit or a request to stop is soon noticed.
const BEAT: Duration = Duration::from_millis(20);

/// Interrupts the system calls of the thread that created it at intervals: waitpid(2) has no time limit of its own.
///
/// It uses SIGURG, which does nothing by default, with an empty handler.
#[derive(Debug)]
pub struct WakeUpTimer {
    timer: libc::timer_t,
}

impl WakeUpTimer {
    /// Starts the timer for the calling thread.
    ///
    /// # Errors
    /// If the kernel has no timer left.
    pub fn start() -> Result<Self, Error> {
        static HANDLER: Once = Once::new();
        extern "C" fn nothing(_: libc::c_int) {}
        HANDLER.call_once(|| {
            // SAFETY: the handler does nothing, so it is async-signal-safe; without SA_RESTART it makes calls return
            // EINTR, which std and this crate handle. An all-zero sigaction is valid.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
                libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut());
            }
        });
        // SAFETY: an all-zero sigevent is valid; the pointers are to live locals.
        let timer = unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGURG;
            event.sigev_notify_thread_id = libc::gettid();
            let mut timer = std::mem::zeroed();
            if libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) != 0 {
                return Err(last_os("create a timer"));
            }
            timer
        };
        let wake_up_timer = Self { timer };
        wake_up_timer.next(BEAT);
        Ok(wake_up_timer)
    }

    /// Makes the next interruption come after `wait` or sooner.
    pub fn next(&self, wait: Duration) {
        let spec = |d: Duration| libc::timespec {
            tv_sec: d.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: d.subsec_nanos().into(),
        };
        let first = wait.clamp(Duration::from_nanos(1), BEAT);
        let times = libc::itimerspec { it_interval: spec(BEAT), it_value: spec(first) };
        // SAFETY: the timer is this value's and lives; `times` is a live local. Valid times cannot be refused.
        unsafe { libc::timer_settime(self.timer, 0, &raw const times, std::ptr::null_mut()) };
    }
}

impl Drop for WakeUpTimer {
    fn drop(&mut self) {
        // SAFETY: the timer is this value's and is not used again.
        unsafe { libc::timer_delete(self.timer) };
    }
}
