//! The answer as people see it.

use ledger::{BufferClass, Bytes};

use super::super::print::table;
use super::answer::{Answer, Evidence, LeastLine, Line, label};
use crate::fit::Trade;
use crate::number::{grouped, mib, signed_mib};

/// The whole answer.
pub(super) fn text(answer: &Answer) -> String {
    let mut text = format!("{}, budget {} MiB", answer.source, mib(answer.budget_bytes));
    for keep in &answer.keep {
        text.push_str(&format!(", keep {keep}"));
    }
    text.push('\n');
    if !answer.source_named {
        text.push_str(
            "No model was named: this is the default. --engine, --checkpoint or --synthetic names another.\n",
        );
    }
    text.push('\n');
    match &answer.least {
        Some(least) => text.push_str(&nothing(answer, least)),
        None => text.push_str(&ranked(answer)),
    }
    text.push_str(&format!("\nanswered in {:.0} ms; nothing was loaded\n", answer.elapsed_ms.0));
    text
}

fn ranked(answer: &Answer) -> String {
    let head = ["#", "total MiB", "headroom", "decode tok/s", "loss", "peak", "configuration"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(answer.lines.iter().map(row));
    // The last column is text: it stands left, each with what was traded below it.
    let words: Vec<String> = rows.iter_mut().filter_map(Vec::pop).collect();
    let numbers = table(&rows);
    let mut text = String::new();
    for (at, (line, words)) in numbers.lines().zip(&words).enumerate() {
        text.push_str(&format!("{line}  {words}\n"));
        if let Some(traded) = at.checked_sub(1).and_then(|at| traded(&answer.lines[at].trades)) {
            text.push_str(&format!("{:width$}  {traded}\n", "", width = line.chars().count()));
        }
    }
    text.push_str("\nloss: nats a token, ~ is assumed; decode is planned; peak says whether a run has measured the total\n");
    if answer.found > answer.lines.len() {
        let more = answer.found - answer.lines.len();
        text.push_str(&format!(
            "the best of each quality; {more} more fit and are beaten by none: --all shows them\n"
        ));
    }
    if let Some(best) = answer.lines.first() {
        text.push_str(&format!(
            "\n# 1 at its peak, in {} with {} tokens held:\n",
            best.peak_phase, best.context_tokens.0
        ));
        text.push_str(&classes(best.by_class_bytes.iter(), best.total_bytes));
    }
    if let Some(serve) = &answer.serve {
        text.push_str(&format!("\n{serve}\n"));
    }
    text
}

fn row(line: &Line) -> Vec<String> {
    let peak = match &line.evidence {
        Evidence::Planned => "planned".to_owned(),
        Evidence::NoValue { why, .. } => format!("no value: {why}"),
        Evidence::Measured { record, difference } => {
            format!("measured {} ({:+.1} %)", mib(record.peak_bytes), difference * 100.0)
        }
    };
    let assumed = if line.loss.measured { "" } else { "~" };
    vec![
        line.rank.to_string(),
        mib(line.total_bytes),
        mib(line.headroom_bytes),
        grouped(line.decode_tokens_per_second, 1),
        format!("{assumed}{:.4}", line.loss.kl_nats),
        peak,
        label(&line.settings, &line.trades),
    ]
}

/// What each step came to, in MiB; `None` where there is none.
fn traded(trades: &[Trade]) -> Option<String> {
    let steps: Vec<String> =
        trades.iter().map(|trade| format!("{}: {}", trade.label(), change(trade.bytes))).collect();
    (!steps.is_empty()).then(|| steps.join("; "))
}

/// A change with its unit; one too small for a tenth of a MiB brings its own.
fn change(bytes: i64) -> String {
    let text = signed_mib(bytes);
    if text.ends_with('B') { text } else { format!("{text} MiB") }
}

fn classes<'a>(by_class: impl Iterator<Item = (&'a BufferClass, &'a Bytes)>, total: Bytes) -> String {
    let mut rows: Vec<Vec<String>> =
        by_class.map(|(class, bytes)| vec![format!("  {}", class.name()), mib(*bytes)]).collect();
    rows.push(vec!["  total".to_owned(), mib(total)]);
    table(&rows)
}

fn nothing(answer: &Answer, least: &LeastLine) -> String {
    let mut text = format!(
        "Nothing fits. The smallest configuration takes {} MiB, {} MiB too much: {}\n",
        mib(least.total_bytes),
        mib(least.missing_bytes),
        label(&least.settings, &least.trades)
    );
    text.push_str(&classes(least.by_class_bytes.iter(), least.total_bytes));
    for way in &answer.in_the_way {
        let enough = if way.fits_without { ", which fits" } else { ", which is still too much" };
        text.push_str(&format!(
            "\nin the way: --keep {}; without it the smallest takes {} MiB{enough}",
            way.keep,
            mib(way.least_without_bytes)
        ));
    }
    if !answer.in_the_way.is_empty() {
        text.push('\n');
    }
    text
}
