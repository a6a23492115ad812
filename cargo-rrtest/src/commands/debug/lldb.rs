//! lldb: what it is told at its start.

use super::banner::Tries;
use super::scene::{COMMANDS, Ours, Scene};

/// Commands to try.
pub(super) const TRIES: Tries = &[
    ("breakpoint set -n F", "then process continue --reverse: goes back to where F was last called"),
    ("frame variable", "shows the variables of this frame"),
    ("when", "tells this moment; `--at MOMENT` begins there"),
];

/// The commands with which lldb begins.
pub(super) fn script(scene: &Scene<'_>) -> String {
    let Scene { socket, files, program, frame, .. } = *scene;
    let carried = files.join(program.trim_start_matches('/'));
    let program = if carried.is_file() { carried } else { program.into() };
    let mut text =
        String::from("settings set interpreter.echo-commands false\nsettings set auto-confirm true\n");
    // The name is the trace's, and each line of this a command.
    if let Some(program) = quoted(&program.to_string_lossy()) {
        text += &format!("target create {program}\n");
    }
    text += &format!("settings append target.exec-search-paths \"{}\"\n", files.display());
    text += &format!("process connect --plugin gdb-remote unix-connect://{}\n", socket.display());
    for Ours { name, .. } in COMMANDS.iter().filter(|command| !command.moves) {
        text += &format!("command alias {name} process plugin packet monitor {name}\n");
    }
    if let Some((thread, frame)) = frame {
        text += &format!("thread select {thread}\nframe select {frame}\n");
    }
    text + "settings set interpreter.echo-commands true\n"
}

/// Text in double quotes, as lldb reads it; none if it has characters that nothing can stand for there.
fn quoted(text: &str) -> Option<String> {
    let escaped = |c: char| if "\\\"`".contains(c) { format!("\\{c}") } else { c.to_string() };
    let is_plain = !text.chars().any(char::is_control);
    is_plain.then(|| format!("\"{}\"", text.chars().map(escaped).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::commands::debug::banner::Banner;

    #[test]
    fn lldb_is_sent_to_the_frame_of_the_failure() {
        let files = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(files.path().join("bin")).expect("a directory");
        std::fs::write(files.path().join("bin/it"), "").expect("a file");
        let banner = Banner::default();
        let scene = Scene {
            socket: Path::new("/tmp/a place/gdb"),
            files: files.path(),
            program: "/bin/it",
            banner: &banner,
            frame: Some((2, 8)),
        };
        let carried = format!("target create \"{}/bin/it\"\n", files.path().display());
        let here = script(&scene);
        assert!(here.contains(&carried) && here.contains("unix-connect:///tmp/a place/gdb\n"), "{here}");
        assert!(here.contains("thread select 2\nframe select 8\n"), "{here}");
        assert!(here.contains("command alias when ") && !here.contains("alias seek"), "{here}");
        let elsewhere = script(&Scene { program: "/bin/other", ..scene });
        assert!(elsewhere.contains("target create \"/bin/other\"\n"), "{elsewhere}");
        let hostile = script(&Scene { program: "/bin/a\"\nplatform shell id", ..scene });
        assert!(!hostile.contains("target create") && !hostile.contains("shell"), "{hostile}");
        let odd = script(&Scene { program: "/bin/a\"`b", ..scene });
        assert!(odd.contains("target create \"/bin/a\\\"\\`b\"\n"), "{odd}");
    }
}
