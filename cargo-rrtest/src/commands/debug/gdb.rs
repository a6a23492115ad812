//! gdb: what it is told at its start.

use super::scene::{Argument, COMMANDS, Ours, Scene};

/// The commands with which gdb begins.
pub(super) fn script(scene: &Scene<'_>) -> String {
    let Scene { socket, files, banner, frame, .. } = *scene;
    let mut text = String::from(
        "set confirm off\nset pagination off\nset breakpoint pending on\nset print thread-events off\n\
         set remotetimeout 600\n",
    );
    for Ours { name, argument, moves, help } in COMMANDS {
        let asks = match argument {
            Argument::None => format!("monitor {name}"),
            Argument::One => format!("monitor {name} $arg0"),
            Argument::Perhaps => {
                format!("if $argc == 0\nmonitor {name}\nelse\nmonitor {name} $arg0\nend")
            }
        };
        let again = format!("disconnect\ntarget remote {}", socket.display());
        let then = if moves { again.as_str() } else { "" };
        text += &format!("define {name}\n{asks}\n{then}\nend\ndocument {name}\n{help}\nend\n");
    }
    // What the trace carries comes before what this machine has.
    let files = files.display();
    text += &format!("set sysroot {files}\ndirectory {files}\n");
    text += &format!("target remote {}\n", socket.display());
    for line in banner.text().lines() {
        text += &format!("echo {}\\n\n", escaped(line));
    }
    if let Some((thread, frame)) = frame {
        // gdb begins with the first.
        let thread = if thread > 1 { format!("thread {thread}\n") } else { String::new() };
        text += &format!("{thread}frame {frame}\n");
    }
    text + "set pagination on\n"
}

/// A text as `echo` takes it.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for (at, character) in text.char_indices() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '"' | '\'' => escaped.extend(['\\', character]),
            // Leading blanks are not taken.
            ' ' if text[..at].trim().is_empty() => escaped.push_str("\\ "),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_echoed_is_shown_as_it_is() {
        assert_eq!(escaped("  left: \"a\\b\""), "\\ \\ left: \\\"a\\\\b\\\"");
    }
}
