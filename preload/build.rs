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
    std::fs::write(out.join("digest"), format!("{:#x}_u128", digest())).expect("cannot write the digest");
}

/// FNV-1a, of 128 bits, of the code that a trace depends on, whichever compiler makes it: the sources without comments, indentation
/// and empty lines.
fn digest() -> u128 {
    const FILES: [&str; 11] = [
        "layout.rs",
        "calls.rs",
        "objects.rs",
        "random.rs",
        "reads.rs",
        "turns.rs",
        "buffer/hand_over.rs",
        "buffer/mod.rs",
        "buffer/reads.rs",
        "buffer/record.rs",
        "buffer/replay.rs",
    ];
    let sources = Path::new(&var("CARGO_MANIFEST_DIR")).join("src");
    let mut digest = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for file in FILES {
        let source = std::fs::read_to_string(sources.join(file)).expect("cannot read a source file");
        let lines = source.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
        for byte in lines.flat_map(|line| line.bytes().chain([b'\n'])) {
            digest = (digest ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
    digest
}

/// All code and constants in one piece, the header first, and what is in traces behind it: where a task stops for a read is the same
/// whichever compiler has made the rest. There is no place for data: the code keeps none.
fn linker_script() -> String {
    format!(
        "SECTIONS {{
            . = {:#x};
            .image : {{ KEEP(*(.header)) KEEP(*(.header.read)) *(.text .text.*) *(.rodata .rodata.*) }}
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
