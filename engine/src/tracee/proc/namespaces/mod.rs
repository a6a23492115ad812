//! What no process has to itself: sockets and System V objects, of which the kernel has lists for each namespace.

mod sockets;
mod sysvipc;

pub use sockets::{InetSocket, inet_sockets, packets_are_delivered};
pub use sysvipc::{MessageQueue, SemaphoreSet, message_queue, semaphore_set, shares_ipc};
