//! `cells.csv`: one line a cell and board, worst first, with units in the names of the columns. An empty field is a missing
//! value, never zero.

use ledger::Bytes;

use super::quality::{FIGURES, FURTHER, Figure};
use crate::record::Reading;
use crate::verdict::{BoardsVerdict, CellVerdict, RunVerdict};

/// Version of the table. It grows when a column changes its meaning or goes away.
pub const FORMAT_VERSION: u32 = 3;

const COLUMNS: [&str; 30] = [
    "format_version",
    "scenario",
    "started_at",
    "cell",
    "model",
    "axes",
    "verdict",
    "reason",
    "resumed",
    "synthetic_weights",
    "trials_recorded",
    "trials_expected",
    "peak_resident_bytes",
    "peak_phase",
    "sampled_peak_bytes",
    "planned_buffers_peak_bytes",
    "plan_mismatch_bytes",
    "worst_unaccounted_percent",
    "prefill_tokens_per_second",
    "decode_tokens_per_second",
    "budget",
    "budget_margin_bytes",
    "acceptance_length",
    "device_peak_bytes",
    "host_and_device_peak_bytes",
    "inconclusive_trials",
    "peak_is_lower_bound",
    "sampled_peak_is_lower_bound",
    "device_peak_is_lower_bound",
    "board",
];

/// Columns of quality, behind the others.
fn figures() -> impl Iterator<Item = &'static Figure> {
    FIGURES.iter().chain(&FURTHER)
}

/// The table of a run as text.
pub fn cells(verdict: &RunVerdict) -> Result<Vec<u8>, csv::Error> {
    let board = verdict.board.as_deref().unwrap_or_default();
    table(verdict.cells.iter().map(|cell| row(verdict, board, cell)))
}

/// The table of several boards: one line a cell and board, a cell's lines side by side.
pub fn cells_of_boards(verdict: &BoardsVerdict) -> Result<Vec<u8>, csv::Error> {
    let rows = verdict.rows();
    table(rows.iter().flat_map(|row| {
        let boards = row.cells.iter().zip(&verdict.boards);
        boards.filter_map(|(cell, board)| Some(self::row(&board.verdict, &board.board, (*cell)?)))
    }))
}

fn table(rows: impl Iterator<Item = Vec<String>>) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS.into_iter().chain(figures().map(|figure| figure.key)))?;
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

fn row(verdict: &RunVerdict, board: &str, cell: &CellVerdict) -> Vec<String> {
    let fixed = measured(verdict, board, cell).into_iter();
    fixed.chain(figures().map(|figure| figure.field(cell))).collect()
}

/// The columns that do not depend on what a scenario asks for.
fn measured(verdict: &RunVerdict, board: &str, cell: &CellVerdict) -> [String; COLUMNS.len()] {
    let axes: Vec<String> = cell.axes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let lead = cell.leading_budget();
    [
        FORMAT_VERSION.to_string(),
        verdict.scenario.clone(),
        verdict.started_at.clone(),
        cell.cell.0.clone(),
        cell.model.clone(),
        axes.join(";"),
        cell.word.to_string(),
        cell.reason.clone().unwrap_or_default(),
        cell.resumed.to_string(),
        cell.synthetic_weights.to_string(),
        cell.trials_recorded.to_string(),
        cell.trials_expected.to_string(),
        bytes(&cell.peak_resident_bytes),
        cell.peak_phase.map(|phase| phase.to_string()).unwrap_or_default(),
        bytes(&cell.sampled.peak_bytes),
        bytes(&cell.planned_peak_bytes),
        bytes(&cell.plan_mismatch_bytes),
        field(&cell.worst_unaccounted_share, |share| format!("{:.4}", share * 100.0)),
        field(&cell.prefill_tokens_per_second, |speed| format!("{speed:.3}")),
        field(&cell.decode_tokens_per_second, |speed| format!("{speed:.3}")),
        lead.map(|result| result.id.clone()).unwrap_or_default(),
        lead.and_then(|result| result.margin_bytes).map(|margin| margin.to_string()).unwrap_or_default(),
        field(&cell.acceptance_length, |length| format!("{length:.4}")),
        cell.device.as_ref().map_or_else(String::new, |device| bytes(&device.peak_bytes)),
        cell.device.as_ref().map_or_else(String::new, |device| bytes(&device.held_peak_bytes)),
        cell.inconclusive_trials.len().to_string(),
        cell.peak_lower_bounds.in_host().to_string(),
        (!cell.sampled.blind_at.is_empty()).to_string(),
        cell.device.as_ref().map_or_else(String::new, |_| cell.peak_lower_bounds.on_device().to_string()),
        board.to_owned(),
    ]
}

fn bytes(reading: &Reading<Bytes>) -> String {
    field(reading, |bytes| bytes.0.to_string())
}

fn field<T>(reading: &Reading<T>, form: impl Fn(&T) -> String) -> String {
    reading.measured().map(form).unwrap_or_default()
}
