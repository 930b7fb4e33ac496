//! Which shard runs which cell: every machine comes to the same answer by itself.
//!
//! A cell costs the time that one of its trials takes by the estimate of `sweep plan`, in whole milliseconds, on a machine that is
//! the same for all: `threads: auto` counts as four threads and `device: auto` as the CPU, and builds count nothing, for an engine
//! may be there already. A cell whose target does not say how fast it is costs as much as the dearest one that does. The dearest
//! cells are dealt first, each to the shard that has least to do (LPT, Graham 1969); ids decide between equals.

use std::cmp::Reverse;

use ledger::Millis;
use runtime::plan::DeviceChoice;

use super::time::trial_time;
use crate::engines::{EngineError, EngineProvider, forecast_of};
use crate::record::{CellId, Shard};
use crate::scenario::{Cell, Phases, Scenario, Threads};

/// Stands for `threads: auto`.
const THREADS: u32 = 4;

/// For each of `cells`, all of a scenario, which shard of the division of `shard` runs it.
///
/// # Errors
/// When a cell's cost cannot be told here, so that this machine could come to another answer than the others.
pub fn divide(
    scenario: &Scenario,
    cells: &[Cell],
    engines: &dyn EngineProvider,
    shard: Shard,
) -> Result<Vec<Shard>, EngineError> {
    let times: Vec<Option<u64>> =
        cells.iter().map(|cell| cost(&scenario.phases, cell, engines)).collect::<Result<_, _>>()?;
    let dearest = times.iter().copied().flatten().max().unwrap_or(1);
    let costs: Vec<(&CellId, u64)> =
        cells.iter().zip(times).map(|(cell, time)| (&cell.id, time.unwrap_or(dearest))).collect();
    let all: Vec<Shard> = shard.all().collect();
    Ok(deal(&costs, all.len()).into_iter().map(|at| all[at]).collect())
}

/// What a trial of `cell` takes on the machine that is the same for all, in milliseconds; `None` where nobody says.
fn cost(phases: &Phases, cell: &Cell, engines: &dyn EngineProvider) -> Result<Option<u64>, EngineError> {
    let mut everywhere = cell.clone();
    let settings = &mut everywhere.settings;
    if settings.threads == Threads::Auto {
        settings.threads = Threads::Count(THREADS);
    }
    if settings.device == DeviceChoice::Auto {
        settings.device = DeviceChoice::Cpu;
    }
    let of_cell = |error: EngineError| EngineError {
        what: format!("the cost of cell {} cannot be told here: {}", cell.describe(), error.what),
        hint: error.hint.or_else(|| {
            Some("every machine needs the models of all cells, so that all of them divide alike".to_owned())
        }),
        kind: error.kind,
    };
    let forecast = match forecast_of(&cell.form) {
        None => engines.forecast(&everywhere).map_err(of_cell)?,
        // Whether such a file is there changes nothing.
        Some(Err(_) | Ok(Err(_))) => return Ok(None),
        Some(Ok(Ok(forecast))) => forecast,
    };
    let time = |rates| {
        let Millis(time) = trial_time(phases, cell.settings.max_input_len, rates);
        time.round() as u64
    };
    Ok(forecast.rates.map(time))
}

/// Deals cells of these costs to `of` shards, and says of each cell to which, from 0.
fn deal(costs: &[(&CellId, u64)], of: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by_key(|at| (Reverse(costs[*at].1), &costs[*at].0.0));
    let mut loads = vec![0_u64; of];
    let mut shards = vec![0; costs.len()];
    for at in order {
        let Some((shard, load)) = loads.iter_mut().enumerate().min_by_key(|(shard, load)| (**load, *shard))
        else {
            break;
        };
        // A cell that takes no time is a cell all the same.
        *load = load.saturating_add(costs[at].1.max(1));
        shards[at] = shard;
    }
    shards
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(costs: &[(&str, u64)], of: usize) -> Vec<usize> {
        let ids: Vec<CellId> = costs.iter().map(|(id, _)| CellId((*id).to_owned())).collect();
        let costs: Vec<(&CellId, u64)> = ids.iter().zip(costs).map(|(id, (_, cost))| (id, *cost)).collect();
        deal(&costs, of).into_iter().map(|at| at + 1).collect()
    }

    #[test]
    fn the_dearest_cells_are_dealt_first_each_to_whom_has_least_to_do() {
        // 7 | 6 | 5, then 4 to the third, 3 to the second, 2 to the first, and 1 to whom was first among equals.
        let costs = [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5), ("f", 6), ("g", 7)];
        assert_eq!(dealt(&costs, 3), [1, 1, 2, 3, 3, 2, 1]);
    }

    #[test]
    fn the_order_of_cells_does_not_matter_and_ids_decide_between_equals() {
        let costs = [("a", 5), ("b", 5), ("c", 5), ("d", 1)];
        assert_eq!(dealt(&costs, 2), [1, 2, 1, 2]);
        let turned: Vec<(&str, u64)> = costs.iter().rev().copied().collect();
        let mut shards = dealt(&turned, 2);
        shards.reverse();
        assert_eq!(shards, [1, 2, 1, 2]);
    }

    #[test]
    fn more_shards_than_cells_leave_some_empty_and_cells_without_cost_are_spread() {
        assert_eq!(dealt(&[("a", 1)], 3), [1]);
        assert_eq!(dealt(&[("a", 0), ("b", 0), ("c", 0)], 3), [1, 2, 3]);
        assert_eq!(dealt(&[], 3), Vec::<usize>::new());
    }
}
