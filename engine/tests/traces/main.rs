//! What replay makes of traces: of golden ones, which are as the recorder wrote them once, and of altered ones, which
//! say something else than what happened. Those must end as a divergence, and by name.
//!
//! | module | what |
//! |---|---|
//! | [`common`] | how a program is recorded, here and in other tests |
//! | [`tiny`] | the recordings: `programs/tiny.c` |
//! | [`golden`] | the traces in `tests/golden` |
//! | [`kinds`] | a table: each kind of divergence, and an alteration that leads to it |
//! | [`fuzz`] | alterations drawn from a seed |
//! | [`altered`] | replays altered events, and says how that ended |
//! | [`fields`] | an event as a tree of named values |
//! | [`files`] | alterations of whole trace files: bytes, blocks, the index, events |
//! | [`forged`] | a trace file taken apart, and put together with right checksums |
//! | [`heap`] | how much memory is allocated at most |

mod altered;
#[path = "../common/mod.rs"]
mod common;
mod fields;
mod files;
#[path = "../common/forged.rs"]
mod forged;
mod fuzz;
mod golden;
mod heap;
mod kinds;
mod tiny;
