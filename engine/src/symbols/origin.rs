//! Whose code a frame is of: the user's, the standard library's, a crate's.

use crate::ending::Frame;

/// Who wrote a frame's code, as far as its source file shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The user.
    Own,
    /// The runtime that instrumented code calls at every tick.
    Runtime,
    /// The standard library, as it was built or from `rust-src`.
    Std,
    /// A crate that cargo fetched, by name and, if known, version.
    Crate(String),
    /// Unknown: there is no source file.
    Unknown,
}

impl Origin {
    /// Returns the origin of a frame.
    #[must_use]
    pub fn of(frame: &Frame) -> Self {
        if frame.function.as_deref().is_some_and(|name| name.starts_with("__tsan_")) {
            return Self::Runtime;
        }
        let Some((path, _)) = &frame.location else { return Self::Unknown };
        if path.contains("/rustc/") || path.contains("/rustlib/src/rust/") {
            Self::Std
        } else if let Some((_, rest)) = path.split_once("/registry/src/") {
            // INDEX/NAME-VERSION/src/…
            Self::Crate(rest.split('/').nth(1).map_or_else(String::new, named))
        } else if let Some((_, rest)) = path.split_once("/git/checkouts/") {
            // NAME-HASH/COMMIT/…
            let name = rest.split('/').next().unwrap_or_default();
            Self::Crate(name.rsplit_once('-').map_or(name, |(name, _)| name).to_owned())
        } else {
            Self::Own
        }
    }
}

/// Splits `NAME-VERSION` into words.
fn named(directory: &str) -> String {
    // The version is MAJOR.MINOR.PATCH, possibly with a suffix.
    let version = |at: &usize| {
        let rest = &directory[at + 1..];
        let numbers = rest.split(['-', '+']).next().unwrap_or_default();
        numbers.starts_with(|c: char| c.is_ascii_digit()) && numbers.matches('.').count() == 2
    };
    let at = directory.match_indices('-').map(|(at, _)| at).find(version);
    at.map_or_else(|| directory.to_owned(), |at| format!("{} {}", &directory[..at], &directory[at + 1..]))
}

/// Returns the innermost frame in the user's own code, if there is one.
///
/// The frame before it in `frames` shows what a deadlocked task does there: the library function that it called.
#[must_use]
pub fn interesting(frames: &[Frame]) -> Option<&Frame> {
    frames.iter().find(|frame| Origin::of(frame) == Origin::Own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, location: &str) -> Frame {
        Frame { address: 0, function: Some(function.into()), location: Some((location.into(), 40)) }
    }

    #[test]
    fn library_code_is_not_of_interest() {
        let frames = [
            Frame { address: 0, function: Some("syscall".into()), location: None },
            frame("__tsan_atomic32_load", "/home/me/runtime.rs"),
            frame(
                "futex_wait",
                "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/std/src/sys/futex.rs",
            ),
            frame(
                "Mutex<T>::lock",
                "/home/me/.rustup/toolchains/stable/lib/rustlib/src/rust/library/std/src/mutex.rs",
            ),
            frame(
                "park",
                "/home/me/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/tokio-1.48.0/src/park.rs",
            ),
            frame("transfer", "/home/me/bank/src/lib.rs"),
            frame("test", "/home/me/bank/tests/it.rs"),
        ];
        assert_eq!(interesting(&frames), Some(&frames[5]));
        assert_eq!(interesting(&frames[..5]), None);
        let own = Origin::Own;
        let tokio = Origin::Crate("tokio 1.48.0".to_owned());
        assert_eq!(
            frames.each_ref().map(Origin::of),
            [Origin::Unknown, Origin::Runtime, Origin::Std, Origin::Std, tokio, own.clone(), own]
        );
        let of_git = frame("f", "/home/me/.cargo/git/checkouts/a-crate-0123456789abcdef/7654321/src/lib.rs");
        assert_eq!(Origin::of(&of_git), Origin::Crate("a-crate".to_owned()));
        assert_eq!(named("crossbeam-epoch-0.9.18"), "crossbeam-epoch 0.9.18");
        assert_eq!(named("x-1.0.0-rc-2"), "x 1.0.0-rc-2");
        assert_eq!(named("sha-1-0.10.1"), "sha-1 0.10.1");
    }
}
