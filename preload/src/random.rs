//! Random numbers for the code inside a process, with a word of state.

/// Draws the next number of a stream, whose state is not 0: Marsaglia, "Xorshift RNGs" (Journal of Statistical Software
/// 2003), multiplied as in Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" (2016).
#[inline]
pub fn draw(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

/// Draws a number less than `bound`; 0 if that is 0. (Multiply and shift: the bias is below `bound` / 2^64.)
#[inline]
pub fn below(state: &mut u64, bound: u64) -> u64 {
    ((u128::from(draw(state)) * u128::from(bound)) >> 64) as u64
}
