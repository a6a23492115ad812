//! Texts from elsewhere as Markdown that means nothing else: a test may have any name, and write anything.

use crate::base::words::visible;

/// A text of one line as code, in a table as well.
pub(super) fn code(text: &str) -> String {
    let text = visible(text).replace('\n', " ").replace('|', "\\|");
    let fence = "`".repeat(longest_run(&text) + 1);
    // A space keeps its own backticks from the fence; one at both ends is not shown.
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// Lines as a block of code.
pub(super) fn block(text: &str, language: &str) -> String {
    let text = visible(&anstream::adapter::strip_str(text).to_string());
    let text = text.trim_matches('\n');
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    format!("{fence}{language}\n{text}\n{fence}\n")
}

/// The length of the longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_ends_where_it_should() {
        assert_eq!(code("p::it t"), "`p::it t`");
        assert_eq!(code("a|b\n<img>"), "`a\\|b <img>`");
        assert_eq!(code("`a``"), "``` `a`` ```");
        assert_eq!(block("\none\n```\n\x1b[31m# two\x1b[0m\n", "text"), "````text\none\n```\n# two\n````\n");
    }
}
