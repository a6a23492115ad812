//! The user's home directory.

use std::env;
use std::fs;
use std::path::PathBuf;

use nix::unistd::Uid;

/// What `HOME` says, else /etc/passwd. The C library would ask all databases that nsswitch.conf(5) lists, for which it
/// loads libraries: in a static program those of another version.
pub(crate) fn home() -> Option<PathBuf> {
    let named = env::var_os("HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| in_passwd(&fs::read_to_string("/etc/passwd").ok()?, Uid::current()))
}

/// The home directory that the text of a passwd(5) gives a user.
fn in_passwd(text: &str, user: Uid) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let [_, _, id, _, _, home, ..] = line.split(':').collect::<Vec<_>>()[..] else { return None };
        (id.parse() == Ok(user.as_raw()) && !home.is_empty()).then(|| home.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_number() {
        let text = "root:x:0:0:root:/root:/bin/sh\n# a comment\nann:x:1001:1001:,,,:/home/ann:/bin/sh\nno:x:2:2:::\n";
        assert_eq!(in_passwd(text, Uid::from_raw(1001)), Some("/home/ann".into()));
        assert_eq!(in_passwd(text, Uid::from_raw(0)), Some("/root".into()));
        assert_eq!(in_passwd(text, Uid::from_raw(2)), None);
        assert_eq!(in_passwd(text, Uid::from_raw(3)), None);
    }
}
