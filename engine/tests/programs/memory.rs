//! Mapped files, shared memory, code that is written at run time.

use crate::harness::check;
use rrtest_engine::ending::Ending;

#[test]
fn files_are_mapped_shared() {
    check("shared_file", &[], &Ending::Exited(0));
}

#[test]
fn files_are_mapped_past_their_end() {
    check("past_the_end", &[], &Ending::Exited(0));
}

#[test]
fn files_change_while_they_are_mapped_privately() {
    check("private_file", &[], &Ending::Exited(0));
}

#[test]
fn processes_share_memory() {
    check("shared_fork", &[], &Ending::Exited(0));
}

#[test]
fn code_is_written_at_run_time() {
    check("jit", &[], &Ending::Exited(0));
}

#[test]
fn memory_is_shaped() {
    check("advice", &[], &Ending::Exited(0));
}

#[test]
fn files_are_larger_than_memory() {
    check("sparse", &[], &Ending::Exited(0));
}

#[test]
fn processes_write_each_others_memory() {
    check("other_memory", &[], &Ending::Exited(0));
}
