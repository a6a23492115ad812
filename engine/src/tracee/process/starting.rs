//! Processes that are being started: until they execute a program, or are emptied, they have copies of all descriptors
//! of this process.
//!
//! Among these can be copies of a recorded program's descriptors, which the recorder polls. So what a program had, such
//! as a port, may still be taken when the program has ended and all its descriptors are closed here.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

static STARTING: RwLock<()> = RwLock::new(());

/// Tells that a process is about to be started. The result is to be dropped when it has executed its program.
pub fn starting() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until no process has a copy of what this one has closed before. Not for a thread that is starting a process.
pub fn wait_for_starts() {
    drop(STARTING.write().unwrap_or_else(PoisonError::into_inner));
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::program::Program;
    use crate::tracee::{Area, Stdin, Streams, launch, rebuild};

    #[test]
    fn what_is_closed_is_free_once_all_are_started() {
        let program =
            Program { path: "/bin/true".into(), args: Vec::new(), env: Vec::new(), cwd: "/".into() };
        let name = format!("rrtest-starting-{}", std::process::id());
        let name = SocketAddr::from_abstract_name(name).unwrap();
        let started = AtomicUsize::new(0);
        let starts = || {
            let (streams, area) = (Streams::new(Stdin::Null).unwrap(), Area::new().unwrap());
            while started.fetch_add(1, Ordering::SeqCst) < 40 {
                drop(launch(&program, &streams, &area, [0; 16]).unwrap());
                drop(rebuild(&area).unwrap());
            }
        };
        thread::scope(|scope| {
            scope.spawn(starts);
            scope.spawn(starts);
            while started.load(Ordering::SeqCst) < 40 {
                drop(UnixListener::bind_addr(&name).expect("nobody has it any more"));
                wait_for_starts();
            }
        });
    }
}
