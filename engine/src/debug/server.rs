//! A connection of gdb's, from its first packet to its last.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use gdbstub::stub::state_machine::GdbStubStateMachine;
use gdbstub::stub::{DisconnectReason, GdbStub, GdbStubError};

use super::debugger::Debugger;
use super::packets::{self, Incoming, LONGEST, Outgoing};
use super::state::threads::tid;
use crate::error::Error;

/// What gdb is connected by.
#[derive(Debug)]
pub enum Stream {
    /// A Unix socket.
    Unix(UnixStream),
    /// A TCP socket.
    Tcp(TcpStream),
}

/// How a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// gdb has detached, or killed what it debugs.
    Detached,
    /// gdb is gone.
    Gone,
}

impl Stream {
    fn again(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
        })
    }

    fn shut_down(&self) {
        // It may be gone already, which is as good.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(buffer),
            Self::Tcp(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.flush(),
            Self::Tcp(stream) => stream.flush(),
        }
    }
}

/// Serves gdb until it goes. `interrupt` is the flag with which the timeline was made: it is set when gdb asks for an end.
///
/// # Errors
/// If the replay diverges, or the connection fails.
pub fn serve(debugger: &mut Debugger<'_>, stream: &Stream, interrupt: &AtomicBool) -> Result<Ended, Error> {
    let failed = |source| Error::Os { what: "serve gdb".to_owned(), source };
    let (incoming, outgoing) = (stream.again().map_err(failed)?, stream.again().map_err(failed)?);
    if let Stream::Tcp(stream) = stream {
        // Packets are small, and each is waited for.
        stream.set_nodelay(true).map_err(failed)?;
    }
    debugger.begin();
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        scope.spawn(move || packets::read(incoming, interrupt, &sender));
        let ended = talk(debugger, outgoing, &receiver, interrupt);
        // The reader may wait for what does not come.
        stream.shut_down();
        ended
    })
}

fn talk(
    debugger: &mut Debugger<'_>,
    outgoing: Stream,
    incoming: &Receiver<Incoming>,
    interrupt: &AtomicBool,
) -> Result<Ended, Error> {
    let stub = GdbStub::builder(Outgoing::new(outgoing)).packet_buffer_size(LONGEST).build();
    let stub = stub.map_err(|error| Error::Bug { what: format!("gdbstub: {error}") })?;
    let mut machine = match stub.run_state_machine(debugger) {
        Ok(machine) => machine,
        Err(error) => return ended(error),
    };
    loop {
        let next = match machine {
            GdbStubStateMachine::Idle(mut idle) => match incoming.recv() {
                Ok(Incoming::Packet(mut packet)) => {
                    debugger.set.conditions = packets::take_conditions(&mut packet);
                    if let Some(passed) = packets::take_passed(&mut packet, tid(debugger.shown())) {
                        debugger.signals.pass(passed);
                    }
                    let last = packet.pop();
                    let mut next = Ok(GdbStubStateMachine::Idle(idle));
                    for byte in packet.into_iter().chain(last) {
                        next = match next {
                            Ok(GdbStubStateMachine::Idle(idle)) => idle.incoming_data(debugger, byte),
                            other => other,
                        };
                    }
                    next
                }
                // What it was to interrupt has ended by itself.
                Ok(Incoming::Interrupt) => {
                    interrupt.store(false, Ordering::Relaxed);
                    let _ = idle.borrow_conn();
                    Ok(GdbStubStateMachine::Idle(idle))
                }
                Err(_) => return Ok(Ended::Gone),
            },
            GdbStubStateMachine::Running(mut running) => {
                let reason = debugger.go()?;
                let said = std::mem::take(&mut debugger.said);
                if packets::say(running.borrow_conn(), &said).is_err() {
                    return Ok(Ended::Gone);
                }
                running.report_stop(debugger, reason)
            }
            GdbStubStateMachine::CtrlCInterrupt(interrupted) => {
                interrupted.interrupt_handled(debugger, None::<gdbstub::stub::MultiThreadStopReason<u64>>)
            }
            GdbStubStateMachine::Disconnected(disconnected) => {
                return Ok(match disconnected.get_reason() {
                    DisconnectReason::Disconnect | DisconnectReason::Kill => Ended::Detached,
                    DisconnectReason::TargetExited(_) | DisconnectReason::TargetTerminated(_) => Ended::Gone,
                });
            }
        };
        machine = match next {
            Ok(machine) => machine,
            Err(error) => return ended(error),
        };
    }
}

fn ended(error: GdbStubError<Error, io::Error>) -> Result<Ended, Error> {
    if error.is_connection_error() {
        return Ok(Ended::Gone);
    }
    let what = error.to_string();
    match error.into_target_error() {
        Some(error) => Err(error),
        None => Err(Error::Os {
            what: "understand what was sent in place of gdb's protocol".to_owned(),
            source: io::Error::other(what),
        }),
    }
}
