//! `tegrastats` as a child process. It never ends by itself, and its lines may stop at any byte.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use crate::clock::TrialClock;
use crate::probe::root::SystemRoot;
use crate::probe::{Probe, ProbeScope, Reading};

/// Where JetPack puts it.
pub const TEGRASTATS: &str = "/usr/bin/tegrastats";

/// No line is longer; what is, is not from this program.
const MAX_LINE_BYTES: usize = 8192;

/// Whether this machine has `tegrastats`.
#[derive(Debug, Clone)]
pub struct Tegrastats {
    root: SystemRoot,
}

/// A running `tegrastats`, whose lines go to `samples/<cell>-<trial>.tegrastats.txt`.
#[derive(Debug)]
pub struct TegrastatsStream {
    child: Child,
    reading: JoinHandle<io::Result<u64>>,
}

impl Tegrastats {
    /// Of the machine at `root`.
    pub fn new(root: &SystemRoot) -> Tegrastats {
        Tegrastats { root: root.clone() }
    }

    /// The program, or why it cannot be run.
    pub fn program(&self) -> Result<PathBuf, String> {
        self.root.open(TEGRASTATS).map_err(|error| error.to_string())?;
        Ok(self.root.path(TEGRASTATS))
    }
}

impl TegrastatsStream {
    /// Starts `program` and writes each of its lines into the new file `path`, behind its time on `clock` in microseconds and a tab.
    pub fn start(program: &Path, clock: TrialClock, path: &Path) -> io::Result<TegrastatsStream> {
        let file = File::create(path)?;
        let mut command = Command::new(program);
        command
            .args(["--interval", "1000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn()?;
        let started = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"));
        let reading = started.and_then(|output| {
            std::thread::Builder::new().name("tegrastats".to_owned()).spawn(move || copy(output, file, clock))
        });
        match reading {
            Ok(reading) => Ok(TegrastatsStream { child, reading }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    /// Ends the program. Returns how many lines it wrote; fails where they could not be kept.
    pub fn finish(mut self) -> io::Result<u64> {
        end(&mut self.child);
        self.reading.join().map_err(|_| io::Error::other("the tegrastats thread has died"))?
    }
}

fn end(child: &mut Child) {
    // Fails where it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

fn copy(output: ChildStdout, mut file: File, clock: TrialClock) -> io::Result<u64> {
    let mut output = BufReader::new(output);
    let (mut line, mut lines) = (Vec::new(), 0);
    loop {
        line.clear();
        let read = io::Read::take(&mut output, MAX_LINE_BYTES as u64).read_until(b'\n', &mut line)?;
        // The last line is torn where the program was killed in the middle of it.
        if read == 0 || !line.ends_with(b"\n") {
            return Ok(lines);
        }
        let mut stamped = format!("{}\t", clock.now().0).into_bytes();
        stamped.extend(&line);
        file.write_all(&stamped)?;
        lines += 1;
    }
}

impl Probe for Tegrastats {
    fn id(&self) -> &'static str {
        "tegrastats"
    }

    fn name(&self) -> &'static str {
        "tegrastats, as a second witness"
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::System
    }

    fn cost(&self) -> &'static str {
        "a process of its own"
    }

    fn cadence(&self) -> Reading<String> {
        match self.program() {
            Ok(_) => Reading::Measured("every 1000 ms".to_owned()),
            Err(why) => Reading::Unavailable(why),
        }
    }

    fn sample(&self) -> Reading<String> {
        match self.program() {
            Ok(_) => Reading::Measured("installed".to_owned()),
            Err(why) => Reading::Unavailable(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &Path, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.join("tegrastats");
        std::fs::write(&path, format!("#!/bin/sh\n{text}")).expect("writable");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
        path
    }

    fn lines_of(script: &str) -> (u64, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out");
        let program = program(folder.path(), script);
        let stream = TegrastatsStream::start(&program, TrialClock::start(), &path).expect("it starts");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let done = || std::fs::read_to_string(&path).is_ok_and(|text| text.contains("RAM 2/2MB"));
        while !done() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let lines = stream.finish().expect("it was written");
        (lines, std::fs::read_to_string(&path).expect("written"))
    }

    #[test]
    fn lines_are_kept_with_their_times_until_it_is_ended() {
        let (lines, text) = lines_of("echo RAM 1/2MB\necho RAM 2/2MB\nprintf 'RAM 1'\nexec sleep 1000\n");
        assert_eq!(lines, 2, "{text}");
        let (time, line) = text.lines().next().and_then(|line| line.split_once('\t')).expect("two fields");
        assert!(time.parse::<u64>().is_ok() && line == "RAM 1/2MB", "{text}");
    }

    #[test]
    fn a_program_that_ends_by_itself_is_no_failure() {
        let (lines, _) = lines_of("echo RAM 2/2MB\nexit 3\n");
        assert_eq!(lines, 1);
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing");
        assert!(TegrastatsStream::start(&missing, TrialClock::start(), &folder.path().join("out")).is_err());
    }
}
