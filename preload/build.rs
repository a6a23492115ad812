//! Compiles and links the system-call buffer's code, as the bytes that the recorder puts into each process.

use std::path::{Path, PathBuf};
use std::process::Command;

// The build script needs only the constants.
#[path = "src/layout.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
mod layout;

#[path = "src/flags.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
mod flags;

fn main() {
    println!("cargo::rerun-if-changed=src");
    let out = PathBuf::from(var("OUT_DIR"));
    let script = out.join("buffer.ld");
    std::fs::write(&script, linker_script()).expect("cannot write the linker script");
    let status = Command::new(var("RUSTC"))
        .arg(Path::new(&var("CARGO_MANIFEST_DIR")).join("src/lib.rs"))
        .args(flags::BUFFER)
        .arg(format!("-Clink-arg=-Wl,-T,{}", script.display()))
        .args(["--target", &var("TARGET"), "-o"])
        .arg(out.join("buffer"))
        .status()
        .expect("cannot start rustc for the system-call buffer");
    assert!(status.success(), "the system-call buffer does not compile");
}

/// All code and constants in one piece, the header first, and what is in traces behind it: where a task stops for a read is the same
/// whichever compiler has made the rest. There is no place for data: the code keeps none.
fn linker_script() -> String {
    format!(
        "SECTIONS {{
            . = {:#x};
            .image : {{ KEEP(*(.header)) KEEP(*(.header.read)) KEEP(*(.header.tick)) *(.text .text.*) *(.rodata .rodata.*) }}
            .data : {{ *(.data .data.* .bss .bss.* .got .got.*) }}
            ASSERT(SIZEOF(.data) == 0, \"the buffer's code has data\")
            ASSERT(SIZEOF(.image) <= {:#x}, \"the buffer's code is too large\")
            /DISCARD/ : {{ *(.comment) *(.eh_frame*) *(.note*) *(.debug*) }}
        }}",
        layout::BUFFER,
        layout::BUFFER_LEN,
    )
}

fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
