//! What a program wrote, as it is shown and searched.

use rrtest_engine::output::Output;
use rrtest_engine::trace::event::Stream;

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
}
