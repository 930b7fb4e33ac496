//! The whole search.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use thiserror::Error;

use super::measure::{Measured, differs, last_line, measure};
use super::repository::Repository;
use super::search::{Step, Trial, next};
use super::state::State;
use crate::history::SeriesMetric;
use crate::verdict::relative::{BufferChange, buffer_changes};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// A commit before the change.
    pub good: String,
    /// A commit after it.
    pub bad: String,
    /// The repository.
    pub repository: PathBuf,
    /// The scenario file, as it is now, for all builds.
    pub scenario: PathBuf,
    /// What moved.
    pub metric: SeriesMetric,
    /// Only a cell that has this in its name; else the one that moved most.
    pub cell: Option<String>,
    /// The command that builds a commit, for a shell, in the root of the worktree.
    pub build: String,
    /// What it makes, from there.
    pub program: PathBuf,
    /// Where worktree and state are kept.
    pub work: PathBuf,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bisected {
    /// The first commit that is known to be bad.
    pub first_bad: String,
    /// The first line of its message.
    pub subject: String,
    /// Commits right before it that say nothing: the change may be in any of them.
    pub skipped_before: Vec<String>,
    /// The cell.
    pub cell: String,
    /// What moved.
    pub metric: SeriesMetric,
    /// Its value in the last good commit: bytes, milliseconds or tokens per second.
    pub before: f64,
    /// Its value in the first bad one.
    pub after: f64,
    /// Buffers whose declared bytes changed with it, the largest growth first.
    pub buffers: Vec<BufferChange>,
    /// Commits that were built or asked, the ends included; those of an earlier start count.
    pub tried: usize,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum BisectError {
    /// git did not do it.
    #[error("failed to run git {command}: {what}")]
    Git {
        /// What was asked.
        command: String,
        /// What it says.
        what: String,
    },
    /// The two commits have no line between them.
    #[error("there is no line of first parents from {good} to {bad}")]
    NoRange {
        /// The good one.
        good: String,
        /// The bad one.
        bad: String,
    },
    /// One of the two ends says nothing.
    #[error("the end {commit} of the range cannot be measured: {why}")]
    End {
        /// Which.
        commit: String,
        /// Why, in words.
        why: String,
    },
    /// Nothing moved.
    #[error("{metric} is the same at both ends of the range{}", cell.as_ref().map_or_else(String::new, |cell| format!(" in cells like `{cell}`")))]
    NoDifference {
        /// What was asked for.
        metric: SeriesMetric,
        /// Where.
        cell: Option<String>,
    },
    /// The folder for worktree and state cannot be used.
    #[error("failed to use {path}: {source}", path = path.display())]
    Work {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Finds the first bad commit. `tell` hears of every commit that is tried.
pub fn bisect(question: &Question, tell: &dyn Fn(&str)) -> Result<Bisected, BisectError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| BisectError::Work { path, source }
    };
    fs::create_dir_all(&question.work).map_err(unusable(&question.work))?;
    let work = question.work.canonicalize().map_err(unusable(&question.work))?;
    let scenario = fs::read_to_string(&question.scenario).map_err(unusable(&question.scenario))?;
    let repository = Repository::new(&question.repository, &work.join("tree"));
    let commits = repository.commits(&question.good, &question.bad)?;
    let (good, bad) = (commits[0].clone(), commits[commits.len() - 1].clone());
    let asked =
        vec![good.clone(), bad.clone(), scenario, question.metric.to_string(), question.build.clone()];
    let path = work.join("state.json");
    let mut search =
        Search { question, repository, state: State::of(&path, asked), path, runs: work.join("runs"), tell };

    let [before, after] = [&good, &bad].map(|commit| search.at(commit).cloned());
    let end = |commit: &str, said: Result<Cells, String>| {
        said.map_err(|why| BisectError::End { commit: commit.to_owned(), why })
    };
    let (before, after) = (end(&good, before?)?, end(&bad, after?)?);
    let no_difference = || BisectError::NoDifference { metric: question.metric, cell: question.cell.clone() };
    let cell = moved_most(question, &before, &after).ok_or_else(no_difference)?;
    let (was, is) = (before[&cell].value, after[&cell].value);

    let mut trials: Vec<Option<Trial>> = vec![None; commits.len()];
    trials[0] = Some(Trial::Good);
    trials[commits.len() - 1] = Some(Trial::Bad);
    let (last_good, first_bad) = loop {
        match next(&trials) {
            Step::Found { good, bad } => break (good, bad),
            Step::Try(at) => {
                let value =
                    search.at(&commits[at])?.as_ref().ok().and_then(|cells| Some(cells.get(&cell)?.value));
                trials[at] = Some(match value {
                    None => Trial::Skipped,
                    // Whichever end it is closer to.
                    Some(value) if (value - is).abs() < (value - was).abs() => Trial::Bad,
                    Some(_) => Trial::Good,
                });
            }
        }
    };
    let said =
        |at: usize| search.state.commits[&commits[at]].as_ref().ok().and_then(|cells| cells.get(&cell));
    let (Some(before), Some(after)) = (said(last_good), said(first_bad)) else { return Err(no_difference()) };
    let answer = Bisected {
        subject: search.repository.subject(&commits[first_bad])?,
        first_bad: commits[first_bad].clone(),
        skipped_before: commits[last_good + 1..first_bad].to_vec(),
        cell,
        metric: question.metric,
        before: before.value,
        after: after.value,
        buffers: buffer_changes(&before.buffers, &after.buffers),
        tried: search.state.commits.len(),
    };
    if search.repository.tree().exists() {
        search.repository.remove_tree()?;
    }
    Ok(answer)
}

type Cells = BTreeMap<String, Measured>;

struct Search<'a> {
    question: &'a Question,
    repository: Repository,
    state: State,
    path: PathBuf,
    runs: PathBuf,
    tell: &'a dyn Fn(&str),
}

impl Search<'_> {
    /// What `commit` says, from the state where it was asked before.
    fn at(&mut self, commit: &str) -> Result<&Result<Cells, String>, BisectError> {
        if !self.state.commits.contains_key(commit) {
            let subject = self.repository.subject(commit)?;
            self.repository.check_out(commit)?;
            let said = self.build().and_then(|()| {
                let program = self.repository.tree().join(&self.question.program);
                measure(&program, &self.question.scenario, self.question.metric, &self.runs)
            });
            let short = commit.get(..10).unwrap_or(commit);
            (self.tell)(&match &said {
                Ok(cells) => format!("{short} {subject}: {}", values(self.question.metric, cells)),
                Err(why) => format!("{short} {subject}: skipped: {why}"),
            });
            self.state.commits.insert(commit.to_owned(), said);
            let kept = self.state.keep(&self.path);
            kept.map_err(|source| BisectError::Work { path: self.path.clone(), source })?;
        }
        Ok(&self.state.commits[commit])
    }

    fn build(&self) -> Result<(), String> {
        let output = Command::new("sh")
            .args(["-c", &self.question.build])
            .current_dir(self.repository.tree())
            .output()
            .map_err(|error| format!("start the build: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("it does not build: {}", last_line(&output.stderr))),
        }
    }
}

/// The cell whose value moved most, of those that are asked for.
fn moved_most(question: &Question, before: &Cells, after: &Cells) -> Option<String> {
    let is_asked = |cell: &str| question.cell.as_ref().is_none_or(|asked| cell.contains(asked.as_str()));
    let moved = before.iter().filter_map(|(cell, was)| {
        let (was, is) = (was.value, after.get(cell)?.value);
        (is_asked(cell) && differs(question.metric, was, is)).then(|| (cell, (is - was).abs()))
    });
    moved.max_by(|one, other| one.1.total_cmp(&other.1)).map(|(cell, _)| cell.clone())
}

fn values(metric: SeriesMetric, cells: &Cells) -> String {
    let values = cells.values().map(|cell| metric.in_words(cell.value));
    format!("{} {}", values.collect::<Vec<String>>().join(", "), metric.unit())
}
