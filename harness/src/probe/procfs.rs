//! The kernel's text files under `/proc`, parsed without allocation.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ledger::Bytes;

/// Where `/proc` is. Tests put a folder of their own here.
#[derive(Debug, Clone)]
pub struct ProcRoot(PathBuf);

impl Default for ProcRoot {
    fn default() -> ProcRoot {
        ProcRoot(PathBuf::from("/proc"))
    }
}

impl ProcRoot {
    /// `/proc` at `path`.
    pub fn at(path: &Path) -> ProcRoot {
        ProcRoot(path.to_owned())
    }

    /// A file or folder below it.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path)
    }

    /// Every process that is there.
    pub fn processes(&self) -> Vec<ProcessIdentity> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter_map(|pid| ProcessIdentity::read(self, pid)).collect()
    }

    /// A file of a process.
    pub fn of_process(&self, pid: u32, file: &str) -> PathBuf {
        self.0.join(pid.to_string()).join(file)
    }
}

/// Room for any file that is read on the sampling path; `status` has some 1,500 bytes.
pub(super) const TEXT_BYTES: usize = 8192;

/// Reads `file` from its start into `buffer` without moving its offset. `None` where its process is gone.
pub(super) fn read_text<'a>(file: &File, buffer: &'a mut [u8; TEXT_BYTES]) -> Option<&'a [u8]> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(&buffer[..length])
}

/// Calls `each` with the key and the value in bytes of every line of the form `Key:   123 kB`.
pub(super) fn for_each_kib(text: &[u8], mut each: impl FnMut(&[u8], u64)) {
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (key, rest) = (&line[..colon], line[colon + 1..].trim_ascii());
        let Some(number) = rest.strip_suffix(b" kB") else { continue };
        if let Some(number) = decimal(number.trim_ascii()) {
            each(key, number.saturating_mul(1024));
        }
    }
}

pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Memory of one process, from `/proc/PID/status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessStatus {
    /// `RssAnon`.
    pub anonymous: Bytes,
    /// `RssFile`.
    pub file: Bytes,
    /// `RssShmem`.
    pub shared: Bytes,
    /// `VmHWM`, the high-water mark of resident memory.
    pub high_water: Bytes,
    /// `VmSwap`.
    pub swapped: Bytes,
}

impl ProcessStatus {
    /// Reads the text of `status`. `None` for a process without memory: a zombie, or a kernel thread.
    pub fn parse(text: &[u8]) -> Option<ProcessStatus> {
        let mut status = ProcessStatus::default();
        let mut found = 0;
        for_each_kib(text, |key, bytes| {
            let field = match key {
                b"RssAnon" => &mut status.anonymous,
                b"RssFile" => &mut status.file,
                b"RssShmem" => &mut status.shared,
                b"VmHWM" => &mut status.high_water,
                b"VmSwap" => &mut status.swapped,
                _ => return,
            };
            *field = Bytes(bytes);
            found += 1;
        });
        (found == 5).then_some(status)
    }
}

/// Proportional set size from the text of `smaps_rollup`.
pub(super) fn parse_pss(text: &[u8]) -> Option<Bytes> {
    let mut pss = None;
    for_each_kib(text, |key, bytes| {
        if key == b"Pss" {
            pss = Some(Bytes(bytes));
        }
    });
    pss
}

/// The counter `name` of the text of `vmstat`, for example `oom_kill`.
pub(super) fn parse_vmstat(text: &[u8], name: &str) -> Option<u64> {
    let value =
        |line: &'_ [u8]| decimal(line.strip_prefix(name.as_bytes())?.strip_prefix(b" ")?.trim_ascii());
    text.split(|byte| *byte == b'\n').find_map(value)
}

/// What a process is, from `/proc/PID/stat`: its number alone is reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// The process id.
    pub pid: u32,
    /// Its parent.
    pub parent: u32,
    /// Its session.
    pub session: u32,
    /// Clock ticks from boot to its start.
    pub start_ticks: u64,
}

impl ProcessIdentity {
    /// Reads the text of `stat`. The name in it may hold spaces and parentheses; fields are counted after the last.
    pub fn parse(text: &[u8]) -> Option<ProcessIdentity> {
        let pid = decimal(text.split(|byte| *byte == b' ').next()?)?;
        let after_name = text.iter().rposition(|byte| *byte == b')')? + 1;
        let mut fields = text[after_name..].split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        let parent = decimal(fields.nth(1)?)?;
        let session = decimal(fields.nth(1)?)?;
        let start_ticks = decimal(fields.nth(15)?)?;
        let narrow = |number: u64| u32::try_from(number).ok();
        Some(ProcessIdentity {
            pid: narrow(pid)?,
            parent: narrow(parent)?,
            session: narrow(session)?,
            start_ticks,
        })
    }

    /// The process that has the number `pid` now.
    pub fn read(root: &ProcRoot, pid: u32) -> Option<ProcessIdentity> {
        ProcessIdentity::parse(&std::fs::read(root.of_process(pid, "stat")).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &[u8] =
        b"Name:\tsweep\nVmPeak:\t  900 kB\nVmHWM:\t     50 kB\nVmRSS:\t     42 kB\nRssAnon:\t     \
        30 kB\nRssFile:\t     10 kB\nRssShmem:\t      2 kB\nVmSwap:\t      1 kB\nThreads:\t3\n";

    #[test]
    fn status_is_read_in_bytes_and_a_zombie_has_none() {
        let status = ProcessStatus::parse(STATUS).expect("complete");
        assert_eq!(status.anonymous, Bytes(30 * 1024));
        assert_eq!(status.file, Bytes(10 * 1024));
        assert_eq!(status.shared, Bytes(2 * 1024));
        assert_eq!(status.high_water, Bytes(50 * 1024));
        assert_eq!(status.swapped, Bytes(1024));
        assert_eq!(ProcessStatus::parse(b"Name:\tsweep\nState:\tZ (zombie)\n"), None);
        assert_eq!(
            ProcessStatus::parse(&STATUS[..120]),
            None,
            "a text that is cut short is not a smaller process"
        );
    }

    #[test]
    fn identity_survives_a_name_with_spaces_and_parentheses() {
        let text = b"77 (a ) (b) S 12 77 76 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 123456 999 1 2\n";
        let identity = ProcessIdentity::parse(text).expect("complete");
        assert_eq!(identity, ProcessIdentity { pid: 77, parent: 12, session: 76, start_ticks: 123_456 });
        assert_eq!(ProcessIdentity::parse(b"77 (cut"), None);
    }

    #[test]
    fn other_files() {
        assert_eq!(
            parse_pss(b"5000-6000 ---p\nRss: 9 kB\nPss:   3 kB\nPss_Dirty: 1 kB\n"),
            Some(Bytes(3072))
        );
        assert_eq!(parse_vmstat(b"pgfault 1\noom_kill 4\nx 2\n", "oom_kill"), Some(4));
        assert_eq!(parse_vmstat(b"oom_kill_x 4\n", "oom_kill"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let root = ProcRoot::default();
        let me = std::process::id();
        let identity = ProcessIdentity::read(&root, me).expect("alive");
        assert_eq!(identity.pid, me);
        let text = std::fs::read(root.of_process(me, "status")).expect("readable");
        let status = ProcessStatus::parse(&text).expect("has memory");
        assert!(status.high_water >= status.anonymous);
    }
}
