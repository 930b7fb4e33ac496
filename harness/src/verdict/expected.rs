//! Cells that are known not to run to their end: no failure until a given day, and a finding where they do.

use super::Word;
use super::cell::outcome_word;
use crate::record::{Expectation, ExpectedOutcome, RecordedTrial};

/// Changes what is `said` of a cell by what is expected of it. `missing` are trials that were not recorded; `started_at` is when the
/// run started: the day of a later reading changes nothing.
pub(super) fn settle(
    said: &mut Vec<(Word, String)>,
    expectation: &Expectation,
    trials: &[&RecordedTrial],
    missing: bool,
    started_at: &str,
) {
    let Expectation { until, why, .. } = expectation;
    let word = match expectation.outcome {
        ExpectedOutcome::Oom => Word::Oom,
        ExpectedOutcome::Timeout => Word::Timeout,
        ExpectedOutcome::Crash => Word::Crash,
    };
    let came = |trial: &&&RecordedTrial| outcome_word(&trial.record.outcome) == Some(word);
    let (met, lives) = (
        trials.iter().filter(came).count(),
        trials.iter().filter(|trial| outcome_word(&trial.record.outcome).is_none()).count(),
    );
    if expectation.has_passed(started_at) {
        for (_, reason) in said.iter_mut().filter(|(said, _)| *said == word) {
            reason.push_str(&format!("; it was expected to until {until}, which has passed ({why})"));
        }
        if met == 0 && lives > 0 {
            let finding = format!(
                "{word} was expected until {until} and does not come any more: remove the expectation ({why})"
            );
            said.push((Word::Warn, finding));
        }
        return;
    }
    if met > 0 {
        // What a trial that ended could not show is no second failure.
        said.retain(|(said, _)| *said != word && *said != Word::Inconclusive && *said != Word::Fail);
        if met == trials.len() && !missing {
            said.clear();
        }
        said.push((Word::Expected, format!("{word} as expected until {until}: {why}")));
    }
    if lives > 0 {
        let finding = format!(
            "{lives} of {} trials ran to their end, and {word} is expected until {until}: remove the expectation, or say for which \
             cells it is ({why})",
            trials.len()
        );
        said.push((Word::Warn, finding));
    }
}
