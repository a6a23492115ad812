//! Tasks that hand the core to each other without a stop.
//!
//! Before a task goes on, the process is told what it may decide itself ([`prepare`]). The task that stops may be
//! another than the one that went on ([`stops`]). What they have done meanwhile is carried out in
//! [`follow`](super::follow). The room stands on [`wait`](super::wait).

mod prepare;
mod stops;
