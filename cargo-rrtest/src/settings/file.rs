//! The files that settings are in: `.config/rrtest.toml` in the workspace root, and `[workspace.metadata.rrtest]` in its Cargo.toml.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::base::exit::{CliError, Status};
use crate::build::cargo;

/// The file of our own.
const FILE: &str = ".config/rrtest.toml";

/// Where our settings are in Cargo.toml.
const IN_MANIFEST: [&str; 3] = ["workspace", "metadata", "rrtest"];

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file, as seen from the workspace root.
    pub(crate) file: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The key with all tables that it is in.
    pub(crate) key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.key)
    }
}

impl Place {
    /// What is wrong here.
    pub(crate) fn mistake(&self, what: impl fmt::Display) -> CliError {
        CliError::usage(format!("{self}: {}", what.to_string().replace('\n', "\n  ")))
    }
}

/// A value, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A string or a number, as an option has it.
    Text(String),
    /// True or false.
    Flag(bool),
    /// Several strings or numbers.
    List(Vec<String>),
    /// None of these.
    Other,
}

/// A table in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a> {
    document: &'a Document,
    value: &'a Spanned<DeValue<'static>>,
}

/// A file's settings.
#[derive(Debug)]
pub(crate) struct Document {
    /// As seen from the workspace root.
    file: String,
    text: String,
    /// The keys of the table that is ours.
    prefix: Vec<String>,
    table: Spanned<DeValue<'static>>,
}

/// Where a project's settings are.
#[derive(Debug)]
pub(crate) struct Files {
    /// The workspace root, which relative paths are relative to.
    pub(crate) root: PathBuf,
    /// The strongest first.
    pub(crate) documents: Vec<Document>,
}

impl Files {
    /// The files of the project here, or of the one with this manifest; none if there are no settings.
    pub(crate) fn find(cwd: &Path, manifest: Option<&Path>) -> Result<Option<Self>, CliError> {
        let start = manifest.map(|path| cwd.join(path));
        let start = start.as_deref().and_then(Path::parent).unwrap_or(cwd);
        // To ask cargo takes longer than most replays: only where there can be any.
        if !start.ancestors().any(may_have_settings) {
            return Ok(None);
        }
        // Outside of any project there is nothing to configure; what is wrong with a project, cargo says when it builds.
        let Some(root) = cargo::workspace_root(cwd, manifest) else { return Ok(None) };
        let mut documents = Vec::new();
        if let Some(text) = read(&root.join(FILE))? {
            documents.extend(Document::parse(FILE, text, &[])?);
        }
        if let Some(text) = read(&root.join("Cargo.toml"))? {
            documents.extend(Document::parse("Cargo.toml", text, &IN_MANIFEST)?);
        }
        Ok((!documents.is_empty()).then_some(Self { root, documents }))
    }
}

/// Whether settings are in this directory, should it be a workspace root. A manifest that cannot be parsed counts: who asks for it again
/// will say what is wrong.
fn may_have_settings(dir: &Path) -> bool {
    let in_manifest = || {
        let text = std::fs::read_to_string(dir.join("Cargo.toml")).ok();
        // Most manifests need not be parsed.
        let text = text.filter(|text| text.contains(IN_MANIFEST[2]));
        text.is_some_and(|text| !matches!(Document::parse("Cargo.toml", text, &IN_MANIFEST), Ok(None)))
    };
    dir.join(FILE).exists() || in_manifest()
}

fn read(path: &Path) -> Result<Option<String>, CliError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::new(Status::Usage, format!("cannot read {}: {error}", path.display()))),
    }
}

impl Document {
    /// The table that these keys lead to; none if there is none.
    pub(crate) fn parse(file: &str, text: String, keys: &[&str]) -> Result<Option<Self>, CliError> {
        let root = match DeTable::parse(&text) {
            Ok(root) => root,
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(&text, span.start));
                return Err(CliError::usage(format!("{file}:{line}: {}", error.message())));
            }
        };
        let span = root.span();
        let mut table = Spanned::new(span, DeValue::Table(root.into_inner()));
        table.get_mut().make_owned();
        for key in keys {
            let DeValue::Table(inner) = table.into_inner() else { return Ok(None) };
            let found = inner.into_iter().find(|(name, _)| name.get_ref() == key);
            let Some((_, inner)) = found else { return Ok(None) };
            table = inner;
        }
        let span = table.span();
        // All of it stands on its own now: the text is kept for the numbers of lines.
        let table = Spanned::new(span, owned(table.into_inner()));
        let prefix = keys.iter().map(|key| (*key).to_owned()).collect();
        Ok(Some(Self { file: file.to_owned(), text, prefix, table }))
    }

    /// Our table.
    pub(crate) fn root(&self) -> Node<'_> {
        Node { document: self, value: &self.table }
    }

    fn place(&self, keys: &[String], at: usize) -> Place {
        let keys: Vec<&str> = self.prefix.iter().chain(keys).map(String::as_str).collect();
        Place { file: self.file.clone(), line: line_of(&self.text, at), key: keys.join(".") }
    }
}

/// The same, borrowing nothing.
fn owned(value: DeValue<'_>) -> DeValue<'static> {
    let spanned = |value: Spanned<DeValue<'_>>| {
        let span = value.span();
        Spanned::new(span, owned(value.into_inner()))
    };
    match value {
        DeValue::Table(table) => DeValue::Table(
            table
                .into_iter()
                .map(|(key, value)| {
                    let span = key.span();
                    (Spanned::new(span, key.into_inner().into_owned().into()), spanned(value))
                })
                .collect(),
        ),
        DeValue::Array(array) => DeValue::Array(array.into_iter().map(spanned).collect()),
        DeValue::String(text) => DeValue::String(text.into_owned().into()),
        // Numbers are only looked at as they are written.
        DeValue::Integer(number) => DeValue::String(number.to_string().into()),
        DeValue::Float(number) => DeValue::String(number.to_string().into()),
        DeValue::Boolean(flag) => DeValue::Boolean(flag),
        DeValue::Datetime(time) => DeValue::Datetime(time),
    }
}

impl<'a> Node<'a> {
    /// The entries of a table, with their keys; none if it is no table.
    pub(crate) fn entries(self) -> Option<Vec<(&'a str, usize, Node<'a>)>> {
        let DeValue::Table(table) = self.value.get_ref() else { return None };
        let entries = table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), key.span().start, Node { value, ..self }));
        Some(entries.collect())
    }

    /// The elements of an array of tables; none if it is none.
    pub(crate) fn elements(self) -> Option<Vec<Node<'a>>> {
        let DeValue::Array(array) = self.value.get_ref() else { return None };
        Some(array.iter().map(|value| Node { value, ..self }).collect())
    }

    /// Where it is, under these keys.
    pub(crate) fn place(self, keys: &[String]) -> Place {
        self.document.place(keys, self.value.span().start)
    }

    /// Where a key of it is.
    pub(crate) fn place_of(self, keys: &[String], at: usize) -> Place {
        self.document.place(keys, at)
    }

    /// What it is.
    pub(crate) fn value(self) -> Value {
        let text = |value: &DeValue<'_>| match value {
            DeValue::String(text) => Some(text.to_string()),
            _ => None,
        };
        match self.value.get_ref() {
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Array(array) => array
                .iter()
                .map(|value| text(value.get_ref()))
                .collect::<Option<_>>()
                .map_or(Value::Other, Value::List),
            value => text(value).map_or(Value::Other, Value::Text),
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_only_mentions_us_has_no_settings() {
        let dir = tempfile::tempdir().expect("a directory");
        let may = |manifest: &str| {
            std::fs::write(dir.path().join("Cargo.toml"), manifest).expect("a file");
            may_have_settings(dir.path())
        };
        assert!(!may("[workspace]\nmembers = []\n"));
        assert!(!may("[dependencies]\nrrtest = \"1\"\n[workspace.metadata.other]\na = 1\n"));
        assert!(may("[workspace.metadata.rrtest.profile.ci]\nruns = 3\n"));
        assert!(may("[workspace.metadata.rrtest\n"), "what is wrong must be said");
    }
}
