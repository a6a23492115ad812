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
    text += &format!("target create \"{}\"\n", program.display());
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
    }
}
