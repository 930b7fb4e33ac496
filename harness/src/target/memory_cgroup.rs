//! A memory cgroup for one trial, where this process may make one (cgroup v2, delegated).

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use ledger::Bytes;
use rustix::fd::OwnedFd;

/// A group below this process's own, with a limit. It is removed when dropped.
#[derive(Debug)]
pub struct MemoryCgroup {
    folder: PathBuf,
}

impl MemoryCgroup {
    /// Makes the group `name` below the group that `self_cgroup` (the text of `/proc/self/cgroup`) names in the
    /// hierarchy at `mount`. Fails where the system has no cgroup v2, or does not let this process have one.
    pub fn create(mount: &Path, self_cgroup: &str, name: &str, limit: Bytes) -> io::Result<MemoryCgroup> {
        let own = self_cgroup.lines().find_map(|line| line.strip_prefix("0::/"));
        let own = own.ok_or_else(|| io::Error::other("there is no cgroup v2"))?;
        let folder = mount.join(own.trim()).join(name);
        fs::create_dir(&folder)?;
        let group = MemoryCgroup { folder };
        // Without the memory controller these files do not exist, and must not be made on a plain file system.
        let set = |file: &str, value: &str| {
            let mut file = OpenOptions::new().write(true).open(group.folder.join(file))?;
            io::Write::write_all(&mut file, value.as_bytes())
        };
        set("memory.max", &limit.0.to_string())?;
        // Swapping out would hide what is being measured.
        let _ = set("memory.swap.max", "0");
        Ok(group)
    }

    /// `cgroup.procs`, open for the child to write itself into.
    pub fn entrance(&self) -> io::Result<OwnedFd> {
        Ok(OpenOptions::new().write(true).open(self.folder.join("cgroup.procs"))?.into())
    }

    /// Processes of the group that were killed for memory.
    pub fn oom_kills(&self) -> u64 {
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|kills| kills.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        // Fails while a process is left in it, and then the group is the trace of that.
        let _ = fs::remove_dir(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_cgroup_v2_says_so() {
        let error =
            MemoryCgroup::create(Path::new("/nowhere"), "4:memory:/a\n", "t", Bytes(1)).expect_err("v1 only");
        assert!(error.to_string().contains("cgroup v2"));
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("own")).expect("writable");
        let made = MemoryCgroup::create(root.path(), "0::/own\n", "t", Bytes(1));
        assert!(made.is_err(), "a folder without a memory controller is no memory cgroup");
        assert!(!root.path().join("own/t").exists());
    }
}
