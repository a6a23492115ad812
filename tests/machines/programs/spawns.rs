//! Starts programs: one through a shell, several at a time, one that is not there.

use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn spawns() {
    let script = "for i in 1 2 3; do echo $i | tr 1-3 a-c; done | sort -r; exit 4";
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    println!("{} {:?}", output.status, String::from_utf8_lossy(&output.stdout));
    let children: Vec<_> = (0..3)
        .map(|n| Command::new("expr").args(["40", "+", &n.to_string()]).stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    for child in children {
        print!("{}", String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout));
    }
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    cat.stdin.take().unwrap().write_all("from a pipe ".repeat(900).as_bytes()).unwrap();
    println!("{} bytes", cat.wait_with_output().unwrap().stdout.len());
    println!("{:?}", Command::new("/nothing/there").spawn().unwrap_err().kind());
}
