//! The runtime as it is shipped: compiled to an object, linked into instrumented programs, run.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use object::{
    Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolFlags, SymbolKind,
    elf::{R_X86_64_64, R_X86_64_PC32, R_X86_64_PLT32, SHF_EXECINSTR, SHF_WRITE, STV_HIDDEN},
    read::RelocationFlags,
};
use rrtest_preload::flags;
use tempfile::TempDir;

const OPT_LEVELS: [&str; 2] = ["0", "3"];

/// A directory with the compiled runtime in it.
struct Build {
    directory: TempDir,
    runtime: PathBuf,
}

impl Build {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = directory.path().join("runtime.o");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
        rustc(&source, &runtime, flags::RUNTIME);
        Self { directory, runtime }
    }

    /// Compiles one of `tests/programs`.
    fn program(&self, source: &str, output: &str, flags: &[impl AsRef<OsStr>]) -> PathBuf {
        let output = self.directory.path().join(output);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(source);
        rustc(&source, &output, flags);
        output
    }

    /// Flags for an instrumented program.
    fn instrumented(&self, level: &[&str], opt_level: &str) -> Vec<String> {
        let mut flags: Vec<String> = level.iter().map(ToString::to_string).collect();
        flags.push("--edition=2024".into());
        flags.push(format!("-Copt-level={opt_level}"));
        flags.push(format!("-Clink-arg={}", self.runtime.display()));
        flags
    }
}

fn rustc(source: &Path, output: &Path, flags: &[impl AsRef<OsStr>]) {
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let result = Command::new(compiler).args(flags).arg("-o").arg(output).arg(source).output().unwrap();
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
}

fn run(program: &Path, arguments: &[&OsStr]) {
    let result = Command::new(program).args(arguments).output().unwrap();
    assert!(result.status.success(), "{}: {}", result.status, String::from_utf8_lossy(&result.stderr));
}

/// What `compiler-rt/lib/tsan/rtl/tsan_interface{,_atomic}.h` declares, as far as compilers emit it.
fn abi() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for bits in ["8", "16", "32", "64", "128"] {
        for operation in [
            "load",
            "store",
            "exchange",
            "fetch_add",
            "fetch_sub",
            "fetch_and",
            "fetch_or",
            "fetch_xor",
            "fetch_nand",
            "compare_exchange_strong",
            "compare_exchange_weak",
            "compare_exchange_val",
        ] {
            names.insert(format!("__tsan_atomic{bits}_{operation}"));
        }
    }
    for access in ["read", "write"] {
        for size in [1, 2, 4, 8, 16] {
            names.extend(["", "_pc"].map(|suffix| format!("__tsan_{access}{size}{suffix}")));
            names.insert(format!("__tsan_volatile_{access}{size}"));
            if size > 1 {
                names.extend(["", "_pc"].map(|suffix| format!("__tsan_unaligned_{access}{size}{suffix}")));
                names.insert(format!("__tsan_unaligned_volatile_{access}{size}"));
            }
        }
        names.extend(["", "_pc"].map(|suffix| format!("__tsan_{access}_range{suffix}")));
    }
    names.extend([1, 2, 4, 8, 16].map(|size| format!("__tsan_read_write{size}")));
    names.extend([2, 4, 8, 16].map(|size| format!("__tsan_unaligned_read_write{size}")));
    names.extend(
        [
            "init",
            "func_entry",
            "func_exit",
            "ignore_thread_begin",
            "ignore_thread_end",
            "vptr_read",
            "vptr_update",
            "memcpy",
            "memmove",
            "memset",
            "atomic_thread_fence",
            "atomic_signal_fence",
        ]
        .map(|name| format!("__tsan_{name}")),
    );
    names
}

#[test]
fn the_object_stands_alone() {
    let build = Build::new();
    let bytes = fs::read(&build.runtime).unwrap();
    let object = object::File::parse(&*bytes).unwrap();

    let undefined: Vec<_> = object.symbols().skip(1).filter(|s| s.is_undefined()).map(|s| s.name()).collect();
    assert!(undefined.is_empty(), "{undefined:?}");

    let mut entries = BTreeSet::new();
    for symbol in object.symbols().filter(|s| s.is_global() && !s.name().unwrap().starts_with("_ZN")) {
        let name = symbol.name().unwrap();
        let SymbolFlags::Elf { st_other, .. } = symbol.flags() else { panic!("not ELF") };
        assert_eq!(
            st_other & 3, // ELF64_ST_VISIBILITY
            STV_HIDDEN,
            "{name} is visible outside of the program or library that it is in"
        );
        assert_eq!(symbol.kind(), SymbolKind::Text, "{name}");
        if name.starts_with("__tsan_") {
            entries.insert(name.to_owned());
        }
    }
    assert_eq!(entries, abi());
}

#[test]
fn the_object_suits_programs_and_libraries_at_any_address() {
    let build = Build::new();
    let bytes = fs::read(&build.runtime).unwrap();
    let object = object::File::parse(&*bytes).unwrap();
    assert!(object.section_by_name(".note.GNU-stack").is_some(), "without it, stacks are executable");
    let mut constructors = 0;
    for section in object.sections() {
        let name = section.name().unwrap();
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else { panic!("not ELF") };
        let both = u64::from(SHF_WRITE | SHF_EXECINSTR);
        assert_ne!(sh_flags & both, both, "{name}");
        let constructor = name.starts_with(".init_array");
        constructors += if constructor { section.size() / 8 } else { 0 };
        for (offset, relocation) in section.relocations() {
            let RelocationFlags::Elf { r_type } = relocation.flags() else { panic!("not ELF") };
            let suits =
                r_type == R_X86_64_PC32 || r_type == R_X86_64_PLT32 || (constructor && r_type == R_X86_64_64);
            assert!(suits, "{name}+{offset:#x}: type {r_type}");
        }
    }
    assert_eq!(constructors, 1);
}

#[test]
fn as_a_plain_library_it_defines_no_entry_points() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("plain.o");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let plain: Vec<_> = flags::RUNTIME.iter().filter(|flag| !flag.starts_with("--cfg")).collect();
    rustc(&source, &output, &plain);
    let bytes = fs::read(&output).unwrap();
    let object = object::File::parse(&*bytes).unwrap();
    assert!(!object.symbols().any(|symbol| symbol.name().is_ok_and(|name| name.contains("tsan"))));
    assert!(!object.sections().any(|section| section.name().is_ok_and(|name| name.contains("init_array"))));
}

#[test]
fn outside_the_recorder_operations_do_what_they_always_do() {
    let build = Build::new();
    for (level, name) in [(flags::SYNC, "sync"), (flags::MEMORY, "memory")] {
        for opt_level in OPT_LEVELS {
            let output = format!("operations-{name}-{opt_level}");
            run(&build.program("operations.rs", &output, &build.instrumented(level, opt_level)), &[]);
        }
    }
}

#[test]
fn under_a_recorder_each_operation_ticks() {
    let build = Build::new();
    let recorder = build.program("recorder.rs", "librecorder.rlib", &["--edition=2024", "--crate-type=rlib"]);
    for (level, name) in [(flags::SYNC, "sync"), (flags::MEMORY, "memory")] {
        for opt_level in OPT_LEVELS {
            let mut flags = build.instrumented(level, opt_level);
            flags.push("--crate-type=cdylib".into());
            let library = build.program("library.rs", &format!("library-{name}-{opt_level}.so"), &flags);
            flags.pop();
            flags.push(format!("--extern=recorder={}", recorder.display()));
            let program = build.program("ticks.rs", &format!("ticks-{name}-{opt_level}"), &flags);
            run(&program, &[name.as_ref(), library.as_ref()]);
        }
    }
}

/// Position-independent or not, static or dynamic, unwinding or not, optimised across crates or not.
#[test]
fn the_object_links_in_every_way() {
    let build = Build::new();
    let ways: [&[&str]; 7] = [
        &["-Crelocation-model=static"],
        &["-Ctarget-feature=+crt-static"],
        &["-Ctarget-feature=+crt-static", "-Crelocation-model=static"],
        &["-Cprefer-dynamic", "-Crpath"],
        &["-Cpanic=abort"],
        &["-Clto=thin"],
        &["-Clto=fat"],
    ];
    for (index, way) in ways.iter().enumerate() {
        let mut flags = build.instrumented(flags::SYNC, "1");
        flags.extend(way.iter().map(ToString::to_string));
        run(&build.program("threads.rs", &format!("threads-{index}"), &flags), &[]);
    }
}
