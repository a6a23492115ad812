//! The registers, as gdb numbers and describes them.
//!
//! gdb is told which there are (`features/i386/64bit-*.xml` of gdb has the names that it knows). It gets the general
//! ones at once, and asks for others when it needs them.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::sync::LazyLock;

use gdbstub::arch;

use crate::tracee::{Registers, VectorRegisters};

/// x86-64, with AVX.
pub enum Amd64 {}

/// The general registers, the instruction pointer, flags and segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct General(pub(in crate::debug) Registers);

/// A register, by gdb's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(usize);

/// Names of the general registers, in gdb's order, with bytes and type.
const GENERAL: [(&str, usize, &str); 24] = [
    ("rax", 8, "int64"),
    ("rbx", 8, "int64"),
    ("rcx", 8, "int64"),
    ("rdx", 8, "int64"),
    ("rsi", 8, "int64"),
    ("rdi", 8, "int64"),
    ("rbp", 8, "data_ptr"),
    ("rsp", 8, "data_ptr"),
    ("r8", 8, "int64"),
    ("r9", 8, "int64"),
    ("r10", 8, "int64"),
    ("r11", 8, "int64"),
    ("r12", 8, "int64"),
    ("r13", 8, "int64"),
    ("r14", 8, "int64"),
    ("r15", 8, "int64"),
    ("rip", 8, "code_ptr"),
    ("eflags", 4, "i386_eflags"),
    ("cs", 4, "int32"),
    ("ss", 4, "int32"),
    ("ds", 4, "int32"),
    ("es", 4, "int32"),
    ("fs", 4, "int32"),
    ("gs", 4, "int32"),
];

/// Numbers of the others: where each kind begins.
const X87: usize = GENERAL.len();
const X87_CONTROL: usize = X87 + 8;
const XMM: usize = X87_CONTROL + 8;
const MXCSR: usize = XMM + 16;
const ORIG_RAX: usize = MXCSR + 1;
const FS_BASE: usize = ORIG_RAX + 1;
const GS_BASE: usize = FS_BASE + 1;
const YMM_UPPER: usize = GS_BASE + 1;
const END: usize = YMM_UPPER + 16;

const CONTROL_NAMES: [&str; 8] = ["fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"];

/// The flags by their bits (Intel SDM, volume 1, 3.4.3).
const FLAGS: [(&str, u32); 16] = [
    ("CF", 0),
    ("PF", 2),
    ("AF", 4),
    ("ZF", 6),
    ("SF", 7),
    ("TF", 8),
    ("IF", 9),
    ("DF", 10),
    ("OF", 11),
    ("NT", 14),
    ("RF", 16),
    ("VM", 17),
    ("AC", 18),
    ("VIF", 19),
    ("VIP", 20),
    ("ID", 21),
];

static DESCRIPTION: LazyLock<String> = LazyLock::new(describe);

fn describe() -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\">\
         <architecture>i386:x86-64</architecture><osabi>GNU/Linux</osabi>\
         <feature name=\"org.gnu.gdb.i386.core\"><flags id=\"i386_eflags\" size=\"4\">",
    );
    // Writing to a String cannot fail.
    for (name, bit) in FLAGS {
        let _ = write!(text, "<field name=\"{name}\" start=\"{bit}\" end=\"{bit}\"/>");
    }
    text.push_str("</flags>");
    let mut number = 0;
    let mut register = |text: &mut String, name: &str, bytes: usize, kind: &str| {
        let bits = 8 * bytes;
        let _ = write!(text, "<reg name=\"{name}\" bitsize=\"{bits}\" type=\"{kind}\" regnum=\"{number}\"/>");
        number += 1;
    };
    for (name, bytes, kind) in GENERAL {
        register(&mut text, name, bytes, kind);
    }
    for n in 0..8 {
        register(&mut text, &format!("st{n}"), 10, "i387_ext");
    }
    for name in CONTROL_NAMES {
        register(&mut text, name, 4, "int");
    }
    text.push_str("</feature><feature name=\"org.gnu.gdb.i386.sse\">");
    for (id, kind, count) in [
        ("v4f", "ieee_single", 4),
        ("v2d", "ieee_double", 2),
        ("v16i8", "int8", 16),
        ("v8i16", "int16", 8),
        ("v4i32", "int32", 4),
        ("v2i64", "int64", 2),
    ] {
        let _ = write!(text, "<vector id=\"{id}\" type=\"{kind}\" count=\"{count}\"/>");
    }
    text.push_str(
        "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>\
         <field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>\
         <field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>\
         <field name=\"uint128\" type=\"uint128\"/></union><flags id=\"i386_mxcsr\" size=\"4\">",
    );
    for (bit, name) in
        ["IE", "DE", "ZE", "OE", "UE", "PE", "DAZ", "IM", "DM", "ZM", "OM", "UM", "PM"].iter().enumerate()
    {
        let _ = write!(text, "<field name=\"{name}\" start=\"{bit}\" end=\"{bit}\"/>");
    }
    text.push_str("<field name=\"FZ\" start=\"15\" end=\"15\"/></flags>");
    for n in 0..16 {
        register(&mut text, &format!("xmm{n}"), 16, "vec128");
    }
    register(&mut text, "mxcsr", 4, "i386_mxcsr");
    text.push_str("</feature><feature name=\"org.gnu.gdb.i386.linux\">");
    register(&mut text, "orig_rax", 8, "int64");
    text.push_str("</feature><feature name=\"org.gnu.gdb.i386.segments\">");
    register(&mut text, "fs_base", 8, "int64");
    register(&mut text, "gs_base", 8, "int64");
    text.push_str("</feature><feature name=\"org.gnu.gdb.i386.avx\">");
    for n in 0..16 {
        register(&mut text, &format!("ymm{n}h"), 16, "uint128");
    }
    text.push_str("</feature></target>");
    text
}

impl arch::Arch for Amd64 {
    type Usize = u64;
    type Registers = General;
    type BreakpointKind = usize;
    type RegId = Number;

    fn target_description_xml() -> Option<&'static str> {
        Some(&DESCRIPTION)
    }
}

impl arch::RegId for Number {
    fn from_raw_id(id: usize) -> Option<(Self, Option<NonZeroUsize>)> {
        let size = match id {
            ..X87 => GENERAL[id].1,
            X87..X87_CONTROL => 10,
            X87_CONTROL..XMM | MXCSR => 4,
            XMM..MXCSR | YMM_UPPER..END => 16,
            ORIG_RAX..YMM_UPPER => 8,
            _ => return None,
        };
        Some((Self(id), NonZeroUsize::new(size)))
    }

    fn to_raw_id(&self) -> Option<usize> {
        Some(self.0)
    }
}

/// Indices into the kernel's order (`struct user_regs_struct`) of the general registers in gdb's.
const KERNELS: [usize; 24] =
    [10, 5, 11, 12, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0, 16, 18, 17, 20, 23, 24, 25, 26];

impl arch::Registers for General {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        self.0.ip()
    }

    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        for ((_, bytes, _), at) in GENERAL.iter().zip(KERNELS) {
            self.0.0[at].to_le_bytes()[..*bytes].iter().for_each(|byte| write_byte(Some(*byte)));
        }
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        let mut bytes = bytes;
        for ((_, len, _), at) in GENERAL.iter().zip(KERNELS) {
            let (value, rest) = bytes.split_at_checked(*len).ok_or(())?;
            self.0.0[at] = value.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
            bytes = rest;
        }
        Ok(())
    }
}

impl General {
    /// Puts those that it has among all.
    pub(in crate::debug) fn put_into(&self, all: &mut Registers) {
        for at in KERNELS {
            all.0[at] = self.0.0[at];
        }
    }
}

impl Number {
    /// Whether the register is one of the floating-point and vector registers.
    pub(in crate::debug) fn is_vector(self) -> bool {
        !(ORIG_RAX..YMM_UPPER).contains(&self.0) && self.0 >= X87
    }

    /// Returns the value of a register that is not one of these.
    pub(in crate::debug) fn general(self, registers: &Registers) -> Vec<u8> {
        let (at, len) = match self.0 {
            ORIG_RAX => (15, 8),
            FS_BASE => (21, 8),
            GS_BASE => (22, 8),
            number => match (KERNELS.get(number), GENERAL.get(number)) {
                (Some(at), Some((_, len, _))) => (*at, *len),
                _ => return Vec::new(),
            },
        };
        registers.0[at].to_le_bytes()[..len].to_vec()
    }

    /// Gives a register that is not one of these another value. False if there is none, or the value has another size.
    pub(in crate::debug) fn set_general(self, registers: &mut Registers, value: &[u8]) -> bool {
        let at = match self.0 {
            ORIG_RAX => 15,
            FS_BASE => 21,
            GS_BASE => 22,
            number => match KERNELS.get(number) {
                Some(at) => *at,
                None => return false,
            },
        };
        let fits = self.general(registers).len() == value.len();
        if fits {
            registers.0[at] = value.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
        }
        fits
    }

    /// Which of the SSE registers it is, if it is one.
    pub(in crate::debug) fn xmm(self) -> Option<usize> {
        (XMM..MXCSR).contains(&self.0).then(|| self.0 - XMM)
    }

    /// Returns the value of a floating-point or vector register. None if the processor does not have it.
    pub(in crate::debug) fn vector(self, registers: &VectorRegisters) -> Option<Vec<u8>> {
        let legacy = |at: usize, len: usize| registers.legacy[at..at + len].to_vec();
        let word = |value: u64| (value as u32).to_le_bytes().to_vec();
        let short =
            |at: usize| u64::from(u16::from_le_bytes([registers.legacy[at], registers.legacy[at + 1]]));
        // Where things are in the area: Intel SDM, volume 1, table 10-2.
        Some(match self.0 {
            X87..X87_CONTROL => legacy(32 + 16 * (self.0 - X87), 10),
            X87_CONTROL..XMM => match CONTROL_NAMES[self.0 - X87_CONTROL] {
                "fctrl" => word(short(0)),
                "fstat" => word(short(2)),
                "ftag" => word(tags(registers)),
                "fop" => word(short(6)),
                "fioff" => legacy(8, 4),
                "fiseg" => word(short(12)),
                "fooff" => legacy(16, 4),
                _ => word(short(20)),
            },
            XMM..MXCSR => legacy(160 + 16 * (self.0 - XMM), 16),
            MXCSR => legacy(24, 4),
            YMM_UPPER..END => {
                let at = 16 * (self.0 - YMM_UPPER);
                registers.upper.as_ref()?[at..at + 16].to_vec()
            }
            _ => return None,
        })
    }
}

/// Returns the tag word of x87: two bits for each physical register. The area has one bit, whether it is in use; those in
/// use count as valid, since the other values only spare software a look.
fn tags(registers: &VectorRegisters) -> u64 {
    let in_use = registers.legacy[4];
    (0..8).fold(0, |tags, n| tags | if in_use >> n & 1 == 1 { 0 } else { 0b11 << (2 * n) })
}

#[cfg(test)]
mod tests {
    use gdbstub::arch::{RegId, Registers as _};

    use super::*;

    #[test]
    fn the_description_has_a_register_for_each_number() {
        let text = describe();
        assert_eq!(text.matches("<reg ").count(), END);
        for (number, name) in
            [(0, "rax"), (16, "rip"), (24, "st0"), (40, "xmm0"), (58, "fs_base"), (75, "ymm15h")]
        {
            let (_, rest) = text.split_once(&format!("<reg name=\"{name}\" ")).expect(name);
            let (this, _) = rest.split_once("/>").expect("an end");
            assert!(this.ends_with(&format!("regnum=\"{number}\"")), "{this}");
            let (_, size) = Number::from_raw_id(number).expect(name);
            assert!(this.starts_with(&format!("bitsize=\"{}\"", 8 * size.expect("a size").get())), "{this}");
        }
        assert_eq!(Number::from_raw_id(END), None);
    }

    #[test]
    fn registers_are_read_as_they_are_written() {
        let mut registers = Registers(std::array::from_fn(|at| at as u64 * 0x0101_0101));
        let mut bytes = Vec::new();
        General(registers).gdb_serialize(|byte| bytes.extend(byte));
        assert_eq!(bytes.len(), 17 * 8 + 7 * 4);
        assert_eq!(bytes[16 * 8..17 * 8], registers.ip().to_le_bytes());
        let mut back = General::default();
        back.gdb_deserialize(&bytes).expect("registers");
        // These are not among them.
        for at in [15, 21, 22] {
            registers.0[at] = 0;
        }
        assert_eq!(back.0, registers);
        assert_eq!(back.gdb_deserialize(&bytes[1..]), Err(()));
    }
}
