//! The target's processes. Numbers are reused and parents change, so a process is known by its number and start time,
//! and once seen it stays in the tree until it ends.

use std::fs::File;

use super::procfs::{ProcRoot, ProcessIdentity};

/// More processes than any target has; what lies beyond is not opened.
pub(super) const MAX_PROCESSES: usize = 256;

/// One process of the tree, with its `status` held open: the open file belongs to this very process, so a later one
/// with the same number cannot be mistaken for it.
#[derive(Debug)]
pub(super) struct TreeProcess {
    pub(super) identity: ProcessIdentity,
    pub(super) status: File,
}

/// The processes of a target: the one that was started, its descendants, and orphans that it left behind.
#[derive(Debug)]
pub struct ProcessTree {
    root: ProcRoot,
    /// `None` where nobody knows the target's process.
    leader: Option<ProcessIdentity>,
    pub(super) processes: Vec<TreeProcess>,
}

/// What must be known to look for changes, so that looking needs no lock on the tree.
#[derive(Debug)]
pub(super) struct TreeView {
    root: ProcRoot,
    leader: Option<ProcessIdentity>,
    known: Vec<ProcessIdentity>,
}

/// What has changed since a view was taken.
#[derive(Debug, Default)]
pub(super) struct TreeChange {
    found: Vec<TreeProcess>,
    gone: Vec<ProcessIdentity>,
}

impl ProcessTree {
    /// The tree below `leader`, a child of this process that leads a session of its own. `None` where it is gone.
    pub fn of(root: &ProcRoot, leader: u32) -> Option<ProcessTree> {
        let leader = ProcessIdentity::read(root, leader)?;
        let mut tree = ProcessTree { leader: Some(leader), ..ProcessTree::unknown(root) };
        tree.refresh();
        Some(tree)
    }

    /// No tree: of a target whose process nobody knows.
    pub fn unknown(root: &ProcRoot) -> ProcessTree {
        ProcessTree { root: root.clone(), leader: None, processes: Vec::with_capacity(MAX_PROCESSES) }
    }

    /// Why there is nothing to read, where there is nothing.
    pub fn why_empty(&self) -> &'static str {
        match self.leader {
            Some(_) => "the target has no process",
            None => "nobody said which process is the target's",
        }
    }

    /// Looks for new processes and drops those that are gone.
    pub fn refresh(&mut self) {
        let change = self.view().change();
        self.apply(change);
    }

    pub(super) fn view(&self) -> TreeView {
        TreeView { root: self.root.clone(), leader: self.leader, known: self.identities() }
    }

    /// Applies a change. Two threads may have looked at the same time and found the same process: it counts once. The list never
    /// grows beyond its first allocation.
    pub(super) fn apply(&mut self, change: TreeChange) {
        self.processes.retain(|process| !change.gone.iter().any(|gone| same(gone, &process.identity)));
        for found in change.found {
            let known = self.processes.iter().any(|process| same(&process.identity, &found.identity));
            if !known && self.processes.len() < MAX_PROCESSES {
                self.processes.push(found);
            }
        }
    }

    /// The processes as last seen, the leader included while it lives.
    pub fn identities(&self) -> Vec<ProcessIdentity> {
        self.processes.iter().map(|process| process.identity).collect()
    }

    /// Where `/proc` is.
    pub fn proc_root(&self) -> &ProcRoot {
        &self.root
    }
}

impl TreeView {
    /// Walks `/proc`: new processes, opened, and known ones that have ended.
    pub(super) fn change(&self) -> TreeChange {
        let mut change = TreeChange::default();
        let mut waiting: Vec<ProcessIdentity> = self.leader.into_iter().collect();
        waiting.extend(&self.known);
        waiting.extend(self.leader.map(|leader| self.orphans(leader)).unwrap_or_default());
        let mut visited: Vec<u32> = Vec::new();
        while let Some(expected) = waiting.pop() {
            // A number that now belongs to a later process says nothing about this tree.
            let now = ProcessIdentity::read(&self.root, expected.pid);
            let Some(now) = now.filter(|now| same(now, &expected)) else {
                change.gone.push(expected);
                continue;
            };
            if visited.contains(&now.pid) {
                continue;
            }
            visited.push(now.pid);
            let known = self.known.iter().any(|known| same(known, &now));
            if !known && let Ok(status) = File::open(self.root.of_process(now.pid, "status")) {
                change.found.push(TreeProcess { identity: now, status });
            }
            let children = self.children(now.pid).into_iter();
            let children = children.filter_map(|child| ProcessIdentity::read(&self.root, child));
            let own =
                |child: &ProcessIdentity| child.parent == now.pid && child.start_ticks >= now.start_ticks;
            waiting.extend(children.filter(own));
        }
        change
    }

    /// Processes of the target's session that lost their parent and came to the harness, which is their subreaper.
    fn orphans(&self, leader: ProcessIdentity) -> Vec<ProcessIdentity> {
        let harness = leader.parent;
        let children = self.children(harness).into_iter();
        children
            .filter_map(|pid| ProcessIdentity::read(&self.root, pid))
            .filter(|child| child.session == leader.pid && child.pid != leader.pid)
            .filter(|child| child.parent == harness && child.start_ticks >= leader.start_ticks)
            .collect()
    }

    fn children(&self, pid: u32) -> Vec<u32> {
        let Ok(tasks) = std::fs::read_dir(self.root.of_process(pid, "task")) else { return Vec::new() };
        let mut children = Vec::new();
        for task in tasks.flatten() {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            children.extend(text.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        children
    }
}

fn same(a: &ProcessIdentity, b: &ProcessIdentity) -> bool {
    a.pid == b.pid && a.start_ticks == b.start_ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_two_threads_find_at_once_counts_once() {
        let root = ProcRoot::at(std::path::Path::new("/proc"));
        let mut tree = ProcessTree::of(&root, std::process::id()).expect("this process is there");
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep is there");
        let (first, second) = (tree.view().change(), tree.view().change());
        tree.apply(first);
        tree.apply(second);
        let found = tree.identities().iter().filter(|identity| identity.pid == child.id()).count();
        child.kill().and_then(|()| child.wait()).expect("it is ours");
        assert_eq!(found, 1);
    }
}
