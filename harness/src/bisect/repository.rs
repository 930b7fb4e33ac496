//! Commits, and a worktree of our own: the user's checkout is never touched.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::BisectError;

/// A repository, and where its commits are built.
#[derive(Debug)]
pub(super) struct Repository {
    path: PathBuf,
    tree: PathBuf,
}

impl Repository {
    /// The repository at `path`, with a worktree at `tree`, which need not be there.
    pub(super) fn new(path: &Path, tree: &Path) -> Repository {
        Repository { path: path.to_owned(), tree: tree.to_owned() }
    }

    /// The worktree.
    pub(super) fn tree(&self) -> &Path {
        &self.tree
    }

    /// Commits from `good` to `bad`, both included, along first parents: a merge counts as one change.
    pub(super) fn commits(&self, good: &str, bad: &str) -> Result<Vec<String>, BisectError> {
        let resolve = |name: &str| {
            let commit = format!("{name}^{{commit}}");
            git(&self.path, &["rev-parse", "--verify", "--end-of-options", &commit])
        };
        let (good, bad) = (resolve(good)?, resolve(bad)?);
        let listed =
            git(&self.path, &["rev-list", "--reverse", "--first-parent", &bad, &format!("^{good}")])?;
        let mut commits: Vec<String> = listed.lines().map(str::to_owned).collect();
        let first = commits.first().cloned().unwrap_or_default();
        if first.is_empty() || git(&self.path, &["rev-parse", "--verify", &format!("{first}^1")])? != good {
            return Err(BisectError::NoRange { good, bad });
        }
        commits.insert(0, good);
        Ok(commits)
    }

    /// The first line of a commit's message.
    pub(super) fn subject(&self, commit: &str) -> Result<String, BisectError> {
        git(&self.path, &["show", "--no-patch", "--format=%s", commit])
    }

    /// Puts the worktree at `commit`. What was built there stays, so that the next build is short.
    pub(super) fn check_out(&self, commit: &str) -> Result<(), BisectError> {
        if self.tree.join(".git").exists() {
            return git(&self.tree, &["checkout", "--quiet", "--force", "--detach", commit]).map(drop);
        }
        let tree = self.tree.to_string_lossy();
        git(&self.path, &["worktree", "add", "--quiet", "--force", "--detach", &tree, commit]).map(drop)
    }

    /// Takes the worktree away, with everything that was built there.
    pub(super) fn remove_tree(&self) -> Result<(), BisectError> {
        let tree = self.tree.to_string_lossy();
        git(&self.path, &["worktree", "remove", "--force", &tree]).map(drop)
    }
}

/// What git says, without the last line's end.
fn git(folder: &Path, arguments: &[&str]) -> Result<String, BisectError> {
    let failed = |what: String| BisectError::Git { command: arguments.join(" "), what };
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output();
    let output = output.map_err(|error: io::Error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}
