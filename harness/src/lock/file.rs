//! The file itself. People write engines into it, the program fills in what it found: comments and order survive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ledger::Bytes;
use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

use super::engine::LockedEngine;
use super::error::LockError;
use super::pin::{FileName, FilePin, UNPINNED};
use crate::record::replace;
use crate::scenario::{BuildOptions, closest};

/// The lock's name, at the root of a repository.
pub const ENGINES_LOCK: &str = "engines.lock";

/// Version of the lock's form.
pub const FORMAT_VERSION: i64 = 1;

/// The tables of the file.
const ENGINE: &str = "engine";
/// What a table of an engine can have.
const KEYS: [&str; 7] = ["name", "source", "build", "generator", "engine_format", "sha256", "files"];

/// A lock that has been read.
#[derive(Debug, Clone)]
pub struct EngineLock {
    path: PathBuf,
    document: DocumentMut,
    engines: Vec<LockedEngine>,
}

impl EngineLock {
    /// Reads the lock at `path`.
    ///
    /// # Errors
    /// When it is not there or cannot be understood.
    pub fn load(path: &Path) -> Result<EngineLock, LockError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| LockError::Unreadable { path: path.to_owned(), source })?;
        EngineLock::parse(path, &text)
    }

    /// The lock with the words `text`; `path` is for errors, and where it is written to.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn parse(path: &Path, text: &str) -> Result<EngineLock, LockError> {
        let malformed = |why: String| LockError::Malformed { path: path.to_owned(), why };
        let document: DocumentMut = text.parse().map_err(|error| malformed(format!("{error}")))?;
        match document.get("format_version").and_then(Item::as_integer) {
            Some(FORMAT_VERSION) => {}
            Some(found) if found > FORMAT_VERSION => {
                return Err(LockError::TooNew { path: path.to_owned(), found, known: FORMAT_VERSION });
            }
            _ => return Err(malformed(format!("it must begin with `format_version = {FORMAT_VERSION}`"))),
        }
        if let Some((key, _)) = document.iter().find(|(key, _)| !["format_version", ENGINE].contains(key)) {
            return Err(malformed(format!(
                "nobody knows what `{key}` is; engines are tables `[[{ENGINE}]]`"
            )));
        }
        let mut engines: Vec<LockedEngine> = Vec::new();
        let tables = match document.get(ENGINE) {
            None => None,
            Some(item) => Some(
                item.as_array_of_tables()
                    .ok_or_else(|| malformed(format!("engines are tables `[[{ENGINE}]]`")))?,
            ),
        };
        for table in tables.into_iter().flat_map(ArrayOfTables::iter) {
            let engine = engine_of(table).map_err(malformed)?;
            if engines.iter().any(|earlier| earlier.name == engine.name) {
                return Err(malformed(format!("the engine `{}` stands there twice", engine.name)));
            }
            engines.push(engine);
        }
        Ok(EngineLock { path: path.to_owned(), document, engines })
    }

    /// Every engine, in the order of the file.
    pub fn engines(&self) -> &[LockedEngine] {
        &self.engines
    }

    /// The engine `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn engine(&self, name: &str) -> Result<&LockedEngine, LockError> {
        let names: Vec<&str> = self.engines.iter().map(|engine| engine.name.as_str()).collect();
        self.engines.iter().find(|engine| engine.name == name).ok_or_else(|| LockError::UnknownEngine {
            name: name.to_owned(),
            path: self.path.clone(),
            known: names.join(", "),
            meant: closest(name, &names).map(str::to_owned),
        })
    }

    /// Writes what `engine` pins into the lock at `path`, which is read again first: others may have written other engines.
    /// Everything else in the file stays as it is. False where that changes nothing.
    ///
    /// # Errors
    /// When there is no such engine any more, or the file cannot be written.
    pub fn update(path: &Path, engine: &LockedEngine) -> Result<bool, LockError> {
        let mut lock = EngineLock::load(path)?;
        if lock.engine(&engine.name)? == engine {
            return Ok(false);
        }
        let tables = lock.document.get_mut(ENGINE).and_then(Item::as_array_of_tables_mut);
        let table =
            tables.and_then(|tables| tables.iter_mut().find(|table| name_of(table) == Some(&engine.name)));
        if let Some(table) = table {
            write_into(table, engine);
        }
        let text = lock.document.to_string();
        replace(path, text.as_bytes())
            .map_err(|source| LockError::Unwritable { path: path.to_owned(), source })?;
        Ok(true)
    }
}

fn name_of(table: &Table) -> Option<&str> {
    table.get("name").and_then(Item::as_str)
}

fn engine_of(table: &Table) -> Result<LockedEngine, String> {
    let name = name_of(table).ok_or("an engine has no `name`")?;
    let of = |why: String| format!("the engine `{name}`: {why}");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
        return Err(of("it becomes the name of a folder: use letters, digits, `-`, `_` and `.`".to_owned()));
    }
    if let Some((key, _)) = table.iter().find(|(key, _)| !KEYS.contains(key)) {
        let meant =
            closest(key, &KEYS).map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
        return Err(of(format!("nobody knows what `{key}` is{meant}")));
    }
    let source =
        table.get("source").and_then(Item::as_str).ok_or_else(|| of("it has no `source`".to_owned()))?;
    Ok(LockedEngine {
        name: name.to_owned(),
        source: source.parse().map_err(of)?,
        build: build_of(table).map_err(of)?,
        files: files_of(table).map_err(of)?,
        generator: version_of(table, "generator").map_err(of)?,
        engine_format: version_of(table, "engine_format").map_err(of)?,
        sha256: pinned(table, "sha256", |item| item.as_str()?.parse().ok()).map_err(of)?,
    })
}

/// What stands under `key`; `None` where it is left out or unpinned.
fn pinned<T>(table: &Table, key: &str, read: impl Fn(&Item) -> Option<T>) -> Result<Option<T>, String> {
    match table.get(key) {
        None => Ok(None),
        Some(item) if item.as_str() == Some(UNPINNED) => Ok(None),
        Some(item) => match read(item) {
            Some(value) => Ok(Some(value)),
            None => Err(format!("`{key}` is not what it should be, nor `{UNPINNED}`")),
        },
    }
}

fn version_of(table: &Table, key: &str) -> Result<Option<u32>, String> {
    pinned(table, key, |item| u32::try_from(item.as_integer()?).ok())
}

fn build_of(table: &Table) -> Result<BuildOptions, String> {
    let mut build = BuildOptions::default();
    let Some(item) = table.get("build") else { return Ok(build) };
    let options = item.as_table_like().ok_or("`build` has names with values")?;
    for (name, item) in options.iter() {
        let text = item.as_str().ok_or_else(|| format!("`build.{name}` is a text"))?;
        match build.set(name, text) {
            Some(set) => set.map_err(|expected| format!("`build.{name}`: expected {}", expected.0))?,
            None => {
                let known = BuildOptions::NAMES.join(", ");
                return Err(format!("nobody knows what `build.{name}` is; there are {known}"));
            }
        }
    }
    Ok(build)
}

fn files_of(table: &Table) -> Result<Option<BTreeMap<FileName, FilePin>>, String> {
    let Some(files) = pinned(table, "files", |item| {
        let files = item.as_table_like()?.iter();
        Some(files.map(|(name, item)| (name.to_owned(), item.clone())).collect::<Vec<_>>())
    })?
    else {
        return Ok(None);
    };
    let mut pins = BTreeMap::new();
    for (name, item) in files {
        let read = || {
            let pin = item.as_table_like()?;
            let bytes = u64::try_from(pin.get("bytes")?.as_integer()?).ok()?;
            Some(FilePin { bytes: Bytes(bytes), sha256: pin.get("sha256")?.as_str()?.parse().ok()? })
        };
        let pin =
            read().ok_or_else(|| format!("`files.\"{name}\"` is not {{ bytes = N, sha256 = \"…\" }}"))?;
        pins.insert(name.parse().map_err(|error| format!("`files`: {error}"))?, pin);
    }
    Ok(Some(pins))
}

fn write_into(table: &mut Table, engine: &LockedEngine) {
    /// The value of `key`, put where it stood, so that what stands around it stays.
    fn put(table: &mut Table, key: &str, new: Value) {
        match table.get_mut(key).and_then(Item::as_value_mut) {
            Some(old) => {
                let decor = old.decor().clone();
                *old = new;
                *old.decor_mut() = decor;
            }
            None => drop(table.insert(key, Item::Value(new))),
        }
    }
    put(table, "source", engine.source.to_string().into());
    let mut build = InlineTable::new();
    for (name, text) in engine.build.to_map() {
        build.insert(&name, text.into());
    }
    put(table, "build", Value::InlineTable(build));
    let version = |version: Option<u32>| version.map_or(UNPINNED.into(), |version| i64::from(version).into());
    if engine.generator.is_some() {
        put(table, "generator", version(engine.generator));
    }
    put(table, "engine_format", version(engine.engine_format));
    let sha256 = engine.sha256.as_ref().map_or(UNPINNED, |sha256| sha256.as_str());
    put(table, "sha256", sha256.into());
    if let Some(files) = &engine.files {
        let mut pins = Table::new();
        for (name, pin) in files {
            let mut entry = InlineTable::new();
            entry.insert("bytes", i64::try_from(pin.bytes.0).unwrap_or(i64::MAX).into());
            entry.insert("sha256", pin.sha256.as_str().into());
            pins.insert(name.as_str(), value(entry));
        }
        table.insert("files", Item::Table(pins));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::LockedSource;
    use crate::scenario::LmHead;

    const TEXT: &str = r#"# Why these.
format_version = 1

# The small one.
[[engine]]
name = "small" # short
source = "path:somewhere"
build = { lmHead = "int4" }
sha256 = "unpinned" # soon

[[engine]]
name = "seeded"
source = "synthetic:Qwen3-4B@1"
"#;

    fn parsed(text: &str) -> Result<EngineLock, LockError> {
        EngineLock::parse(Path::new("engines.lock"), text)
    }

    #[test]
    fn what_is_left_out_is_unpinned() {
        let lock = parsed(TEXT).unwrap();
        let small = lock.engine("small").unwrap();
        assert_eq!(small.source, LockedSource::Path("somewhere".to_owned()));
        assert_eq!(small.build, BuildOptions { lm_head: LmHead::Int4, ..BuildOptions::default() });
        assert_eq!(small.unpinned(), ["files", "engine_format", "sha256"]);
        assert_eq!(lock.engine("seeded").unwrap().unpinned(), ["generator", "engine_format", "sha256"]);
        let error = lock.engine("smal").unwrap_err().to_string();
        assert!(error.contains("small, seeded") && error.contains("did you mean `small`?"), "{error}");
    }

    #[test]
    fn pins_are_written_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(ENGINES_LOCK);
        std::fs::write(&path, TEXT).unwrap();
        let hash = "ab".repeat(32);
        let files = format!("\n[engine.files]\n\"config.json\" = {{ bytes = 7, sha256 = \"{hash}\" }}\n");
        let pin = FilePin { bytes: Bytes(7), sha256: hash.parse().unwrap() };
        let engine = LockedEngine {
            files: Some([("config.json".parse().unwrap(), pin)].into()),
            engine_format: Some(2),
            sha256: Some(hash.parse().unwrap()),
            ..EngineLock::load(&path).unwrap().engine("small").unwrap().clone()
        };
        assert!(EngineLock::update(&path, &engine).unwrap());
        assert!(!EngineLock::update(&path, &engine).unwrap(), "it stands there already");
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = TEXT
            .replace("{ lmHead = \"int4\" }", "{ linears = \"keep\", lmHead = \"int4\", vocab = \"full\" }")
            .replace("\"unpinned\" # soon\n", &format!("\"{hash}\" # soon\nengine_format = 2\n{files}"));
        assert_eq!(text, expected);
        let read = EngineLock::load(&path).unwrap();
        assert_eq!(read.engine("small").unwrap(), &engine);
        assert!(engine.unpinned().is_empty());
        assert_eq!(read.engines().len(), 2);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let with = |line: &str| {
            format!("format_version = 1\n[[engine]]\nname = \"a\"\nsource = \"path:b\"\n{line}\n")
        };
        for (text, word) in [
            ("".to_owned(), "format_version = 1"),
            ("format_version = 9".to_owned(), "format version 9"),
            ("format_version = 1\nengines = 3".to_owned(), "`engines`"),
            ("format_version = 1\nengine = 3".to_owned(), "[[engine]]"),
            ("format_version = 1\n[[engine]]\nname = \"a/b\"\nsource = \"path:b\"".to_owned(), "folder"),
            ("format_version = 1\n[[engine]]\nname = \"a\"".to_owned(), "no `source`"),
            (with("sha255 = \"x\""), "did you mean `sha256`?"),
            (with("sha256 = \"x\""), "`sha256`"),
            (with("engine_format = -1"), "`engine_format`"),
            (with("build = { lmHead = \"int3\" }"), "`build.lmHead`"),
            (with("build = { head = \"int4\" }"), "`build.head`"),
            (with("files = { \"../up\" = { bytes = 1, sha256 = \"x\" } }"), "files"),
            (with("files = { \"up\" = { bytes = -1, sha256 = \"x\" } }"), "files"),
            (with("[[engine]]\nname = \"a\"\nsource = \"path:c\""), "twice"),
            ("format_version = [".to_owned(), "engines.lock"),
        ] {
            let error = parsed(&text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
        let pin = format!("files = {{ \"../up\" = {{ bytes = 1, sha256 = \"{}\" }} }}", "a".repeat(64));
        let error = parsed(&with(&pin)).unwrap_err().to_string();
        assert!(error.contains("leads out of its folder"), "{error}");
    }
}
