//! What a program wrote, as it is shown and searched.

use rrtest_engine::output::Output;
use rrtest_engine::trace::event::Stream;
use serde::Serialize;

use crate::base::words::size;

/// What went to these streams, with a line in place of what is left out.
pub(crate) fn text(output: &Output, streams: &[Stream]) -> String {
    let mut bytes = Vec::new();
    let wanted = |(stream, _): &(Stream, &[u8])| streams.contains(stream);
    output.beginning().filter(wanted).for_each(|(_, part)| bytes.extend_from_slice(part));
    if output.left_out() > 0 {
        let mib = output.left_out() as f64 / f64::from(1 << 20);
        bytes.extend_from_slice(
            format!("\n[{mib:.1} MiB of output left out: `cargo rrtest replay` shows all]\n").as_bytes(),
        );
    }
    output.end().filter(wanted).for_each(|(_, part)| bytes.extend_from_slice(part));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What went to either stream, in order.
pub(crate) fn both(output: &Output) -> String {
    text(output, &[Stream::Stdout, Stream::Stderr])
}

/// The beginning and the end of a text that may be long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Excerpt {
    /// The beginning; all of the text if nothing is left out.
    pub(crate) head: String,
    /// The end, which follows what is left out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) tail: String,
    /// The bytes that are left out between them.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) left_out: usize,
}

impl Excerpt {
    /// At most so many bytes of the beginning and of the end.
    pub(crate) fn of(text: &str, head: usize, tail: usize) -> Self {
        if text.len() <= head + tail {
            return Self { head: text.to_owned(), tail: String::new(), left_out: 0 };
        }
        let mut begin = head;
        while !text.is_char_boundary(begin) {
            begin -= 1;
        }
        let end = end(text, tail);
        Self {
            head: text[..begin].to_owned(),
            tail: end.to_owned(),
            left_out: text.len() - begin - end.len(),
        }
    }

    /// As one text, with a line in place of what is left out.
    pub(crate) fn joined(&self) -> String {
        match self.left_out {
            0 => self.head.clone(),
            left_out => {
                format!("{}\n[{} of output left out]\n{}", self.head, size(left_out as u64), self.tail)
            }
        }
    }
}

/// At most so many bytes of a text's end.
pub(crate) fn end(text: &str, most: usize) -> &str {
    let mut begin = text.len().saturating_sub(most);
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    &text[begin..]
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_told() {
        let mut output = Output::default();
        output.push(Stream::Stdout, b"out\n");
        output.push(Stream::Stderr, b"err\n");
        assert_eq!(both(&output), "out\nerr\n");
        assert_eq!(text(&output, &[Stream::Stderr]), "err\n");
        output.push(Stream::Stdout, &vec![b'\n'; 20 << 20]);
        output.push(Stream::Stdout, b"end\n");
        let text = both(&output);
        assert!(text.contains("\n[12.1 MiB of output left out: `cargo rrtest replay` shows all]\n"));
        assert!(text.ends_with("\nend\n"));
    }

    #[test]
    fn an_excerpt_has_both_ends() {
        let excerpt = |text: &str| Excerpt::of(text, 4, 6);
        assert_eq!(
            excerpt("0123456789"),
            Excerpt { head: "0123456789".into(), tail: String::new(), left_out: 0 }
        );
        assert_eq!(
            excerpt("0123456789ab"),
            Excerpt { head: "0123".into(), tail: "6789ab".into(), left_out: 2 }
        );
        // No character is cut in two.
        let cut = excerpt("ééééééééé");
        assert_eq!((&*cut.head, &*cut.tail, cut.left_out), ("éé", "ééé", 8));
        assert_eq!(end("xéé", 3), "é");
    }
}
