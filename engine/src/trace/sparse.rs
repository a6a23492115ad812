//! Registers of which most are 0, as the stream has them: a word that says which are not, and those.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};

use crate::tracee::Registers;

/// Registers.
const COUNT: usize = 27;

pub(super) fn serialize<S: Serializer>(registers: &Registers, serializer: S) -> Result<S::Ok, S::Error> {
    // Whoever reads texts wants to see them all.
    if serializer.is_human_readable() {
        return registers.serialize(serializer);
    }
    let used = registers.0.iter().enumerate().filter(|(_, value)| **value != 0);
    let mask = used.clone().fold(0_u32, |mask, (number, _)| mask | 1 << number);
    let mut tuple = serializer.serialize_tuple(1 + mask.count_ones() as usize)?;
    tuple.serialize_element(&mask)?;
    for (_, value) in used {
        tuple.serialize_element(value)?;
    }
    tuple.end()
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Registers, D::Error> {
    if deserializer.is_human_readable() {
        return Registers::deserialize(deserializer);
    }
    deserializer.deserialize_tuple(1 + COUNT, Sparse)
}

struct Sparse;

impl<'de> Visitor<'de> for Sparse {
    type Value = Registers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("which registers are not 0, and those")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Registers, A::Error> {
        let missing = || A::Error::custom("a register is missing");
        let mask: u32 = values.next_element()?.ok_or_else(missing)?;
        if mask >> COUNT != 0 {
            return Err(A::Error::custom("there is no such register"));
        }
        let mut registers = Registers([0; COUNT]);
        for (number, register) in registers.0.iter_mut().enumerate() {
            if mask >> number & 1 == 1 {
                *register = values.next_element()?.ok_or_else(missing)?;
            }
        }
        Ok(registers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Sparsely(#[serde(with = "super")] Registers);

    #[test]
    fn few_registers_take_few_bytes() {
        let mut registers = Registers([0; COUNT]);
        for (values, bytes) in [(&[][..], 1), (&[(0, 5)], 2), (&[(0, 5), (26, u64::MAX)], 15)] {
            values.iter().for_each(|(number, value)| registers.0[*number] = *value);
            let encoded = postcard::to_stdvec(&Sparsely(registers)).unwrap();
            assert_eq!(encoded.len(), bytes);
            assert_eq!(postcard::from_bytes::<Sparsely>(&encoded).unwrap().0, registers);
        }
        let text = serde_json::to_string(&Sparsely(registers)).unwrap();
        assert_eq!(serde_json::from_str::<Sparsely>(&text).unwrap().0, registers);
        assert!(postcard::from_bytes::<Sparsely>(&postcard::to_stdvec(&u32::MAX).unwrap()).is_err());
    }
}
