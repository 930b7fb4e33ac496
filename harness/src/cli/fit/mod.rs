//! `sweep fit`: which configurations fit a budget, or whether predictions held in a run.
//!
//! - `answer`: what is answered, for programs and for people alike; `table`: how people see it.
//! - `command`: the command line that serves a configuration; `held`: predictions against a run.

mod answer;
mod command;
mod held;
mod table;

use ledger::{Bytes, Millis, Tokens};

use super::arguments::FitArguments;
use super::{CliError, Printer, judge, list};
use crate::clock::TrialClock;
use crate::engines::BuiltinEngines;
use crate::fit::{Axes, ExplainedQuality, KeepError, Planner, Records, Search};
use crate::scenario::{BuildOptions, ModelSource};
use crate::verdict::ExitCode;
use answer::{Answer, InTheWay};

/// Ranks what fits, or checks predictions.
pub(super) fn fit(arguments: &FitArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let engines = BuiltinEngines::new(&arguments.engines);
    if let Some(run) = &arguments.check {
        return held::check(&judge::find(Some(run), &arguments.output)?, &engines, arguments.json, printer);
    }
    let clock = TrialClock::start();
    let answer = answer(arguments, &engines, &clock)?;
    match arguments.json {
        true => printer.json(&answer)?,
        false => printer.text(&table::text(&answer))?,
    }
    Ok(if answer.fits { ExitCode::Pass } else { ExitCode::BudgetFailed })
}

fn answer(
    arguments: &FitArguments,
    engines: &BuiltinEngines,
    clock: &TrialClock,
) -> Result<Answer, CliError> {
    let budget = arguments.budget.unwrap_or_default();
    let source = arguments.model_source();
    if matches!(source, ModelSource::Engine(_))
        && let Some(keep) = arguments.keep.iter().find(|keep| BuildOptions::NAMES.contains(&keep.knob))
    {
        return Err(KeepError::Built(keep.knob).into());
    }
    let axes = Axes::of(&arguments.keep)?;
    let mut planner = Planner::new(engines, &source, arguments.context.map(Tokens));
    let quality = ExplainedQuality::of(engines, &source);
    let found = Search::run(&mut planner, &axes, &quality, budget)?;
    let Some(least) = found.least.clone() else {
        let why = found.refused.unwrap_or_else(|| "no knob has a value left".to_owned());
        return Err(CliError::NoConfiguration(why));
    };
    let mut answer = Answer::begin(arguments, &source, budget);
    answer.found = found.frontier.len();
    if found.frontier.is_empty() {
        answer.least = Some(answer::least(&mut planner, &least, budget)?);
        for (at, keep) in arguments.keep.iter().enumerate() {
            let mut others = arguments.keep.clone();
            others.remove(at);
            // Only the smallest is wanted: with no budget at all nothing else is worked out.
            let without = Search::run(&mut planner, &Axes::of(&others)?, &quality, Bytes::ZERO)?;
            if let Some(least_without) = without.least.filter(|without| without.total < least.total) {
                answer.in_the_way.push(InTheWay {
                    keep: keep.clone(),
                    least_without_bytes: least_without.total,
                    fits_without: least_without.total <= budget,
                });
            }
        }
    } else {
        let mut records = Records::of(&list::runs(&arguments.output), &source);
        let shown: Vec<_> = match arguments.all {
            true => found.frontier.iter().collect(),
            false => found.best_of_each_quality.iter().take(answer::SHOWN).collect(),
        };
        for candidate in shown {
            let line = answer::line(&mut planner, candidate, budget, answer.lines.len() + 1, &mut records)?;
            answer.lines.push(line);
        }
        answer.fits = true;
        answer.serve = found.frontier.first().map(|best| command::serve(&source, &best.configuration));
    }
    answer.elapsed_ms = Millis(clock.now().0 as f64 / 1000.0);
    Ok(answer)
}
