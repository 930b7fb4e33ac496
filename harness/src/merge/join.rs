//! What must be alike to be joined, and the record of the run that shards make together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::MergeError;
use super::board::Board;
use crate::record::{CellId, CellRecord, MergedShard, Run, RunRecord, Shard, ShardRecord, TrialFile};

/// A run that is to be joined with others.
#[derive(Debug)]
pub(super) struct Part {
    /// As it was named.
    pub(super) folder: PathBuf,
    pub(super) run: Run,
    board: Board,
}

impl Part {
    /// Reads the run in `folder`.
    pub(super) fn read(folder: &Path) -> Result<Part, MergeError> {
        let run = Run::load(folder)?;
        let folder = folder.to_owned();
        let unfit = |why| MergeError::Unfit { folder: folder.clone(), why };
        if run.account.is_some() {
            return Err(unfit("it was imported from logs, and nothing of it was measured here"));
        }
        if run.record.pair.is_some() {
            return Err(unfit("it is one of two builds that ran in pairs, which belong together"));
        }
        if !run.record.merged.is_empty() {
            return Err(unfit("it was merged itself; name the runs that it was made of"));
        }
        if let Some(trial) = run.unreadable.first() {
            let why = format!("trial {} of {}: {}", trial.trial, trial.cell.0, trial.why);
            return Err(MergeError::Damaged { folder, why });
        }
        let Some(board) = Board::of(&run) else {
            return Err(unfit("no trial of it says in which environment it was measured"));
        };
        Ok(Part { folder, run, board })
    }

    fn with(&self, other: &Part) -> [PathBuf; 2] {
        [&self.folder, &other.folder].map(Clone::clone)
    }

    fn name(&self) -> String {
        self.folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }
}

/// The runs of one board.
#[derive(Debug)]
pub(super) struct OfBoard {
    /// No other board of the same merge has it.
    pub(super) name: String,
    pub(super) parts: Vec<Part>,
}

/// Runs by board, in the order in which the boards first come.
///
/// # Errors
/// When they are not of one scenario and one version of the program.
pub(super) fn by_board(parts: Vec<Part>) -> Result<Vec<OfBoard>, MergeError> {
    let mut boards: Vec<OfBoard> = Vec::new();
    if let Some((first, others)) = parts.split_first() {
        others.iter().try_for_each(|other| check_scenario(first, other))?;
    }
    for part in parts {
        let is_own = |known: &&mut OfBoard| {
            known.parts.first().is_some_and(|first| first.board.differences(&part.board).is_empty())
        };
        match boards.iter_mut().find(is_own) {
            Some(own) => own.parts.push(part),
            None => {
                let name = unused(part.board.name(), &boards);
                boards.push(OfBoard { name, parts: vec![part] });
            }
        }
    }
    Ok(boards)
}

/// `name`, with a number behind it where another board has it.
fn unused(name: String, boards: &[OfBoard]) -> String {
    let is_used = |name: &str| boards.iter().any(|board| board.name == name);
    match is_used(&name) {
        false => name,
        true => (2..).map(|number| format!("{name}-{number}")).find(|name| !is_used(name)).unwrap_or(name),
    }
}

/// The seed is part of the scenario's text.
fn check_scenario(one: &Part, other: &Part) -> Result<(), MergeError> {
    let (a, b) = (&one.run.record, &other.run.record);
    let of = |run: &RunRecord| format!("{} (SHA-256 {})", run.scenario.name, run.scenario.sha256);
    let different = |what, values| Err(MergeError::Different { folders: one.with(other), what, values });
    if a.scenario.sha256 != b.scenario.sha256 {
        return different("their scenarios differ", [of(a), of(b)]);
    }
    if a.program_version != b.program_version {
        let values = [&a.program_version, &b.program_version].map(Clone::clone);
        return different("their programs are of different versions", values);
    }
    Ok(())
}

/// What the runs of one board are together.
#[derive(Debug)]
pub(super) enum Joined {
    /// The one run, as it is.
    Whole,
    /// The run that shards make together; it has no exit code yet.
    Shards(Box<RunRecord>),
}

impl OfBoard {
    /// Joins the board's runs.
    ///
    /// # Errors
    /// When there are several, and they are not shards of one run.
    pub(super) fn join(&self) -> Result<Joined, MergeError> {
        let mut shards: Vec<(&Part, &ShardRecord)> = Vec::new();
        for part in &self.parts {
            match &part.run.record.shard {
                Some(shard) => shards.push((part, shard)),
                None => {
                    let Some(other) = self.parts.iter().find(|other| other.folder != part.folder) else {
                        return Ok(Joined::Whole);
                    };
                    let what = format!("{} is no shard", part.folder.display());
                    return Err(MergeError::Doubled {
                        folders: part.with(other),
                        board: self.name.clone(),
                        what,
                    });
                }
            }
        }
        shards.sort_by_key(|(_, record)| record.shard);
        let Some((first, others)) = shards.split_first() else { return Ok(Joined::Whole) };
        for other in others {
            self.check_shards(*first, *other)?;
        }
        for pair in shards.windows(2) {
            if let [(one, shard), (other, same)] = pair
                && shard.shard == same.shard
            {
                let what = format!("both are shard {}", shard.shard);
                return Err(MergeError::Doubled { folders: one.with(other), board: self.name.clone(), what });
            }
        }
        let (part, record) = first;
        Ok(Joined::Shards(Box::new(RunRecord {
            started_at: earliest(&shards),
            finished_at: latest(&shards),
            cells: all_cells(part, record)?.into_iter().map(|(cell, _)| cell.clone()).collect(),
            trials: trials(&shards),
            shard: None,
            merged: shards.iter().map(|(part, record)| merged(part, record)).collect(),
            resumed_from: shards.iter().find_map(|(part, _)| part.run.record.resumed_from.clone()),
            exit_code: None,
            ..part.run.record.clone()
        })))
    }

    /// Refuses two shards that do not make one measurement.
    fn check_shards(
        &self,
        one: (&Part, &ShardRecord),
        other: (&Part, &ShardRecord),
    ) -> Result<(), MergeError> {
        let (a, b) = (&one.0.run.record, &other.0.run.record);
        let folders = || one.0.with(other.0);
        let different =
            |what, values: [String; 2]| Err(MergeError::Different { folders: folders(), what, values });
        let (here, there) = (one.1.shard, other.1.shard);
        if here.of() != there.of() {
            let values = [here, there].map(|shard| shard.to_string());
            return different("they are shards of different divisions", values);
        }
        if a.program_sha256 != b.program_sha256 {
            let values = [&a.program_sha256, &b.program_sha256].map(Clone::clone);
            return different("they were measured on one board by two builds of the program", values);
        }
        let board = |part: &Part| match &part.run.baseline {
            Some(baseline) => baseline.board.clone(),
            None => "none".to_owned(),
        };
        if one.0.run.baseline != other.0.run.baseline {
            return different("they were held against different baselines", [board(one.0), board(other.0)]);
        }
        let (mine, theirs) = (all_cells(one.0, one.1)?, all_cells(other.0, other.1)?);
        let divided = |(cell, shard): &(&CellRecord, Shard), [a, b]: [&Part; 2]| MergeError::Divided {
            folders: a.with(b),
            cell: format!("{} {}", cell.id.0, cell.describe()),
            shard: *shard,
        };
        let same = |(a, b): (&(&CellRecord, Shard), &(&CellRecord, Shard))| (&a.0.id, a.1) == (&b.0.id, b.1);
        match mine.iter().zip(&theirs).find(|pair| !same(*pair)) {
            Some((cell, _)) => Err(divided(cell, [one.0, other.0])),
            // One of them has more.
            None => match (mine.get(theirs.len()), theirs.get(mine.len())) {
                (Some(cell), _) => Err(divided(cell, [one.0, other.0])),
                (_, Some(cell)) => Err(divided(cell, [other.0, one.0])),
                (None, None) => Ok(()),
            },
        }
    }
}

/// Every cell of the scenario in the order of the axes, each with its shard.
fn all_cells<'a>(
    part: &'a Part,
    record: &'a ShardRecord,
) -> Result<Vec<(&'a CellRecord, Shard)>, MergeError> {
    let own = &part.run.record.cells;
    let mut elsewhere: BTreeMap<usize, (&CellRecord, Shard)> =
        record.elsewhere.iter().map(|other| (other.place, (&other.cell, other.shard))).collect();
    let mut own = own.iter().map(|cell| (cell, record.shard));
    let count = own.len() + record.elsewhere.len();
    let cells: Vec<_> =
        (0..count).map_while(|place| elsewhere.remove(&place).or_else(|| own.next())).collect();
    if cells.len() < count {
        let why = "run.json puts two cells into one place".to_owned();
        return Err(MergeError::Damaged { folder: part.folder.clone(), why });
    }
    Ok(cells)
}

fn merged(part: &Part, record: &ShardRecord) -> MergedShard {
    MergedShard {
        shard: record.shard,
        run: part.name(),
        started_at: part.run.record.started_at.clone(),
        finished_at: part.run.record.finished_at.clone(),
    }
}

fn earliest(shards: &[(&Part, &ShardRecord)]) -> String {
    shards.iter().map(|(part, _)| part.run.record.started_at.clone()).min().unwrap_or_default()
}

/// `None` where one of them did not come to its end.
fn latest(shards: &[(&Part, &ShardRecord)]) -> Option<String> {
    let ends: Option<Vec<&String>> =
        shards.iter().map(|(part, _)| part.run.record.finished_at.as_ref()).collect();
    ends?.into_iter().max().cloned()
}

/// The trials of all of them that can be read, in the order in which they began.
fn trials(shards: &[(&Part, &ShardRecord)]) -> Vec<TrialFile> {
    let mut trials: Vec<(&str, TrialFile)> = Vec::new();
    for (part, _) in shards {
        let begun: BTreeMap<(&CellId, u32), &str> = part
            .run
            .trials
            .iter()
            .map(|trial| ((&trial.record.cell.id, trial.record.trial), trial.record.started_at.as_str()))
            .collect();
        let files = part.run.record.trials.iter();
        trials.extend(files.filter_map(|file| Some((*begun.get(&(&file.cell, file.trial))?, file.clone()))));
    }
    trials.sort_by(|(a, one), (b, other)| (a, &one.stem).cmp(&(b, &other.stem)));
    trials.into_iter().map(|(_, file)| file).collect()
}
