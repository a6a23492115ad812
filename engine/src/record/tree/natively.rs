//! What a program would see of itself if it were not recorded.
//!
//! The kernel shows a process that it is traced, filtered and at fixed addresses: in personality(2), in prctl(2), and
//! in files of /proc (proc_pid_status(5), proc_pid_stat(5), proc_pid_personality(5)). Some code behaves differently
//! then: traps for debuggers, sanitizers, programs that start themselves again with other addresses. So the traces of
//! recording are replaced by what the recorder, which is not recorded, sees of itself, or by what the program has asked
//! for since.

use std::sync::LazyLock;

use crate::tracee::{personality, status_field};

/// What a task would have if it were not recorded.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Natively {
    /// Its personality(2).
    pub(in crate::record) persona: u32,
    /// `PR_SET_NO_NEW_PRIVS` of prctl(2).
    pub(in crate::record) no_new_privileges: bool,
}

/// What the recorder has, and a program that it starts would have.
struct Ours {
    natively: Natively,
    /// The lines of `/proc/self/status` about filters: name and value.
    filters: Vec<(String, String)>,
}

/// Lines of `/proc/PID/status` that the recorder's filter affects.
const FILTERS: [&str; 3] = ["NoNewPrivs", "Seccomp", "Seccomp_filters"];

static OURS: LazyLock<Ours> = LazyLock::new(|| {
    let own = nix::unistd::gettid();
    let line = |name: &str| Some((name.to_owned(), status_field(own, &format!("{name}:"))?));
    let filters: Vec<_> = FILTERS.into_iter().filter_map(line).collect();
    let no_new_privileges = filters.iter().any(|(name, value)| name == FILTERS[0] && value == "1");
    Ours { natively: Natively { persona: personality(own).unwrap_or(0), no_new_privileges }, filters }
});

impl Natively {
    /// Returns the lines of `/proc/PID/status` about filters, with the recorder's values.
    pub(super) fn filters() -> &'static [(String, String)] {
        &OURS.filters
    }

    /// Returns what a program has that the recorder starts.
    pub(in crate::record) fn started() -> Self {
        OURS.natively
    }
}
