//! A failure as one HTML file, which needs nothing else and reaches for nothing else.
//!
//! Its policy ([Content Security Policy Level 3](https://www.w3.org/TR/CSP3/)) lets the browser apply the one style and run
//! the one script that are in it, by their digests, and load nothing. Without the script it says the same.

mod course;
mod failure;
mod stacks;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};
use rrtest_engine::Error;
use rrtest_engine::history::How;
use sha2::{Digest, Sha256};

use super::subject::Subject;
use super::text::plain;

/// How every page begins, by which we know our own.
pub(crate) const BEGIN: &str = "<!DOCTYPE html><!-- cargo rrtest report -->";

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Writes the page. Some of it takes another replay.
///
/// # Errors
/// If the trace is damaged or diverges.
pub(crate) fn page(subject: &Subject<'_, '_>, how: How<'_>) -> Result<String, Error> {
    let course = course::Shown::of(subject, how)?;
    let title = failure::title(subject);
    let sections = [
        failure::message(subject),
        failure::needs(subject),
        stacks::waits(subject),
        stacks::sources(subject)?,
        course.section(subject)?,
        stacks::stacks(subject)?,
        failure::output(subject),
        failure::replay(subject),
    ];
    let body = html! {
        (failure::header(subject))
        main { @for section in &sections { (section) } }
        footer { "Made by cargo rrtest " (env!("CARGO_PKG_VERSION")) ". This page is complete: it loads nothing." }
    };
    Ok(whole(&title, &body))
}

fn whole(title: &str, body: &Markup) -> String {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        digest(STYLE),
        digest(SCRIPT)
    );
    let page = html! {
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (plain(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a .skip href="#course" { "Skip to what the threads did" }
                (body)
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    format!("{BEGIN}{}\n", page.into_string())
}

fn digest(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

/// Text in which names of threads and commands stand in backquotes, as on a terminal.
fn prose(text: &str) -> Markup {
    let text = plain(text);
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// The text of a source line.
fn code(text: &str) -> Markup {
    html! { code { (plain(text.trim())) } }
}

/// A command to copy.
fn command(text: &str) -> Markup {
    html! { pre .command tabindex="0" { code { (plain(text)) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_carries_its_style_and_script_and_nothing_else_runs() {
        let page = whole("</title><script>alert(1)</script>", &html! { p { "<img src=x>" } });
        assert!(page.starts_with(BEGIN));
        assert_eq!(page.matches("<script>").count(), 1, "ours");
        assert!(page.contains("&lt;img src=x&gt;") && page.contains("&lt;/title&gt;"));
        assert!(page.contains("default-src 'none'"));
        for outside in ["http://", "https://", "url(", "@import", "fetch(", "XMLHttp"] {
            assert!(!STYLE.contains(outside) && !SCRIPT.contains(outside), "{outside}");
        }
        // The browser takes the digest of exactly what stands between the tags.
        for (tag, text) in [("style", STYLE), ("script", SCRIPT)] {
            assert!(page.contains(&format!("<{tag}>{text}</{tag}>")), "{tag}");
            assert!(!text.contains("</"), "{tag}");
        }
    }
}
