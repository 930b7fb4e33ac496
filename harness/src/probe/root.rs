//! Where the kernel's files are: `/`, or a recorded tree that stands for another machine.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{ProcRoot, Reading};

/// No file of the kernel is longer; what is longer is not read.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// The file of a recorded tree that says which paths cannot be read, and why.
const FAULTS: &str = "faults";

/// Error numbers that a recorded tree can ask for, by the names that the kernel's documentation uses.
const ERRORS: [(&str, rustix::io::Errno); 6] = [
    ("EACCES", rustix::io::Errno::ACCESS),
    ("EAGAIN", rustix::io::Errno::AGAIN),
    ("EBUSY", rustix::io::Errno::BUSY),
    ("EINVAL", rustix::io::Errno::INVAL),
    ("EIO", rustix::io::Errno::IO),
    ("ENODEV", rustix::io::Errno::NODEV),
];

/// The root of a machine's file system.
#[derive(Debug, Clone)]
pub struct SystemRoot {
    folder: PathBuf,
    /// Paths below the root that fail, with everything under them.
    faults: Vec<(PathBuf, rustix::io::Errno)>,
    recorded: bool,
}

/// Why a file of the kernel says nothing.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct ReadError {
    /// The path, as it is on the machine.
    pub path: String,
    /// What the system says.
    pub source: io::Error,
}

/// Why a folder is no recorded tree.
#[derive(Debug, thiserror::Error)]
pub enum RecordedTreeError {
    /// There is no such folder.
    #[error("open the recorded tree {}: {source}", folder.display())]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its list of faults says something else than an error and a path.
    #[error("read {}: line {line} is not an error such as EACCES and an absolute path", path.display())]
    Fault {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

impl ReadError {
    /// True where the path does not exist, as far as this process may see.
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// True where this process may not look.
    pub fn is_denied(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }

    fn new(path: &str, source: io::Error) -> ReadError {
        ReadError { path: path.to_owned(), source }
    }
}

impl SystemRoot {
    /// This machine.
    pub fn live() -> SystemRoot {
        SystemRoot { folder: PathBuf::from("/"), faults: Vec::new(), recorded: false }
    }

    /// The machine whose files were copied to `folder`. A file `faults` there lists reads that fail, one a line, for example
    /// `EACCES /sys/kernel/debug`.
    pub fn recorded(folder: &Path) -> Result<SystemRoot, RecordedTreeError> {
        let unreadable = |source| RecordedTreeError::Unreadable { folder: folder.to_owned(), source };
        if !std::fs::metadata(folder).map_err(unreadable)?.is_dir() {
            return Err(unreadable(io::ErrorKind::NotADirectory.into()));
        }
        let path = folder.join(FAULTS);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(unreadable(source)),
        };
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let fault = |(at, line): (usize, &str)| {
            parse_fault(line).ok_or_else(|| RecordedTreeError::Fault { path: path.clone(), line: at + 1 })
        };
        let faults = lines.map(fault).collect::<Result<_, _>>()?;
        Ok(SystemRoot { folder: folder.to_owned(), faults, recorded: true })
    }

    /// True where the files are a copy: what is not a file cannot be asked then.
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// `/proc` of this machine.
    pub fn proc(&self) -> ProcRoot {
        ProcRoot::at(&self.path("/proc"))
    }

    /// Where `path` is, which begins with `/`.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }

    /// Opens a file for reading.
    pub fn open(&self, path: &str) -> Result<File, ReadError> {
        self.check(path)?;
        // A pipe in a recorded tree must not be waited for; to files of the kernel the flag means nothing.
        let mut options = File::options();
        options.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
        options.open(self.path(path)).map_err(|source| ReadError::new(path, source))
    }

    /// The text of a file without the white space and zero bytes around it.
    pub fn text(&self, path: &str) -> Result<String, ReadError> {
        let failed = |source| ReadError::new(path, source);
        let mut bytes = Vec::new();
        self.open(path)?.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_TEXT_BYTES {
            return Err(failed(io::Error::other("it is longer than any file of the kernel")));
        }
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
    }

    /// A file that holds one whole number, for example hertz or milliwatts.
    pub fn number(&self, path: &str) -> Result<i64, ReadError> {
        let text = self.text(path)?;
        text.parse().map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            ReadError::new(path, io::Error::other(format!("`{shown}` is not a whole number")))
        })
    }

    /// The names in a folder, `zone2` before `zone10`.
    pub fn list(&self, path: &str) -> Result<Vec<String>, ReadError> {
        self.check(path)?;
        let entries = std::fs::read_dir(self.path(path)).map_err(|source| ReadError::new(path, source))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort_by_cached_key(|name| {
            let digits = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            (name[..digits].to_owned(), name[digits..].parse::<u64>().unwrap_or(0), name.clone())
        });
        Ok(names)
    }

    /// Where a symbolic link points, as text.
    pub fn link(&self, path: &str) -> Result<String, ReadError> {
        self.check(path)?;
        let target = std::fs::read_link(self.path(path)).map_err(|source| ReadError::new(path, source))?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// Fails where `path`, or a folder above it, is a fault of a recorded tree.
    fn check(&self, path: &str) -> Result<(), ReadError> {
        let fault = self.faults.iter().find(|(fault, _)| Path::new(path).starts_with(fault));
        fault.map_or(Ok(()), |(_, error)| Err(ReadError::new(path, (*error).into())))
    }
}

fn parse_fault(line: &str) -> Option<(PathBuf, rustix::io::Errno)> {
    let (name, path) = line.trim().split_once(' ')?;
    let (_, error) = ERRORS.iter().find(|(known, _)| *known == name)?;
    path.starts_with('/').then(|| (PathBuf::from(path), *error))
}

/// A reading from what a file said, or why it said nothing.
pub(crate) fn reading<T, E: std::fmt::Display>(result: Result<T, E>) -> Reading<T> {
    match result {
        Ok(value) => Reading::Measured(value),
        Err(why) => Reading::Unavailable(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<SystemRoot, RecordedTreeError>) {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            std::fs::write(path, text).expect("writable");
        }
        let root = SystemRoot::recorded(folder.path());
        (folder, root)
    }

    #[test]
    fn a_fault_holds_for_everything_below_it_and_for_nothing_beside_it() {
        let files = [
            ("faults", "EACCES /sys/debug\n\nEAGAIN /b\n"),
            ("sys/debug/a", "1"),
            ("sys/debugger", "2\n"),
            ("b", "3"),
        ];
        let (_folder, root) = tree(&files);
        let root = root.expect("a tree");
        let error = root.text("/sys/debug/a").expect_err("denied");
        assert!(error.is_denied() && error.to_string().starts_with("/sys/debug/a: "), "{error}");
        assert!(root.list("/sys/debug").expect_err("denied").is_denied());
        assert_eq!(root.number("/sys/debugger").ok(), Some(2));
        let error = root.number("/b").expect_err("busy");
        assert!(!error.is_denied() && !error.is_missing());
        assert!(root.text("/c").expect_err("not there").is_missing());
    }

    #[test]
    fn text_is_trimmed_and_what_is_no_number_says_so() {
        let (_folder, root) = tree(&[("model", "A Board\0"), ("n", " -5\n"), ("x", "[N/A]")]);
        let root = root.expect("a tree");
        assert_eq!(root.text("/model").ok().as_deref(), Some("A Board"));
        assert_eq!(root.number("/n").ok(), Some(-5));
        assert!(
            root.number("/x").expect_err("no number").to_string().contains("`[N/A]` is not a whole number")
        );
    }

    #[test]
    fn a_pipe_is_not_waited_for_and_a_file_without_end_is_not_read() {
        let (folder, root) = tree(&[]);
        let pipe = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status();
        assert!(pipe.expect("mkfifo is there").success());
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("endless")).expect("writable");
        let root = root.expect("a tree");
        assert_eq!(root.text("/pipe").ok().as_deref(), Some(""));
        assert!(root.text("/endless").expect_err("too long").to_string().contains("longer"));
    }

    #[test]
    fn names_come_in_the_order_of_their_numbers() {
        let (_folder, root) = tree(&[("d/zone10", ""), ("d/zone2", ""), ("d/a", "")]);
        assert_eq!(root.expect("a tree").list("/d").expect("readable"), ["a", "zone2", "zone10"]);
    }

    #[test]
    fn a_list_of_faults_that_says_nothing_is_refused() {
        for faults in ["EACCES", "ENOSUCH /a", "EACCES a"] {
            let (_folder, root) = tree(&[("faults", faults)]);
            assert!(matches!(root, Err(RecordedTreeError::Fault { line: 1, .. })), "{faults}");
        }
        assert!(matches!(
            SystemRoot::recorded(Path::new("/no/such/tree")),
            Err(RecordedTreeError::Unreadable { .. })
        ));
    }
}
