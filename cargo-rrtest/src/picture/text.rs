//! Text from a trace, as readers may see it.

use crate::base::words::visible;

/// Characters that change the order in which text is shown, and so what it seems to say (UAX #9, 2).
const REORDERING: [char; 12] = [
    '\u{061c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}',
    '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
];

/// Control characters, and those that reorder text, are written out. Ends of lines stay.
pub(super) fn plain(text: &str) -> String {
    let text = visible(&text.replace('\t', "    "));
    if !text.contains(REORDERING) {
        return text;
    }
    let written = |c: char| match REORDERING.contains(&c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(written).collect()
}

/// What a program printed, without its colours.
pub(super) fn printed(output: &str) -> String {
    plain(&anstream::adapter::strip_str(output).to_string().replace("\r\n", "\n"))
}

/// What was in memory, as a number.
pub(super) fn value(value: u64) -> String {
    if value <= u64::from(u32::MAX) { value.to_string() } else { format!("{value:#x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_deceive_is_written_out() {
        assert_eq!(plain("a\tb\u{1b}[2J\u{202e}c\nd"), "a    b\\u{1b}[2J\\u{202e}c\nd");
        assert_eq!(printed("\u{1b}[31mred\u{1b}[0m\r\n</script>\u{202e}"), "red\n</script>\\u{202e}");
        assert_eq!((value(7), value(1 << 40)), ("7".to_owned(), "0x10000000000".to_owned()));
    }
}
