//! Signals, timers that send them, terminals and groups.

use crate::harness::{check, check_killed};
use rrtest_engine::ending::Ending;

#[test]
fn terminals_stop_who_is_in_the_background() {
    check("terminals", &[], &Ending::Exited(0));
}

#[test]
fn signals_to_groups() {
    check_killed("groups", &[], libc::SIGABRT);
}

#[test]
fn timers_and_waited_for_signals() {
    check("timers", &[], &Ending::Exited(0));
}

#[test]
fn signals_interrupt_calls_that_wait() {
    check("signals", &["waits"], &Ending::Exited(0));
    check("signals", &["restarts"], &Ending::Exited(0));
    check("signals", &["masks"], &Ending::Exited(0));
}

#[test]
fn signals_keep_their_order_and_values() {
    check("signals", &["queues"], &Ending::Exited(0));
    check("signals", &["nests"], &Ending::Exited(0));
}

#[test]
fn timers_send_signals() {
    check("signals", &["alarms"], &Ending::Exited(0));
    check("signals", &["timers"], &Ending::Exited(0));
    check("signals", &["vectors"], &Ending::Exited(0));
}

#[test]
fn programs_recover_from_faults() {
    check("signals", &["faults"], &Ending::Exited(0));
    check("signals", &["no-room"], &Ending::Exited(0));
    check("signals", &["no-room-for-faults"], &Ending::Exited(0));
}

#[test]
fn signals_reach_threads_and_processes() {
    check("signals", &["cancels"], &Ending::Exited(0));
    check("signals", &["leaves"], &Ending::Exited(0));
    check("signals", &["processes"], &Ending::Exited(0));
    check("signals", &["children"], &Ending::Exited(0));
}

#[test]
fn signals_kill() {
    check_killed("signals", &["reset"], libc::SIGTERM);
    check_killed("signals", &["pipes"], libc::SIGPIPE);
}
