//! Conditions of breakpoints, in the bytecode that gdb compiles them to ("The GDB Agent Expression Mechanism", appendix
//! F of its manual).
//!
//! They are evaluated where the breakpoint is hit, which takes a fraction of what it takes to tell gdb of it.

use crate::tracee::Registers;

/// What an expression can look at.
pub trait Look {
    /// The registers of the task that stands at the breakpoint.
    fn registers(&mut self) -> Option<Registers>;

    /// Reads memory: all of it, or nothing.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Option<()>;
}

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(Vec<u8>);

/// Some bytes that are no expression, or one that uses what only tracepoints have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What an operation does with the stack.
#[derive(Clone, Copy)]
enum Operation {
    /// `a b` becomes one value. None ends the expression in an error, as a division by 0 does.
    Binary(fn(u64, u64) -> Option<u64>),
    Unary(fn(u64) -> u64),
    /// Extends a value of as many bits as the byte that follows says.
    Extend(fn(u64, u32) -> u64),
    /// Reads so many bytes at the address on the stack.
    Read(usize),
    /// A constant of so many bytes follows.
    Constant(usize),
    /// The number of a register follows.
    Register,
    Jump,
    JumpIf,
    End,
    Duplicate,
    Pop,
    Swap,
    Pick,
    Rotate,
}

/// The operations, by their codes; the numbers are gdb's (`gdbsupport/ax.def`).
const OPERATIONS: [(u8, Operation); 38] = [
    (0x02, Operation::Binary(|a, b| Some(a.wrapping_add(b)))),
    (0x03, Operation::Binary(|a, b| Some(a.wrapping_sub(b)))),
    (0x04, Operation::Binary(|a, b| Some(a.wrapping_mul(b)))),
    (0x05, Operation::Binary(|a, b| a.cast_signed().checked_div(b.cast_signed()).map(i64::cast_unsigned))),
    (0x06, Operation::Binary(u64::checked_div)),
    (0x07, Operation::Binary(|a, b| a.cast_signed().checked_rem(b.cast_signed()).map(i64::cast_unsigned))),
    (0x08, Operation::Binary(u64::checked_rem)),
    (0x09, Operation::Binary(|a, b| Some(shifted(b, |by| a.checked_shl(by), 0)))),
    (
        0x0a,
        Operation::Binary(|a, b| {
            Some(shifted(b, |by| a.cast_signed().checked_shr(by).map(i64::cast_unsigned), sign(a)))
        }),
    ),
    (0x0b, Operation::Binary(|a, b| Some(shifted(b, |by| a.checked_shr(by), 0)))),
    (0x0e, Operation::Unary(|a| u64::from(a == 0))),
    (0x0f, Operation::Binary(|a, b| Some(a & b))),
    (0x10, Operation::Binary(|a, b| Some(a | b))),
    (0x11, Operation::Binary(|a, b| Some(a ^ b))),
    (0x12, Operation::Unary(|a| !a)),
    (0x13, Operation::Binary(|a, b| Some(u64::from(a == b)))),
    (0x14, Operation::Binary(|a, b| Some(u64::from(a.cast_signed() < b.cast_signed())))),
    (0x15, Operation::Binary(|a, b| Some(u64::from(a < b)))),
    (
        0x16,
        Operation::Extend(|a, bits| (a << (64 - bits)).cast_signed().wrapping_shr(64 - bits).cast_unsigned()),
    ),
    (0x2a, Operation::Extend(|a, bits| a << (64 - bits) >> (64 - bits))),
    (0x17, Operation::Read(1)),
    (0x18, Operation::Read(2)),
    (0x19, Operation::Read(4)),
    (0x1a, Operation::Read(8)),
    (0x20, Operation::JumpIf),
    (0x21, Operation::Jump),
    (0x22, Operation::Constant(1)),
    (0x23, Operation::Constant(2)),
    (0x24, Operation::Constant(4)),
    (0x25, Operation::Constant(8)),
    (0x26, Operation::Register),
    (0x27, Operation::End),
    (0x28, Operation::Duplicate),
    (0x29, Operation::Pop),
    (0x2b, Operation::Swap),
    (0x32, Operation::Pick),
    (0x33, Operation::Rotate),
    // Without effect.
    (0x00, Operation::Unary(|a| a)),
];

fn shifted(by: u64, shift: impl Fn(u32) -> Option<u64>, beyond: u64) -> u64 {
    u32::try_from(by).ok().and_then(shift).unwrap_or(beyond)
}

/// What is left of a value that is shifted out of its word.
fn sign(value: u64) -> u64 {
    if value.cast_signed() < 0 { u64::MAX } else { 0 }
}

/// More operations are not executed: an expression may loop.
const MOST: usize = 100_000;
/// More values are not kept.
const DEEPEST: usize = 1000;

impl Expression {
    /// Takes the bytes that gdb has sent.
    ///
    /// # Errors
    /// If one of them stands for no operation that is known.
    pub fn new(code: Vec<u8>) -> Result<Self, Malformed> {
        let mut at = 0;
        while let Some(byte) = code.get(at) {
            at += 1 + match operation(*byte).ok_or(Malformed)? {
                Operation::Constant(len) => len,
                Operation::Extend(_) | Operation::Pick => 1,
                Operation::Register | Operation::Jump | Operation::JumpIf => 2,
                _ => 0,
            };
        }
        if code.is_empty() || at > code.len() { Err(Malformed) } else { Ok(Self(code)) }
    }

    /// Returns its value. None if it has none, as memory is not mapped that it reads.
    pub fn evaluate(&self, look: &mut dyn Look) -> Option<u64> {
        let mut stack: Vec<u64> = Vec::new();
        let mut at = 0;
        for _ in 0..MOST {
            let operation = operation(*self.0.get(at)?)?;
            at += 1;
            let operand = |len: usize| -> Option<u64> {
                let bytes = self.0.get(at..at + len)?;
                Some(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
            };
            match operation {
                Operation::Binary(compute) => {
                    let (b, a) = (stack.pop()?, stack.pop()?);
                    stack.push(compute(a, b)?);
                }
                Operation::Unary(compute) => {
                    let a = stack.pop()?;
                    stack.push(compute(a));
                }
                Operation::Extend(extend) => {
                    let bits = operand(1)? as u32;
                    at += 1;
                    let a = stack.pop()?;
                    stack.push(if (1..64).contains(&bits) { extend(a, bits) } else { a });
                }
                Operation::Read(len) => {
                    let mut bytes = [0; 8];
                    look.read(stack.pop()?, &mut bytes[..len])?;
                    stack.push(u64::from_le_bytes(bytes));
                }
                Operation::Constant(len) => {
                    stack.push(operand(len)?);
                    at += len;
                }
                Operation::Register => {
                    let number = operand(2)?;
                    at += 2;
                    stack.push(look.registers()?.numbered(number)?);
                }
                Operation::Jump => at = operand(2)? as usize,
                Operation::JumpIf => {
                    let target = operand(2)? as usize;
                    at = if stack.pop()? == 0 { at + 2 } else { target };
                }
                Operation::End => return stack.last().copied(),
                Operation::Duplicate => stack.push(*stack.last()?),
                Operation::Pop => drop(stack.pop()?),
                Operation::Swap => {
                    let (b, a) = (stack.pop()?, stack.pop()?);
                    stack.extend([b, a]);
                }
                Operation::Pick => {
                    let depth = operand(1)? as usize;
                    at += 1;
                    stack.push(*stack.get(stack.len().checked_sub(depth + 1)?)?);
                }
                Operation::Rotate => {
                    let (c, b, a) = (stack.pop()?, stack.pop()?, stack.pop()?);
                    stack.extend([c, a, b]);
                }
            }
            if stack.len() > DEEPEST {
                return None;
            }
        }
        None
    }
}

fn operation(code: u8) -> Option<Operation> {
    OPERATIONS.iter().find(|(known, _)| *known == code).map(|(_, operation)| *operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Here;

    impl Look for Here {
        fn registers(&mut self) -> Option<Registers> {
            let mut registers = Registers::default();
            registers.set_args([42, 0, 0, 0, 0, 0]);
            Some(registers)
        }

        fn read(&mut self, address: u64, bytes: &mut [u8]) -> Option<()> {
            (address == 0x1000).then(|| bytes.fill(0xff))
        }
    }

    fn value(code: &[u8]) -> Option<u64> {
        Expression::new(code.to_vec()).expect("an expression").evaluate(&mut Here)
    }

    #[test]
    fn values_are_computed() {
        assert_eq!(value(&[0x22, 5, 0x22, 3, 0x03, 0x27]), Some(2), "5 - 3");
        assert_eq!(value(&[0x22, 3, 0x22, 5, 0x03, 0x22, 0, 0x14, 0x27]), Some(1), "3 - 5 < 0");
        assert_eq!(value(&[0x26, 0, 5, 0x22, 42, 0x13, 0x27]), Some(1), "$rdi == 42");
        assert_eq!(value(&[0x23, 0x10, 0, 0x19, 0x16, 32, 0x27]), Some(u64::MAX), "*(int *)0x1000");
        assert_eq!(value(&[0x23, 0x10, 0, 0x19, 0x2a, 16, 0x27]), Some(0xffff));
        assert_eq!(value(&[0x22, 1, 0x20, 0, 8, 0x22, 7, 0x27, 0x22, 9, 0x27]), Some(9), "a jump");
        assert_eq!(value(&[0x22, 1, 0x22, 2, 0x22, 3, 0x33, 0x29, 0x29, 0x27]), Some(3), "rotated: 3 1 2");
        assert_eq!(value(&[0x22, 0x80, 0x16, 8, 0x22, 100, 0x0a, 0x27]), Some(u64::MAX), "-128 >> 100");
    }

    #[test]
    fn what_has_no_value_has_none() {
        for (code, what) in [
            (&[0x22, 1, 0x22, 0, 0x06, 0x27][..], "a division by 0"),
            (&[0x22, 1, 0x19, 0x27], "memory that is not there"),
            (&[0x02, 0x27], "an empty stack"),
            (&[0x21, 0, 0], "an endless loop"),
            (&[0x21, 0xff, 0xff], "a jump out of it"),
            (&[0x22, 1], "no end"),
            (&[0x26, 0xff, 0xff, 0x27], "no such register"),
        ] {
            assert_eq!(value(code), None, "{what}");
        }
        for code in [&[0x30, 0, 0][..], &[0x22], &[], &[0xff]] {
            assert_eq!(Expression::new(code.to_vec()), Err(Malformed));
        }
    }
}
