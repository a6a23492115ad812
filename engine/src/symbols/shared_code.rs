//! Functions that share their code, and so their address. The compiler or the linker keeps one of several identical
//! functions (LLVM's MergeFunctions, identical code folding). Debug information names only the one that was kept; the
//! symbol table names them all, and the source line of the call shows which was meant.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSymbol, ReadCache, SymbolKind};

/// Names given at most.
const MOST_NAMES: usize = 3;

/// The functions of a file that have several names.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    /// By start address: end address and names.
    shared: BTreeMap<u64, (u64, Vec<String>)>,
}

impl Functions {
    /// Reads a file's symbols. Returns `None` if they cannot be read.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let file = ReadCache::new(File::open(path).ok()?);
        let file: ElfFile64<'_, LittleEndian, _> = ElfFile64::parse(&file).ok()?;
        let mut all: BTreeMap<u64, (u64, Vec<_>)> = BTreeMap::new();
        for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
            let (end, symbols) = all.entry(symbol.address()).or_default();
            *end = (*end).max(symbol.address().saturating_add(symbol.size()));
            symbols.push(symbol);
        }
        // A test binary has tens of thousands of functions: only the names of those few are read.
        let several = all.into_iter().filter(|(_, (_, symbols))| symbols.len() > 1);
        let demangled = several.map(|(start, (end, symbols))| {
            let demangle = |name: &str| addr2line::demangle_auto(name.into(), None).into_owned();
            let names = symbols.iter().filter_map(|symbol| symbol.name().ok());
            let mut names: Vec<_> = names.map(demangle).collect();
            names.sort_unstable();
            names.dedup();
            (start, (end, names))
        });
        Some(Self { shared: demangled.filter(|(_, (_, names))| names.len() > 1).collect() })
    }

    /// Returns the names of the function at `address` (an address of the file's own), if it has several.
    pub(crate) fn at(&self, address: u64) -> Option<&[String]> {
        let (_, (end, names)) = self.shared.range(..=address).next_back()?;
        (address < *end).then_some(names)
    }
}

/// Chooses a name for a function with these names that is called in this source line: prefers names whose last part
/// occurs in the line.
pub(crate) fn name(names: &[String], line: Option<&str>) -> String {
    let in_line = |name: &&String| line.is_some_and(|line| has_word(line, last_part(name)));
    let fitting: Vec<_> = names.iter().filter(in_line).collect();
    let meant = if fitting.is_empty() { names.iter().collect() } else { fitting };
    let named: Vec<_> = meant.iter().take(MOST_NAMES).map(|name| name.as_str()).collect();
    match meant.len() - named.len() {
        0 => named.join(" or "),
        more => format!("{} or {more} more that share its code", named.join(" or ")),
    }
}

/// Reads a source line, if the file exists on this machine.
pub(crate) fn source_line((file, line): &(String, u32)) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().nth(line.checked_sub(1)? as usize).map(str::to_owned)
}

/// Returns a function's name without its type and module.
fn last_part(name: &str) -> &str {
    let mut depth = 0_usize;
    let mut starts = vec![0];
    for (at, c) in name.char_indices() {
        match c {
            '<' | '(' | '[' | '{' => depth += 1,
            // The `>` of `->` closes nothing.
            '>' | ')' | ']' | '}' if !name[..at].ends_with('-') => depth = depth.saturating_sub(1),
            ':' if depth == 0 => starts.push(at + 1),
            _ => {}
        }
    }
    let parts = starts.into_iter().rev().filter_map(|start| name.get(start..));
    parts.map(|part| part.split_once(':').map_or(part, |(part, _)| part)).find(is_identifier).unwrap_or(name)
}

fn is_identifier(part: &&str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_line_that_calls_says_which_function_is_meant() {
        let names = names(&[
            "<std::net::tcp::TcpStream as std::io::Read>::read",
            "<std::net::udp::UdpSocket>::recv",
            "<std::os::unix::net::datagram::UnixDatagram>::recv",
        ]);
        assert_eq!(name(&names, Some("    stream.read(&mut bytes)?;")), names[0]);
        let receives = name(&names, Some("    socket.recv(&mut bytes)?;"));
        assert_eq!(receives, format!("{} or {}", names[1], names[2]));
        for unknown in [None, Some("    stream.read_exact(&mut bytes)?;")] {
            assert_eq!(name(&names, unknown), names.join(" or "));
        }
    }

    #[test]
    fn many_names_are_cut_short() {
        let many = names(&["a::f", "b::f", "c::f", "d::f", "e::g"]);
        assert_eq!(name(&many, None), "a::f or b::f or c::f or 2 more that share its code");
        assert_eq!(name(&many, Some("g()")), "e::g");
    }

    #[test]
    fn functions_have_last_parts() {
        for (name, part) in [
            ("<a::B as c::D>::read", "read"),
            ("a::b::<fn(x::Y) -> z::W>", "b"),
            ("main", "main"),
            ("<a::B<c::D>>::f::<e::G, 3>", "f"),
        ] {
            assert_eq!(last_part(name), part, "{name}");
        }
    }

    #[test]
    fn this_program_has_functions_that_share_code_or_none() {
        let own = std::env::current_exe().unwrap();
        let functions = Functions::read(&own).unwrap();
        for (start, (end, names)) in &functions.shared {
            assert!(start < end && names.len() > 1);
            assert_eq!(functions.at(*start), Some(&names[..]));
            assert_ne!(functions.at(*end), Some(&names[..]));
        }
        assert_eq!(functions.at(0), None);
        assert!(Functions::read(Path::new("/dev/null")).is_none());
    }
}
