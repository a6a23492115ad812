//! The packets of the protocol, on their way in and out.
//!
//! gdbstub knows no conditions of breakpoints: they are taken out of the packets that set breakpoints. It knows no list of
//! signals for which gdb does not stop either. The reply that says what is supported gets both added.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use gdbstub::common::Tid;
use gdbstub::conn::Connection;

use crate::timeline::Expression;

/// What gdb sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A packet, with its frame.
    Packet(Vec<u8>),
    /// Ctrl-C.
    Interrupt,
}

/// The longest packet that is taken. gdb keeps to what it is told; others may not.
pub(super) const LONGEST: usize = 1 << 16;

/// Reads packets until the stream ends or nobody takes them. The flag is set at once when Ctrl-C comes.
pub(super) fn read(stream: impl Read, interrupt: &AtomicBool, to: &Sender<Incoming>) {
    let mut bytes = io::BufReader::new(stream).bytes().map_while(Result::ok);
    while let Some(byte) = bytes.next() {
        let incoming = match byte {
            b'$' => {
                let mut packet = vec![byte];
                let is_end = |packet: &[u8]| packet.len() > 2 && packet[packet.len() - 3] == b'#';
                while !is_end(&packet)
                    && packet.len() < LONGEST
                    && let Some(byte) = bytes.next()
                {
                    packet.push(byte);
                }
                Incoming::Packet(packet)
            }
            0x03 => {
                interrupt.store(true, Ordering::Relaxed);
                Incoming::Interrupt
            }
            // Between packets there are acknowledgements, and nothing else: the connection loses nothing.
            _ => continue,
        };
        if to.send(incoming).is_err() {
            return;
        }
    }
}

/// Puts a packet's contents into a frame.
fn frame(contents: &[u8]) -> Vec<u8> {
    let sum = contents.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    [b"$", contents, format!("#{sum:02x}").as_bytes()].concat()
}

/// Returns what is in a packet's frame.
fn contents(packet: &[u8]) -> Option<&[u8]> {
    packet.strip_prefix(b"$")?.split_last_chunk::<3>().map(|(contents, _)| contents)
}

/// Takes the conditions out of a packet that sets a breakpoint, `Z0,address,kind;X len,bytecode…`. One that is not
/// understood is left out: gdb evaluates it itself then, as it is told that there is none.
pub(super) fn take_conditions(packet: &mut Vec<u8>) -> Vec<Expression> {
    let Some(inside) = contents(packet) else { return Vec::new() };
    if !inside.starts_with(b"Z0,") && !inside.starts_with(b"Z1,") {
        return Vec::new();
    }
    let Some(end) = inside.iter().position(|byte| *byte == b';') else { return Vec::new() };
    let (basic, rest) = inside.split_at(end);
    let conditions = conditions(&rest[1..]);
    *packet = frame(basic);
    conditions.unwrap_or_default()
}

/// Returns the numbers of the signals for which gdb does not stop, if a packet tells them (`QPassSignals:n;n…`, hexadecimal).
/// gdbstub does not know it: what is left is the question whether a thread lives, which is answered as this is if it does.
pub(super) fn take_passed(packet: &mut Vec<u8>, living: Tid) -> Option<BTreeSet<u8>> {
    let list = contents(packet)?.strip_prefix(b"QPassSignals:")?;
    let numbers = std::str::from_utf8(list).ok()?.split(';').filter(|number| !number.is_empty());
    let numbers = numbers.map(|number| u8::from_str_radix(number, 16).ok()).collect::<Option<_>>()?;
    *packet = frame(format!("T{living:x}").as_bytes());
    Some(numbers)
}

/// Reads a list of conditions, `X len,bytecode` each, all numbers in hexadecimal. None if there is anything else.
fn conditions(list: &[u8]) -> Option<Vec<Expression>> {
    let mut found = Vec::new();
    let mut text = std::str::from_utf8(list).ok()?;
    while let Some(one) = text.strip_prefix('X') {
        let (len, code) = one.split_once(',')?;
        let digits = usize::from_str_radix(len, 16).ok()?.checked_mul(2)?;
        let (code, rest) = code.split_at_checked(digits)?;
        let bytes = (0..digits).step_by(2).map(|at| u8::from_str_radix(code.get(at..at + 2)?, 16).ok());
        found.push(Expression::new(bytes.collect::<Option<_>>()?).ok()?);
        text = rest;
    }
    text.is_empty().then_some(found)
}

/// Where packets go out.
pub(super) struct Outgoing<W> {
    stream: W,
    packet: Vec<u8>,
}

impl<W: Write> Outgoing<W> {
    pub(super) fn new(stream: W) -> Self {
        Self { stream, packet: Vec::new() }
    }
}

impl<W: Write> Connection for Outgoing<W> {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.packet.push(byte);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let packet = mem::take(&mut self.packet);
        self.stream.write_all(&with_more(packet))?;
        self.stream.flush()
    }
}

/// Has gdb show a text, which it does while it waits for the program to stop.
pub(super) fn say<W: Write>(out: &mut Outgoing<W>, text: &[u8]) -> io::Result<()> {
    for part in text.chunks(LONGEST / 4) {
        let digits: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        out.write_all(&frame(&[b"O", digits.as_bytes()].concat()))?;
        out.flush()?;
    }
    Ok(())
}

/// Adds what gdbstub does not know to the reply that says what is supported.
fn with_more(packet: Vec<u8>) -> Vec<u8> {
    let start = packet.iter().position(|byte| *byte == b'$').unwrap_or(0);
    match contents(&packet[start..]) {
        Some(inside) if inside.starts_with(b"PacketSize=") => {
            let inside = [inside, b";ConditionalBreakpoints+;QPassSignals+"].concat();
            [&packet[..start], &frame(&inside)].concat()
        }
        _ => packet,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn incoming(bytes: &[u8]) -> Vec<Incoming> {
        let (sender, receiver) = channel();
        read(bytes, &AtomicBool::new(false), &sender);
        drop(sender);
        receiver.iter().collect()
    }

    #[test]
    fn packets_are_told_apart() {
        let packet = |bytes: &[u8]| Incoming::Packet(bytes.to_vec());
        assert_eq!(
            incoming(b"+$g#67\x03junk$m0,4#fd-"),
            [packet(b"$g#67"), Incoming::Interrupt, packet(b"$m0,4#fd")]
        );
        assert_eq!(incoming(b"$g#6"), [packet(b"$g#6")], "cut off");
        let endless = vec![b'$'; 3 * LONGEST];
        assert!(
            incoming(&endless).iter().all(|it| matches!(it, Incoming::Packet(it) if it.len() <= LONGEST))
        );
    }

    #[test]
    fn conditions_are_taken_out() {
        let mut packet = frame(b"Z0,401000,1;X3,220127X4,22002713");
        let conditions = take_conditions(&mut packet);
        assert_eq!(packet, frame(b"Z0,401000,1"));
        assert_eq!(conditions.len(), 2);
        for other in [&b"Z2,401000,1;X3,220127"[..], b"m401000,4"] {
            let mut packet = frame(other);
            assert_eq!((take_conditions(&mut packet), packet), (vec![], frame(other)));
        }
        for broken in ["X", "Xff,22", "X2,zz27", "X1,ff", "X3,220127;cmds:1", "Xffffffffffffffff,22", "X2,2é"]
        {
            let mut packet = frame(format!("Z0,401000,1;{broken}").as_bytes());
            assert_eq!(take_conditions(&mut packet), [], "{broken}");
            assert_eq!(packet, frame(b"Z0,401000,1"));
        }
    }

    #[test]
    fn signals_that_are_passed_are_taken_out() {
        let take = |contents: &str| {
            let mut packet = frame(contents.as_bytes());
            (take_passed(&mut packet, Tid::MIN), packet)
        };
        let living = frame(b"T1");
        assert_eq!(take("QPassSignals:e;1c;"), (Some([14, 28].into()), living.clone()));
        assert_eq!(take("QPassSignals:"), (Some(BTreeSet::new()), living));
        for other in ["QPassSignals:e;zz", "QPassSignals:fff", "QPassSignals", "m401000,4"] {
            assert_eq!(take(other), (None, frame(other.as_bytes())));
        }
    }

    #[test]
    fn the_reply_says_what_there_is_more() {
        let mut out = Vec::new();
        let mut outgoing = Outgoing::new(&mut out);
        outgoing.write_all(b"+$PacketSize=1000;swbreak+#00").unwrap();
        outgoing.flush().unwrap();
        outgoing.write_all(b"$OK#9a").unwrap();
        outgoing.flush().unwrap();
        let expected =
            [&b"+"[..], &frame(b"PacketSize=1000;swbreak+;ConditionalBreakpoints+;QPassSignals+"), b"$OK#9a"]
                .concat();
        assert_eq!(String::from_utf8(out), String::from_utf8(expected));
    }
}
