//! A memory cgroup for one trial, where this process may make one (cgroup v2, delegated, or a user who may do everything).

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ledger::Bytes;
use rustix::fd::OwnedFd;

use crate::record::{CgroupReading, Reading};

/// What the names of all of these groups begin with; the harness's process id and the trial follow.
const PREFIX: &str = "sweep-";

/// A group with or without a limit. What is left in it is ended, and it is removed, when dropped.
#[derive(Debug)]
pub struct MemoryCgroup {
    folder: PathBuf,
    limit: Option<Bytes>,
}

impl MemoryCgroup {
    /// Makes a group for `trial` below the group that `self_cgroup` (the text of `/proc/self/cgroup`) names in the hierarchy at
    /// `mount`, or else below the hierarchy's root: a group with processes in it may not have limited ones, the root may. Fails where
    /// the system has no cgroup v2, or does not let this process have one. Groups that killed harnesses have left are removed.
    pub fn create(
        mount: &Path,
        self_cgroup: &str,
        trial: &str,
        limit: Option<Bytes>,
    ) -> io::Result<MemoryCgroup> {
        let own = self_cgroup.lines().find_map(|line| line.strip_prefix("0::/"));
        let own = own.ok_or_else(|| io::Error::other("there is no cgroup v2"))?;
        let below_own = mount.join(own.trim());
        let name = format!("{PREFIX}{}-{trial}", std::process::id());
        remove_left(&below_own);
        MemoryCgroup::create_in(&below_own, &name, limit).or_else(|error| {
            if below_own == mount {
                return Err(error);
            }
            remove_left(mount);
            MemoryCgroup::create_in(mount, &name, limit).map_err(|_| error)
        })
    }

    fn create_in(parent: &Path, name: &str, limit: Option<Bytes>) -> io::Result<MemoryCgroup> {
        let folder = parent.join(name);
        fs::create_dir(&folder)?;
        let group = MemoryCgroup { folder, limit };
        // Without the memory controller these files do not exist, and must not be made on a plain file system.
        let set = |file: &str, value: &str| {
            let mut file = OpenOptions::new().write(true).open(group.folder.join(file))?;
            io::Write::write_all(&mut file, value.as_bytes())
        };
        set("memory.max", &limit.map_or("max".to_owned(), |limit| limit.0.to_string()))?;
        if limit.is_some() {
            // Swapping out would hide what is being measured.
            let _ = set("memory.swap.max", "0");
        }
        Ok(group)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `cgroup.procs`, open for the child to write itself into.
    pub fn entrance(&self) -> io::Result<OwnedFd> {
        Ok(OpenOptions::new().write(true).open(self.folder.join("cgroup.procs"))?.into())
    }

    /// What the kernel counted in it so far.
    pub fn read(&self) -> CgroupReading {
        let peak = fs::read_to_string(self.folder.join("memory.peak"));
        let peak = peak.map_err(|error| format!("memory.peak: {error}")).and_then(|text| {
            text.trim().parse().map(Bytes).map_err(|_| "memory.peak is no number".to_owned())
        });
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        let count = |name: &str| {
            let found = events.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            found.and_then(|number| number.trim().parse().ok())
        };
        CgroupReading {
            limit_bytes: self.limit,
            peak_bytes: match peak {
                Ok(peak) => Reading::Measured(peak),
                Err(why) => Reading::Unavailable(why),
            },
            reclaims: count("max"),
            oom_kills: count("oom_kill"),
        }
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        empty_and_remove(&self.folder);
    }
}

/// Ends every process of the group in `folder`, and removes it. Where a process is left in it, the group is the trace of that.
pub(super) fn empty_and_remove(folder: &Path) {
    if let Ok(mut kill) = OpenOptions::new().write(true).open(folder.join("cgroup.kill")) {
        let _ = io::Write::write_all(&mut kill, b"1");
    }
    for _ in 0..200 {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => return,
        }
    }
}

/// Removes the groups of harnesses that are gone: they and their guardians were killed.
fn remove_left(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let harness =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if harness.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            empty_and_remove(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_cgroup_v2_says_so() {
        let error =
            MemoryCgroup::create(Path::new("/nowhere"), "4:memory:/a\n", "t", None).expect_err("v1 only");
        assert!(error.to_string().contains("cgroup v2"));
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("own")).expect("writable");
        let made = MemoryCgroup::create(root.path(), "0::/own\n", "t", Some(Bytes(1)));
        assert!(made.is_err(), "a folder without a memory controller is no memory cgroup");
        assert_eq!(fs::read_dir(root.path().join("own")).expect("readable").count(), 0);
        assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 1);
    }

    #[test]
    fn what_killed_harnesses_left_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().expect("a folder");
        let mine = format!("{PREFIX}{}-a-0", std::process::id());
        // No process has a number beyond 2^22.
        for name in [mine.as_str(), "sweep-99999999-a-0", "sweep-x", "other"] {
            fs::create_dir(root.path().join(name)).expect("writable");
        }
        remove_left(root.path());
        let left = |name: &str| root.path().join(name).exists();
        assert!(left(&mine) && left("sweep-x") && left("other") && !left("sweep-99999999-a-0"));
    }

    #[test]
    fn what_the_kernel_counted_is_read_and_what_it_did_not_is_missing() {
        let root = tempfile::tempdir().expect("a folder");
        let group = MemoryCgroup { folder: root.path().join("g"), limit: Some(Bytes::mib(600)) };
        fs::create_dir(&group.folder).expect("writable");
        let read = group.read();
        assert!(matches!(read.peak_bytes, Reading::Unavailable(why) if why.contains("memory.peak")));
        assert_eq!((read.reclaims, read.oom_kills), (None, None), "missing is not zero");
        let write = |file: &str, text: &str| fs::write(group.folder.join(file), text).expect("writable");
        write("memory.peak", "629145600\n");
        write("memory.events", "low 0\nhigh 0\nmax 31\noom 1\noom_kill 1\noom_group_kill 0\n");
        let read = group.read();
        assert_eq!(read.peak_bytes, Reading::Measured(Bytes::mib(600)));
        assert_eq!(
            (read.limit_bytes, read.reclaims, read.oom_kills),
            (Some(Bytes::mib(600)), Some(31), Some(1))
        );
    }
}
