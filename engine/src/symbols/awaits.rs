//! The future that a blocked thread drives, and what that future awaits.
//!
//! A future that waits has no stack: the runtime has put its thread to sleep. But a function that drives a future
//! (`block_on`) keeps it pinned on its own stack, and debug information describes it. rustc makes a structure of each
//! async function and block, `{async_fn_env#0}`, with a variant for each suspension point. A variant has the point's
//! source line, and in a field `__awaitee` the future that is awaited there (rustc's `debuginfo/metadata/enums`).
//! Following these fields leads to the innermost future, which is no async function. Only futures pinned by reference
//! are considered: all others may have been moved.

use std::fs::File;
use std::path::{Path, PathBuf};

use addr2line::gimli;
use gimli::{
    AttributeValue, DebugInfoOffset, Dwarf, DwarfSections, EndianSlice, LittleEndian, Operation, UnitOffset,
};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ReadCache};

use crate::ending::Frame;

type Reader<'a> = EndianSlice<'a, LittleEndian>;
type Entry<'a> = gimli::DebuggingInformationEntry<Reader<'a>>;
type Unit<'a> = gimli::Unit<Reader<'a>>;

/// Longest chain of async functions that is followed.
const DEEPEST: usize = 64;

/// Prefixes of the type names that rustc gives to async functions and blocks.
const ENVIRONMENTS: [&str; 2] = ["{async_fn_env#", "{async_block_env#"];

/// A place in a function: an address in its file, and the registers on which the locations of its variables are based.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) address: u64,
    pub(crate) rsp: u64,
    pub(crate) rbp: u64,
}

/// Reads memory: fills the whole buffer or fails.
pub(crate) type Read<'a> = &'a mut dyn FnMut(u64, &mut [u8]) -> bool;

/// A file's debug information.
pub(crate) struct Futures {
    sections: DwarfSections<Vec<u8>>,
    /// Compilation units, and the address ranges of their code.
    units: Vec<(DebugInfoOffset, Vec<gimli::Range>)>,
}

impl Futures {
    /// Reads a file's debug information. Returns `None` if it cannot be read.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let file = ReadCache::new(File::open(path).ok()?);
        let file: ElfFile64<'_, object::LittleEndian, _> = ElfFile64::parse(&file).ok()?;
        let section = |id: gimli::SectionId| -> Result<Vec<u8>, gimli::Error> {
            let data = file.section_by_name(id.name()).and_then(|section| section.data().ok());
            Ok(data.unwrap_or_default().to_vec())
        };
        let sections = DwarfSections::load(section).ok()?;
        let dwarf = sections.borrow(|section| reader(section));
        let mut headers = dwarf.units();
        let mut units = Vec::new();
        while let Ok(Some(header)) = headers.next() {
            let Some(offset) = header.debug_info_offset() else { continue };
            let Ok(unit) = dwarf.unit(header) else { continue };
            let mut ranges = Vec::new();
            if let Ok(mut all) = dwarf.unit_ranges(&unit) {
                while let Ok(Some(range)) = all.next() {
                    ranges.push(range);
                }
            }
            units.push((offset, ranges));
        }
        drop(dwarf);
        Some(Self { sections, units })
    }

    /// Returns what the future pinned by the function at `place` waits for: the future that is awaited in the end, and
    /// the async functions that lead to it, innermost first, each where it is suspended. Returns `None` if the function
    /// has pinned no future, or if what the future waits for cannot be determined.
    pub(crate) fn awaited(&self, place: Place, read: Read<'_>) -> Option<Vec<Frame>> {
        let within = |range: &gimli::Range| (range.begin..range.end).contains(&place.address);
        let (offset, _) = self.units.iter().find(|(_, ranges)| ranges.iter().any(within))?;
        let dwarf = self.sections.borrow(|section| reader(section));
        let unit = dwarf.unit(dwarf.debug_info.header_from_offset(*offset).ok()?).ok()?;
        let look = Look { dwarf: &dwarf, unit: &unit };
        look.pinned(place, read).into_iter().find_map(|(at, kind)| {
            let frames = look.suspended(at, kind, read);
            (!frames.is_empty()).then_some(frames)
        })
    }
}

fn reader(section: &[u8]) -> Reader<'_> {
    EndianSlice::new(section, LittleEndian)
}

/// One compilation unit.
#[derive(Clone, Copy)]
struct Look<'a> {
    dwarf: &'a Dwarf<Reader<'a>>,
    unit: &'a Unit<'a>,
}

impl<'a> Look<'a> {
    /// Finds the async functions and blocks, by address and type, that the variables of the function at `place` pin.
    /// The innermost variables come first: the outer ones may be what those were made from.
    fn pinned(self, place: Place, read: Read<'_>) -> Vec<(u64, UnitOffset)> {
        let mut found = Vec::new();
        let mut cursor = self.unit.entries();
        let mut base = None;
        // Depths of the function's entry, and of a block that does not cover the address.
        let (mut function, mut outside): (Option<isize>, Option<isize>) = (None, None);
        while let Ok(Some(entry)) = cursor.next_dfs() {
            if function.is_some_and(|depth| entry.depth() <= depth) {
                break;
            }
            if outside.is_some_and(|depth| entry.depth() > depth) {
                continue;
            }
            outside = None;
            match entry.tag() {
                gimli::DW_TAG_subprogram if self.covers(entry, place.address) => {
                    function = Some(entry.depth());
                    base = entry.attr_value(gimli::DW_AT_frame_base).and_then(|base| self.base(base, place));
                }
                gimli::DW_TAG_lexical_block | gimli::DW_TAG_inlined_subroutine
                    if function.is_some() && !self.covers(entry, place.address) =>
                {
                    outside = Some(entry.depth());
                }
                gimli::DW_TAG_variable | gimli::DW_TAG_formal_parameter if function.is_some() => {
                    found.extend(base.and_then(|base| self.pinned_by(entry, base, read)));
                }
                _ => {}
            }
        }
        found.reverse();
        found
    }

    fn covers(self, entry: &Entry<'a>, address: u64) -> bool {
        let Ok(mut ranges) = self.dwarf.die_ranges(self.unit, entry) else { return false };
        while let Ok(Some(range)) = ranges.next() {
            if (range.begin..range.end).contains(&address) {
                return true;
            }
        }
        false
    }

    /// Returns the frame base, to which the locations of a function's variables are relative.
    fn base(self, base: AttributeValue<Reader<'a>>, place: Place) -> Option<u64> {
        let mut operations = base.exprloc_value()?.operations(self.unit.encoding());
        match (operations.next().ok()??, operations.next().ok()?) {
            (Operation::Register { register: gimli::X86_64::RSP }, None) => Some(place.rsp),
            (Operation::Register { register: gimli::X86_64::RBP }, None) => Some(place.rbp),
            _ => None,
        }
    }

    /// Returns the async function or block to which a variable of type `Pin<&mut …>` refers.
    fn pinned_by(self, variable: &Entry<'a>, base: u64, read: Read<'_>) -> Option<(u64, UnitOffset)> {
        let kind = self.pinned_type(self.type_of(variable)?)?;
        let location = variable.attr_value(gimli::DW_AT_location)?.exprloc_value()?;
        let mut operations = location.operations(self.unit.encoding());
        let mut at = match operations.next().ok()?? {
            Operation::FrameOffset { offset } => base.wrapping_add_signed(offset),
            _ => return None,
        };
        while let Some(operation) = operations.next().ok()? {
            match operation {
                Operation::Deref { .. } => at = word(at, read)?,
                Operation::PlusConstant { value } => at = at.wrapping_add(value),
                _ => return None,
            }
        }
        Some((word(at, read)?, kind))
    }

    /// Returns the async function or block to which a type is a pinned reference or box.
    fn pinned_type(self, kind: UnitOffset) -> Option<UnitOffset> {
        let entry = self.unit.entry(kind).ok()?;
        let name = self.name(&entry)?;
        if !["Pin<&mut ", "Pin<alloc::boxed::Box<"].iter().any(|start| name.starts_with(start)) {
            return None;
        }
        let pointer = self.children(kind).into_iter().find(|child| child.tag() == gimli::DW_TAG_member)?;
        let target = self.type_of(&self.unit.entry(self.type_of(&pointer)?).ok()?)?;
        self.is_async(target).then_some(target)
    }

    fn is_async(self, kind: UnitOffset) -> bool {
        let name = self.unit.entry(kind).ok().and_then(|entry| self.name(&entry));
        name.is_some_and(|name| ENVIRONMENTS.iter().any(|start| name.starts_with(start)))
    }

    /// Returns where the async function or block at `at` is suspended, and the chain of those that it awaits, innermost
    /// first.
    fn suspended(self, mut at: u64, mut kind: UnitOffset, read: Read<'_>) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.len() < DEEPEST
            && let Some((location, awaitee)) = self.suspension(at, kind, read)
        {
            let function = self.path(kind).map(|path| function_of(&path));
            frames.push(Frame { address: at, function, location });
            let Some((next, of)) = awaitee else { break };
            at = next;
            if !self.is_async(of) {
                let boxed = self.pinned_type(of).and_then(|target| Some((word(next, read)?, target)));
                let Some((target, of)) = boxed else {
                    frames.push(Frame { address: at, function: self.path(of), location: None });
                    break;
                };
                (at, kind) = (target, of);
                continue;
            }
            kind = of;
        }
        frames.reverse();
        frames
    }

    /// Returns the line at which an async function is suspended, and the address and type of what it awaits there.
    /// Returns `None` if it is not suspended.
    #[expect(clippy::type_complexity, reason = "it is taken apart at once")]
    fn suspension(
        self,
        at: u64,
        kind: UnitOffset,
        read: Read<'_>,
    ) -> Option<(Option<(String, u32)>, Option<(u64, UnitOffset)>)> {
        let parts = self.children(kind);
        let parts = parts.iter().find(|child| child.tag() == gimli::DW_TAG_variant_part)?;
        let AttributeValue::UnitRef(state) = parts.attr_value(gimli::DW_AT_discr)? else { return None };
        let mut byte = [0];
        let offset = offset_of(&self.unit.entry(state).ok()?)?;
        let state = read(at.checked_add(offset)?, &mut byte).then_some(u64::from(byte[0]))?;
        let variants = self.children(parts.offset());
        let variant =
            variants.iter().find(|variant| number(variant, gimli::DW_AT_discr_value) == Some(state))?;
        let members = self.children(variant.offset());
        let member = members.iter().find(|child| child.tag() == gimli::DW_TAG_member)?;
        let kind = self.type_of(member)?;
        if !self.name(&self.unit.entry(kind).ok()?)?.starts_with("Suspend") {
            return None;
        }
        let awaitee = self.children(kind).into_iter().find_map(|field| {
            let is_it = self.name(&field).as_deref() == Some("__awaitee");
            let address = at.checked_add(offset_of(member)?)?.checked_add(offset_of(&field)?)?;
            if is_it { Some((address, self.type_of(&field)?)) } else { None }
        });
        Some((self.location(member), awaitee))
    }

    /// Returns the source line of an entry's declaration.
    fn location(self, entry: &Entry<'a>) -> Option<(String, u32)> {
        let line = u32::try_from(number(entry, gimli::DW_AT_decl_line)?).ok()?;
        let header = self.unit.line_program.as_ref()?.header();
        let file = header.file(number(entry, gimli::DW_AT_decl_file)?)?;
        let text = |value| {
            let text = self.dwarf.attr_string(self.unit, value).ok()?;
            Some(text.to_string_lossy().into_owned())
        };
        // Each part is absolute, or relative to the one before.
        let mut path = PathBuf::from(self.unit.comp_dir.as_ref()?.to_string_lossy().into_owned());
        if file.directory_index() != 0 {
            path.push(text(file.directory(header)?)?);
        }
        path.push(text(file.path_name())?);
        Some((path.to_string_lossy().into_owned(), line))
    }

    fn type_of(self, entry: &Entry<'a>) -> Option<UnitOffset> {
        match entry.attr_value(gimli::DW_AT_type) {
            Some(AttributeValue::UnitRef(kind)) => Some(kind),
            _ => match entry.attr_value(gimli::DW_AT_abstract_origin)? {
                AttributeValue::UnitRef(origin) if origin != entry.offset() => {
                    match self.unit.entry(origin).ok()?.attr_value(gimli::DW_AT_type)? {
                        AttributeValue::UnitRef(kind) => Some(kind),
                        _ => None,
                    }
                }
                _ => None,
            },
        }
    }

    fn name(self, entry: &Entry<'a>) -> Option<String> {
        let name = self.dwarf.attr_string(self.unit, entry.attr_value(gimli::DW_AT_name)?).ok()?;
        Some(name.to_string_lossy().into_owned())
    }

    /// Returns the full name of a type, with its modules and functions.
    fn path(self, kind: UnitOffset) -> Option<String> {
        let mut cursor = self.unit.entries();
        let mut parents: Vec<(isize, String)> = Vec::new();
        while let Ok(Some(entry)) = cursor.next_dfs() {
            parents.retain(|(depth, _)| *depth < entry.depth());
            let is_it = entry.offset() == kind;
            if is_it || matches!(entry.tag(), gimli::DW_TAG_namespace | gimli::DW_TAG_structure_type) {
                parents.push((entry.depth(), self.name(entry)?));
            }
            if is_it {
                let names: Vec<_> = parents.into_iter().map(|(_, name)| name).collect();
                return Some(names.join("::"));
            }
        }
        None
    }

    fn children(self, of: UnitOffset) -> Vec<Entry<'a>> {
        let mut children = Vec::new();
        let Ok(mut tree) = self.unit.entries_tree(Some(of)) else { return children };
        let Ok(root) = tree.root() else { return children };
        let mut nodes = root.children();
        while let Ok(Some(node)) = nodes.next() {
            children.push(node.entry().clone());
        }
        children
    }
}

/// Returns the name of the function to which an environment belongs.
fn function_of(path: &str) -> String {
    match path.rsplit_once("::") {
        Some((function, environment)) if environment.starts_with(ENVIRONMENTS[0]) => function.to_owned(),
        Some((function, _)) => format!("{function}::{{async block}}"),
        None => path.to_owned(),
    }
}

fn number(entry: &Entry<'_>, name: gimli::DwAt) -> Option<u64> {
    let value = entry.attr_value(name)?;
    match value {
        AttributeValue::FileIndex(index) => Some(index),
        _ => value.udata_value(),
    }
}

fn offset_of(member: &Entry<'_>) -> Option<u64> {
    number(member, gimli::DW_AT_data_member_location)
}

fn word(address: u64, read: Read<'_>) -> Option<u64> {
    let mut bytes = [0; 8];
    read(address, &mut bytes).then(|| u64::from_le_bytes(bytes))
}
