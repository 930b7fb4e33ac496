//! `sweep explain`: a cell by its budgets, classes and buffers, or a knob by what its values take and cost.

mod cell;
mod knob;

use clap::ValueEnum;

use super::arguments::{ExplainArguments, Knob};
use super::{CliError, Printer};
use crate::verdict::ExitCode;

/// Explains what was named.
pub(super) fn explain(arguments: &ExplainArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let Ok(knob) = Knob::from_str(&arguments.subject, false) else {
        return cell::explain(arguments, printer);
    };
    let source = arguments.source.as_ref().ok_or(CliError::NoModel)?;
    let (pack, tokens, json) = (&arguments.pack, arguments.tokens, arguments.json);
    let (device, threads) = (arguments.device, arguments.threads);
    knob::explain(&knob::KnobArguments { knob, source, pack, device, tokens, threads, json }, printer)
}
