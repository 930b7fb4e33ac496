//! What changed hands during a trial: classes that grew or shrank from one phase edge to the next, and requests.

use std::collections::BTreeMap;

use ledger::{BufferClass, Bytes, Micros};
use serde::Serialize;

use crate::number::{count, grouped, signed_mib};
use crate::record::TrialRecord;

/// Changes below this are left to the table of accounts.
const LEAST: u64 = 1 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Event {
    /// Seconds since the trial's start, in words.
    at: String,
    /// The same in milliseconds.
    pub(super) ms: u64,
    what: String,
}

/// The events of `trial`, in the order of time. The ledger is read at phase edges, so that an allocation is known to have
/// come by then.
pub(super) fn events(trial: &TrialRecord) -> Vec<Event> {
    let event = |at: Micros, what: String| Event { at: grouped(at.0 as f64 / 1e6, 2), ms: at.0 / 1000, what };
    let mut found: Vec<(Micros, Event)> = Vec::new();
    let mut before: BTreeMap<BufferClass, Bytes> = BTreeMap::new();
    for phase in &trial.phases {
        let Some(held) = phase.end.by_class_bytes.measured() else { continue };
        let of = |classes: &BTreeMap<BufferClass, Bytes>, class: &BufferClass| {
            classes.get(class).copied().unwrap_or_default()
        };
        let changes = BufferClass::ALL.iter().filter_map(|class| {
            let change = of(held, class).signed_difference(of(&before, class));
            (change.unsigned_abs() >= LEAST).then(|| format!("{class} {} MiB", signed_mib(change)))
        });
        let changes: Vec<String> = changes.collect();
        if !changes.is_empty() {
            let what = format!("by the end of {}: {}", phase.phase, changes.join(", "));
            found.push((phase.ended_us, event(phase.ended_us, what)));
        }
        before.clone_from(held);
    }
    for request in &trial.requests {
        let Some(sent) = request.sent_us else { continue };
        let what = format!(
            "request of {} sent: {} tokens in, {} out",
            request.phase,
            count(u64::from(request.prompt_tokens.0)),
            count(u64::from(request.completion_tokens.0))
        );
        found.push((sent, event(sent, what)));
    }
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, event)| event).collect()
}
