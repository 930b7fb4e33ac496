//! The page put together.

use std::path::Path;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value};
use serde::Serialize;

use super::account::AccountPage;
use super::cell::{self, CellPage};
use super::class_chart::{ClassChart, class_chart};
use super::levers::{LeverGroup, lever_groups};
use super::matrix::Matrix;
use super::overview::{Badge, BudgetRow, CellRow, Columns, axis_names, budget_row, cell_row, needs_a_look};
use super::worst::Worst;
use super::{machine, policy};
use crate::record::{Boards, ExcludedCell, Run, ScenarioRecord};
use crate::report::quality::of_tables;
use crate::report::svg::icon::icon;
use crate::report::svg::palette;
use crate::report::text;
use crate::verdict::{CellVerdict, RunVerdict};

/// uPlot's own style goes first, so that ours has the last word.
const STYLE: &str = concat!(
    include_str!("../../../../reports/template/uplot-1.6.32/uPlot.min.css"),
    include_str!("../../../../reports/template/style.css")
);
/// The style of pages without scripts: that of the history, and that of several boards.
pub(in crate::report) const PLAIN_STYLE: &str = concat!(
    include_str!("../../../../reports/template/style.css"),
    include_str!("../../../../reports/template/plain.css")
);
const UPLOT: &str = include_str!("../../../../reports/template/uplot-1.6.32/uPlot.iife.min.js");
const UPLOT_LICENCE: &str = include_str!("../../../../reports/template/uplot-1.6.32/LICENSE");
const SCRIPT: &str = include_str!("../../../../reports/template/page.js");
const TEMPLATES: [(&str, &str); 6] = [
    ("report.html", include_str!("../../../../reports/template/report.html")),
    ("boards.html", include_str!("../../../../reports/template/boards.html")),
    ("cell.html", include_str!("../../../../reports/template/cell.html")),
    ("history.html", include_str!("../../../../reports/template/history.html")),
    ("verdict.html", include_str!("../../../../reports/template/verdict.html")),
    ("macros.html", include_str!("../../../../reports/template/macros.html")),
];

/// Up to so many cells are all unfolded; of more, only those that did not pass.
const UNFOLDED_CELLS: usize = 8;

/// So many cells, the worst first, are shown with their charts; of the others, what decides. That keeps a page of forty
/// cells below 1.5 MB, and one of four hundred below 8 MB.
const WHOLE_CELLS: usize = 30;

/// Every template, with what becomes of a text on its way into a page.
pub(in crate::report) fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(text::formatter);
    environment.add_filter("whole", text::whole);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    Ok(environment)
}

/// The page as text. The same run gives the same bytes.
pub fn render(run: &Run, verdict: &RunVerdict) -> Result<String, minijinja::Error> {
    let environment = environment()?;
    let axes = axis_names(verdict, &run.record.bases);
    let columns = Columns::of(verdict);
    let few = verdict.cells.len() <= UNFOLDED_CELLS;
    let cell_page = |(place, cell): (usize, &CellVerdict)| {
        let open = few || (needs_a_look(cell.word) && place < WHOLE_CELLS);
        CellPage::of(run, &verdict.levers, cell, open, place < WHOLE_CELLS)
    };
    let mut cells: Vec<CellPage> = verdict.cells.iter().enumerate().map(cell_page).collect();
    cell::say_probes_once(&mut cells);
    let script = script();
    let record = &run.record;
    let page = Page {
        policy: policy::content_security_policy(STYLE, &script),
        style: STYLE,
        script,
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
        figures: of_tables().filter(|_| columns.quality).map(|figure| (figure.title, figure.unit)).collect(),
        levers: lever_groups(verdict),
        lever_reasons: record
            .levers
            .iter()
            .filter_map(|lever| Some((lever.axis.as_str(), lever.why.as_deref()?)))
            .collect(),
        account: run.account.as_ref().map(AccountPage::of),
        worst: Worst::of(run, verdict),
        matrix: Matrix::of(run, verdict, &axes),
        axes,
        budgets: verdict.budgets.iter().map(budget_row).collect(),
        chart: class_chart(run, verdict),
        cells,
        excluded: &record.excluded,
        machine: machine::facts(record),
        fingerprint: machine::fingerprint(run),
        trials_per_cell: record.trials_per_cell,
        run_name: run_name(run),
    };
    environment.get_template("report.html")?.render(Value::from(Serde(&page)))
}

/// By what `sweep report` finds the run: its folder, and behind that of several boards the board's.
fn run_name(run: &Run) -> String {
    let name = |folder: &Path| folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let own = name(&run.folder).unwrap_or_default();
    match Boards::folder_of(&run.folder).and_then(name) {
        Some(boards) => Boards::run_folder(Path::new(&boards), &own).display().to_string(),
        None => own,
    }
}

/// The one script: uPlot without the line that names its home, for a page must not look as if it loaded something, with its
/// licence, and then ours.
fn script() -> String {
    let uplot = UPLOT.split_once('\n').map_or(UPLOT, |(_, code)| code);
    format!("/* uPlot 1.6.32. {} */\n{uplot}\n{SCRIPT}", UPLOT_LICENCE.trim_end())
}

/// What the template is given.
#[derive(Serialize)]
struct Page<'a> {
    policy: String,
    style: &'static str,
    script: String,
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
    worst: Worst,
    matrix: Matrix,
    axes: Vec<String>,
    rows: Vec<CellRow>,
    /// True where axes are tried one at a time.
    alone: bool,
    drafted: bool,
    /// True where a cell holds memory of a device.
    on_device: bool,
    /// Title and unit of the figures of quality; none where no cell of the run was scored.
    figures: Vec<(&'static str, &'static str)>,
    levers: Vec<LeverGroup>,
    /// Axis, and why it is a lever.
    lever_reasons: Vec<(&'a str, &'a str)>,
    budgets: Vec<BudgetRow>,
    chart: ClassChart,
    cells: Vec<CellPage>,
    excluded: &'a [ExcludedCell],
    machine: Vec<(&'static str, String)>,
    /// What decides whether another run may be compared with this one, and how well it was sampled.
    fingerprint: Vec<(&'static str, String)>,
    trials_per_cell: u32,
    run_name: String,
}
