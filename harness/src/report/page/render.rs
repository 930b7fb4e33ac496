//! The page put together.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value};
use serde::Serialize;

use super::account::AccountPage;
use super::cell::CellPage;
use super::class_chart::{ClassChart, class_chart};
use super::levers::{LeverGroup, lever_groups};
use super::overview::{Badge, BudgetRow, CellRow, Columns, axis_names, budget_row, cell_row};
use super::{machine, policy};
use crate::record::{ExcludedCell, Run, ScenarioRecord};
use crate::report::svg::icon::icon;
use crate::report::svg::palette;
use crate::verdict::{RunVerdict, Word};

const STYLE: &str = include_str!("../../../../reports/template/style.css");
const TEMPLATES: [(&str, &str); 3] = [
    ("report.html", include_str!("../../../../reports/template/report.html")),
    ("cell.html", include_str!("../../../../reports/template/cell.html")),
    ("macros.html", include_str!("../../../../reports/template/macros.html")),
];

/// Up to so many cells are all unfolded; of more, only those that did not pass.
const UNFOLDED_CELLS: usize = 8;

/// The page as text. The same run gives the same bytes.
pub fn render(run: &Run, verdict: &RunVerdict) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    let axes = axis_names(verdict, &run.record.bases);
    let columns = Columns::of(verdict);
    let few = verdict.cells.len() <= UNFOLDED_CELLS;
    let needs_a_look = |word: Word| !matches!(word, Word::Pass | Word::NoBudget);
    let cells: Vec<CellPage> =
        verdict.cells.iter().map(|cell| CellPage::of(run, cell, few || needs_a_look(cell.word))).collect();
    let record = &run.record;
    let page = Page {
        policy: policy::content_security_policy(STYLE),
        style: STYLE,
        patterns: palette::definitions(),
        scenario: &record.scenario,
        started_at: &record.started_at,
        badge: verdict.word.into(),
        mark: icon(verdict.word, 26),
        // The word stands beside it.
        headline: verdict.headline.split_once(": ").map_or(verdict.headline.as_str(), |(_, rest)| rest),
        compared: &verdict.compared,
        exit_code: verdict.exit_code.code(),
        exit_meaning: verdict.exit_code.meaning(),
        synthetic: verdict.synthetic_weights,
        problems: &verdict.problems,
        rows: verdict.cells.iter().map(|cell| cell_row(cell, &axes, &run.record.bases, columns)).collect(),
        alone: !run.record.bases.is_empty(),
        drafted: columns.drafts,
        on_device: columns.device,
        levers: lever_groups(verdict),
        lever_reasons: record
            .levers
            .iter()
            .filter_map(|lever| Some((lever.axis.as_str(), lever.why.as_deref()?)))
            .collect(),
        account: run.account.as_ref().map(AccountPage::of),
        axes,
        budgets: verdict.budgets.iter().map(budget_row).collect(),
        chart: class_chart(run, verdict),
        cells,
        excluded: &record.excluded,
        machine: machine::facts(record),
        trials_per_cell: record.trials_per_cell,
        run_name: run.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
    };
    environment.get_template("report.html")?.render(Value::from(Serde(&page)))
}

/// What the template is given.
#[derive(Serialize)]
struct Page<'a> {
    policy: String,
    style: &'static str,
    patterns: String,
    scenario: &'a ScenarioRecord,
    started_at: &'a str,
    badge: Badge,
    mark: String,
    headline: &'a str,
    compared: &'a str,
    exit_code: u8,
    exit_meaning: &'static str,
    synthetic: bool,
    problems: &'a [String],
    /// What logs say, where the run was imported.
    account: Option<AccountPage>,
    axes: Vec<String>,
    rows: Vec<CellRow>,
    /// True where axes are tried one at a time.
    alone: bool,
    drafted: bool,
    /// True where a cell holds memory of a device.
    on_device: bool,
    levers: Vec<LeverGroup>,
    /// Axis, and why it is a lever.
    lever_reasons: Vec<(&'a str, &'a str)>,
    budgets: Vec<BudgetRow>,
    chart: ClassChart,
    cells: Vec<CellPage>,
    excluded: &'a [ExcludedCell],
    machine: Vec<(&'static str, String)>,
    trials_per_cell: u32,
    run_name: String,
}
