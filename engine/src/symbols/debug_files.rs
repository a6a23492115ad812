//! Which files a debugger needs of a program: the program itself and what the compiler or the distribution has put into
//! files of their own, and which sources it was compiled from.
//!
//! Separate debug information is looked for as gdb does ("Debugging Information in Separate Files"): by build id and by
//! `.gnu_debuglink`, with what `.gnu_debugaltlink` shares among several; split by the compiler in `.dwp` beside the
//! program and in the `.dwo` files that its units name (DWARF 5, appendix F).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use addr2line::gimli::{self, DwarfSections, EndianSlice, LittleEndian};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ReadCache};

/// Where distributions put debug information.
const DEBUG: &str = "/usr/lib/debug";

type Reader<'a> = EndianSlice<'a, LittleEndian>;
type Dwarf<'a> = gimli::Dwarf<Reader<'a>>;
type Unit<'a> = gimli::Unit<Reader<'a>>;
type Elf<'a> = ElfFile64<'a, object::LittleEndian, &'a ReadCache<File>>;

/// Returns the files that a debugger needs of a program or library, as far as they are at hand: the file itself first.
/// Empty if it is no ELF file.
#[must_use]
pub fn of_program(path: &Path) -> Vec<PathBuf> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let file = ReadCache::new(file);
    let Ok(elf) = Elf::parse(&file) else { return Vec::new() };
    let mut files = vec![path.to_owned()];
    let mut add = |path: PathBuf| {
        if path.is_file() && !files.contains(&path) {
            files.push(path);
        }
    };
    if let Ok(Some(id)) = elf.build_id() {
        by_build_id(id).into_iter().for_each(&mut add);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    if let Ok(Some((name, checksum))) = elf.gnu_debuglink() {
        let link = by_link(directory, Path::new(OsStr::from_bytes(name)), checksum);
        link.into_iter().for_each(&mut add);
    }
    if let Ok(Some((name, id))) = elf.gnu_debugaltlink() {
        add(directory.join(OsStr::from_bytes(name)));
        by_build_id(id).into_iter().for_each(&mut add);
    }
    let mut packed = path.as_os_str().to_owned();
    packed.push(".dwp");
    add(packed.into());
    for name in units(&elf, split_file) {
        add(name);
    }
    files
}

/// Returns the paths of the sources that the program's debug information names, sorted. They need not exist. Units
/// whose information cannot be read name none.
#[must_use]
pub fn sources(path: &Path) -> Vec<PathBuf> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let file = ReadCache::new(file);
    let Ok(elf) = Elf::parse(&file) else { return Vec::new() };
    let all: BTreeSet<PathBuf> = units(&elf, source_files).into_iter().collect();
    all.into_iter().collect()
}

fn by_build_id(id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = id.split_first()?;
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Path::new(DEBUG).join(format!(".build-id/{first:02x}/{rest}.debug")))
}

/// Returns the file that a `.gnu_debuglink` of a program in this directory means: one of that name with that checksum.
fn by_link(directory: &Path, name: &Path, checksum: u32) -> Option<PathBuf> {
    let below = directory.strip_prefix("/").unwrap_or(directory);
    let places = [directory.to_owned(), directory.join(".debug"), Path::new(DEBUG).join(below)];
    let is_it = |path: &PathBuf| std::fs::read(path).is_ok_and(|bytes| crc32fast::hash(&bytes) == checksum);
    places.into_iter().map(|place| place.join(name)).find(is_it)
}

/// Returns what a function finds in the units of a program, one after the other.
fn units(elf: &Elf<'_>, find: impl for<'a> Fn(&Dwarf<'a>, &Unit<'a>) -> Vec<PathBuf>) -> Vec<PathBuf> {
    let section = |id: gimli::SectionId| -> Result<Vec<u8>, gimli::Error> {
        let data = elf.section_by_name(id.name()).and_then(|section| section.data().ok());
        Ok(data.unwrap_or_default().to_vec())
    };
    let Ok(sections) = DwarfSections::load(section) else { return Vec::new() };
    let dwarf = sections.borrow(|section| EndianSlice::new(section, LittleEndian));
    let mut headers = dwarf.units();
    let mut found = Vec::new();
    while let Ok(Some(header)) = headers.next() {
        if let Ok(unit) = dwarf.unit(header) {
            found.extend(find(&dwarf, &unit));
        }
    }
    found
}

/// Returns the `.dwo` file that a skeleton unit names.
fn split_file<'a>(dwarf: &Dwarf<'a>, unit: &Unit<'a>) -> Vec<PathBuf> {
    let name = unit.dwo_name().ok().flatten().and_then(|name| dwarf.attr_string(unit, name).ok());
    name.map(|name| compiled_in(unit).join(path_of(name))).into_iter().collect()
}

/// Returns the files that a unit's line table names.
fn source_files<'a>(dwarf: &Dwarf<'a>, unit: &Unit<'a>) -> Vec<PathBuf> {
    let Some(program) = &unit.line_program else { return Vec::new() };
    let header = program.header();
    let text = |value: gimli::AttributeValue<Reader<'a>>| dwarf.attr_string(unit, value).ok().map(path_of);
    let path = |file: &gimli::FileEntry<Reader<'a>>| {
        let directory = file.directory(header).and_then(text).unwrap_or_default();
        Some(compiled_in(unit).join(directory).join(text(file.path_name())?))
    };
    header.file_names().iter().filter_map(path).collect()
}

/// Returns the directory in which a unit was compiled.
fn compiled_in(unit: &Unit<'_>) -> PathBuf {
    unit.comp_dir.map(path_of).unwrap_or_default()
}

fn path_of(text: Reader<'_>) -> PathBuf {
    OsStr::from_bytes(text.slice()).into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// Compiles a C program with these flags in a directory of its own.
    fn compiled(flags: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("src")).unwrap();
        fs::write(directory.path().join("src/one.c"), "int one(void) { return 1; }\n").unwrap();
        fs::write(directory.path().join("main.c"), "int one(void);\nint main(void) { return one(); }\n")
            .unwrap();
        let mut cc = Command::new("cc");
        cc.current_dir(directory.path()).args(flags).args(["-o", "program", "main.c", "src/one.c"]);
        assert!(cc.status().expect("a C compiler, `cc`").success());
        let program = directory.path().canonicalize().unwrap().join("program");
        (directory, program)
    }

    fn run(directory: &Path, program: &str, args: &[&str]) {
        assert!(Command::new(program).current_dir(directory).args(args).status().expect(program).success());
    }

    fn names(files: &[PathBuf]) -> Vec<&str> {
        files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect()
    }

    #[test]
    fn a_program_needs_itself_and_names_its_sources() {
        let (_directory, program) = compiled(&["-g"]);
        assert_eq!(of_program(&program), std::slice::from_ref(&program));
        let root = program.parent().unwrap();
        let own: Vec<_> = sources(&program).into_iter().filter(|path| path.starts_with(root)).collect();
        assert_eq!(own, [root.join("main.c"), root.join("src/one.c")]);
    }

    #[test]
    fn separate_information_is_found_by_its_link_if_it_is_the_right_one() {
        let (directory, program) = compiled(&["-g"]);
        let objcopy = |args: &[&str]| run(directory.path(), "objcopy", args);
        objcopy(&["--only-keep-debug", "program", "program.debug"]);
        objcopy(&["--strip-debug", "--add-gnu-debuglink=program.debug", "program"]);
        assert_eq!(names(&of_program(&program)), ["program", "program.debug"]);
        let other = program.with_file_name(".debug");
        fs::create_dir(&other).unwrap();
        fs::rename(program.with_file_name("program.debug"), other.join("program.debug")).unwrap();
        assert_eq!(names(&of_program(&program)), ["program", "program.debug"]);
        fs::write(other.join("program.debug"), "of another build").unwrap();
        assert_eq!(names(&of_program(&program)), ["program"]);
    }

    #[test]
    fn what_the_compiler_has_split_off_is_found() {
        let (_directory, program) = compiled(&["-g", "-gsplit-dwarf"]);
        fs::write(program.with_file_name("program.dwp"), "").unwrap();
        let files = of_program(&program);
        let dwo = files.iter().filter(|path| path.extension() == Some(OsStr::new("dwo"))).count();
        assert_eq!((dwo, names(&files[..2])), (2, vec!["program", "program.dwp"]), "{files:?}");
    }

    #[test]
    fn what_is_no_program_needs_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("text");
        for contents in ["", "text", "\x7fELF\x02\x01\x01 and no more"] {
            fs::write(&path, contents).unwrap();
            assert!(of_program(&path).is_empty() && sources(&path).is_empty());
        }
        assert!(of_program(directory.path()).is_empty() && of_program(&path.join("none")).is_empty());
    }
}
