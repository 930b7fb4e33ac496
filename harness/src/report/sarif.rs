//! `sarif.json`: every budget that was not met, at its line of the scenario (SARIF 2.1.0). Only what a reader of such a file
//! shows is in it.

use serde_json::{Value, json};

use super::text::tame;
use crate::record::{Boards, Run};
use crate::verdict::{BoardsVerdict, BudgetResult, BudgetSummary, CellVerdict, RunVerdict, Word};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The log as a JSON value. The same verdict gives the same bytes.
pub fn sarif(run: &Run, verdict: &RunVerdict) -> Value {
    json!({"$schema": SCHEMA, "version": "2.1.0", "runs": [log_of(run, verdict, None)]})
}

/// The log of several boards: a run each.
pub fn sarif_of_boards(boards: &Boards, verdict: &BoardsVerdict) -> Value {
    let logs = boards.runs.iter().zip(&verdict.boards);
    let logs: Vec<Value> =
        logs.map(|((name, run), board)| log_of(run, &board.verdict, Some(name.as_str()))).collect();
    json!({"$schema": SCHEMA, "version": "2.1.0", "runs": logs})
}

/// The results of one board.
fn log_of(run: &Run, verdict: &RunVerdict, board: Option<&str>) -> Value {
    let of_cell = |cell: &CellVerdict| {
        let unmet = cell.budgets.iter().filter_map(|budget| Some((budget, level(budget.word)?)));
        let of_budgets = unmet.map(|(budget, level)| result(run, cell, budget, level));
        of_budgets.chain(regression(run, cell)).collect::<Vec<Value>>()
    };
    let mut log = json!({
        "tool": {"driver": {
            "name": "sweep",
            "version": run.record.program_version,
            "rules": verdict.budgets.iter().map(rule).chain([baseline_rule()]).collect::<Vec<Value>>(),
        }},
        "results": verdict.cells.iter().flat_map(of_cell).collect::<Vec<Value>>(),
    });
    if let Some(board) = board {
        // Runs of one tool in one log are told apart by it.
        log["automationDetails"] = json!({"id": format!("{board}/")});
    }
    log
}

/// `None` for what was met.
fn level(word: Word) -> Option<&'static str> {
    match word {
        Word::Pass | Word::NoBudget => None,
        Word::Warn | Word::Inconclusive => Some("warning"),
        _ => Some("error"),
    }
}

fn rule(budget: &BudgetSummary) -> Value {
    json!({
        "id": tame(&budget.id),
        "shortDescription": {"text": tame(&format!("{} {}", budget.subject, budget.limits))},
        "fullDescription": {"text": tame(&budget.why)},
    })
}

fn baseline_rule() -> Value {
    json!({
        "id": BASELINE,
        "shortDescription": {"text": "no more memory than the baseline"},
        "fullDescription": {"text": "What a board is known to need is reviewed; more than that is a regression."},
    })
}

fn result(run: &Run, cell: &CellVerdict, budget: &BudgetResult, level: &str) -> Value {
    let reason = budget.reason.as_deref().unwrap_or_default();
    let class = budget.responsible.as_ref().map_or("", |behind| behind.class.name());
    let text = format!("{}: {}: {reason}", budget.word, cell.label);
    let line = line_of(&run.record.scenario.text, &budget.id);
    finding(run, cell, Finding { rule: &budget.id, level, text, class, line })
}

/// The rule of a cell that needs more than its baseline, which has no line of its own in the scenario.
const BASELINE: &str = "baseline";

fn regression(run: &Run, cell: &CellVerdict) -> Option<Value> {
    let comparison = cell.comparison.as_ref().filter(|one| one.word == Some(Word::Regression))?;
    let responsible = comparison.responsible().unwrap_or_default();
    let reason = comparison.reason.as_deref().unwrap_or_default();
    let text = format!("{}: {}: {reason}; {responsible}", Word::Regression, cell.label);
    let class = comparison.buffers.first().map_or("", |change| change.class.name());
    Some(finding(run, cell, Finding { rule: BASELINE, level: "error", text, class, line: 1 }))
}

/// What a result says, and of what.
struct Finding<'a> {
    rule: &'a str,
    level: &'a str,
    text: String,
    class: &'a str,
    line: usize,
}

fn finding(run: &Run, cell: &CellVerdict, found: Finding<'_>) -> Value {
    let Finding { rule, level, text, class, line } = found;
    let file = run.record.scenario.file.as_deref().unwrap_or("scenario.yaml");
    json!({
        "ruleId": tame(rule),
        "level": level,
        "message": {"text": tame(&text)},
        "locations": [{
            "physicalLocation": {"artifactLocation": {"uri": uri(file)}, "region": {"startLine": line}},
            "logicalLocations": [{"name": tame(&cell.label), "fullyQualifiedName": format!("{}/{class}", cell.cell.0)}],
        }],
        "partialFingerprints": {"cellAndBudget/v1": tame(&format!("{}/{rule}", cell.cell.0))},
    })
}

/// The line, from 1, on which the budget `id` begins: the first one is where nothing of that name is found.
fn line_of(text: &str, id: &str) -> usize {
    let names_it = |line: &str| {
        let (_, value) = line.split_once("id:")?;
        let value = value.trim_start().trim_start_matches(['"', '\'']);
        let rest = value.strip_prefix(id)?;
        rest.chars()
            .next()
            .is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '-' | '_' | '.'))
            .then_some(())
    };
    text.lines().position(|line| names_it(line).is_some()).map_or(1, |at| at + 1)
}

/// A path as a relative reference of RFC 3986.
fn uri(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_found_by_its_whole_name() {
        let text = "name: x\nbudgets:\n  - id: total-of-all\n  - {id: total, total: {fail: 1 GiB}}\n  - id: \"quoted\"\n";
        assert_eq!(["total", "total-of-all", "quoted", "none"].map(|id| line_of(text, id)), [4, 3, 5, 1]);
    }

    #[test]
    fn a_path_is_a_reference() {
        assert_eq!(uri("scenarios/a b%.yaml"), "scenarios/a%20b%25.yaml");
    }
}
