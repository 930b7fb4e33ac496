//! `sweep merge`.

use super::arguments::MergeArguments;
use super::judge::{find, judged};
use super::{CliError, Printer};
use crate::merge::merge as join;
use crate::verdict::ExitCode;

/// Joins runs, prints the verdict on what they are together, and returns its exit code.
pub(super) fn merge(arguments: &MergeArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let runs = arguments.runs.iter().map(|run| find(Some(run), &arguments.output));
    let folder = join(&runs.collect::<Result<Vec<_>, _>>()?, &arguments.output, arguments.name.as_deref())?;
    judged(&folder, None)?.show(arguments.json, printer)
}
