//! What a program is told when it starts: the kernel puts it on the stack (execve(2), getauxval(3)).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::trace::event::Image;

/// Most words of a list, and most bytes of one of them, that are looked at; the rest of a longer one is left out.
const WORDS: usize = 4096;
const WORD: usize = 1024;

/// Keys of the auxiliary vector (linux/auxvec.h).
const AT_NULL: u64 = 0;
const AT_UID: u64 = 11;
const AT_EUID: u64 = 12;

/// What stands on the stack of a program that starts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) args: Vec<OsString>,
    /// Names of environment variables.
    pub(super) environment: Vec<OsString>,
    pub(super) uids: Vec<u32>,
}

impl Start {
    pub(super) fn of(image: &Image) -> Self {
        let memory = Contents::of(image);
        let mut at = image.registers.sp();
        let mut next = || {
            let word = memory.word(at);
            at = at.wrapping_add(8);
            word
        };
        let _count = next();
        // Behind either list comes a null pointer.
        let mut list = || -> Vec<u64> {
            std::iter::from_fn(&mut next).take_while(|word| *word != 0).take(WORDS).collect()
        };
        let (args, environment) = (list(), list());
        let mut uids = Vec::new();
        for _ in 0..WORDS {
            match (next(), next()) {
                (Some(AT_NULL) | None, _) | (_, None) => break,
                (Some(AT_UID | AT_EUID), Some(id)) => uids.push(id as u32),
                _ => {}
            }
        }
        let name = |at: &u64| OsString::from_vec(memory.text(*at, b'='));
        Self {
            args: args.iter().map(|at| OsString::from_vec(memory.text(*at, 0))).collect(),
            environment: environment.iter().map(name).filter(|name| !name.is_empty()).collect(),
            uids,
        }
    }
}

/// What the trace says of an image's memory, beside the files.
struct Contents<'a>(BTreeMap<u64, &'a [u8]>);

impl<'a> Contents<'a> {
    fn of(image: &'a Image) -> Self {
        Self(image.writes.iter().map(|write| (write.address, &*write.bytes)).collect())
    }

    fn from(&self, at: u64) -> &'a [u8] {
        let before = self.0.range(..=at).next_back();
        before.and_then(|(start, bytes)| bytes.get(usize::try_from(at - start).ok()?..)).unwrap_or_default()
    }

    fn word(&self, at: u64) -> Option<u64> {
        self.from(at).first_chunk().map(|word| u64::from_ne_bytes(*word))
    }

    /// The bytes up to a null byte or to `end`.
    fn text(&self, at: u64, end: u8) -> Vec<u8> {
        let mut text = Vec::new();
        while text.len() < WORD {
            let part = self.from(at.wrapping_add(text.len() as u64));
            let part = &part[..part.len().min(WORD - text.len())];
            let stop = part.iter().position(|byte| *byte == 0 || *byte == end);
            text.extend_from_slice(&part[..stop.unwrap_or(part.len())]);
            if stop.is_some() || part.is_empty() {
                break;
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::event::Write;
    use crate::tracee::Registers;

    /// An image with this stack, on two parts of memory.
    fn image(words: &[u64], text: &[u8]) -> Image {
        let mut registers = Registers([0; _]);
        /// `rsp` of struct user_regs_struct.
        const SP: usize = 19;
        registers.0[SP] = 0x7000;
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend_from_slice(text);
        let behind = bytes.split_off(bytes.len() - 4);
        let second = 0x7000 + bytes.len() as u64;
        let writes = vec![Write { address: second, bytes: behind }, Write { address: 0x7000, bytes }];
        Image { program: "/p".to_owned(), mappings: Vec::new(), writes, registers }
    }

    #[test]
    fn a_stack_tells_arguments_variables_and_users() {
        let text = 0x7000 + 11 * 8;
        let words = [2, text, text + 2, 0, text + 4, 0, AT_UID, 1000, AT_EUID, 7, AT_NULL];
        let start = Start::of(&image(&words, b"p\0a\0NAME=secret\0"));
        assert_eq!(start.args, ["p", "a"]);
        assert_eq!(start.environment, ["NAME"]);
        assert_eq!(start.uids, [1000, 7]);
    }

    #[test]
    fn a_stack_that_is_none_tells_nothing() {
        assert_eq!(Start::of(&image(&[], b"abcd")), Start::default());
        let start = Start::of(&image(&[1, 0x7000, u64::MAX, 3, 0], b"abcd"));
        assert_eq!(start.args.len(), 3);
        let endless: Vec<u64> = vec![0x7001; 100_000];
        let start = Start::of(&image(&endless, b"abcd"));
        assert_eq!((start.args.len(), start.environment.len()), (WORDS, WORDS));
    }
}
