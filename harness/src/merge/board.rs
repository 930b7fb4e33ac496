//! The machine that a run was measured on.

use crate::baseline::board_name;
use crate::record::{EnvironmentRecord, MachineCard, Reading, Run};

/// A board, as far as a run tells.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Board {
    environment: EnvironmentRecord,
    machine: MachineCard,
}

impl Board {
    /// That of `run`: a shard says it itself, of another run the first trial does. `None` where nothing says it.
    pub(super) fn of(run: &Run) -> Option<Board> {
        let shard = run.record.shard.as_ref().map(|shard| &shard.environment);
        let environment =
            shard.or_else(|| run.trials.iter().find_map(|trial| trial.record.environment.as_ref()))?;
        Some(Board { environment: environment.clone(), machine: run.record.machine.clone()? })
    }

    /// What tells it from `other`, each with both values; nothing where their measurements can be held against each other.
    pub(super) fn differences(&self, other: &Board) -> Vec<String> {
        let mut differences = self.environment.differences(&other.environment);
        let facts = |of: &MachineCard| {
            let gpus = match &of.gpus {
                Reading::Measured(gpus) => gpus.join(", "),
                // Why there is none may be said in many ways.
                Reading::Unavailable(_) => "unknown".to_owned(),
            };
            let (cores, page) = (of.cores.to_string(), of.page_bytes.0.to_string());
            [("cpu", of.cpu.clone()), ("cores", cores), ("page_bytes", page), ("gpus", gpus)]
        };
        let pairs = facts(&self.machine).into_iter().zip(facts(&other.machine));
        let differing = pairs.filter(|((_, here), (_, there))| here != there);
        differences.extend(differing.map(|((name, here), (_, there))| format!("{name}: {here} and {there}")));
        differences
    }

    /// Its name, as that of a baseline.
    pub(super) fn name(&self) -> String {
        board_name(Some(&self.environment), Some(&self.machine))
    }
}
