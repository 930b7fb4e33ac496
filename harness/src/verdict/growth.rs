//! Memory that only grows: a leak where nothing is asked, a drift from request to request.
//!
//! Both are lines through low points, by the median of the slopes between any two of them (Theil and Sen), so that one high or low
//! moment decides nothing. A line counts where either half of it grows as well: a step is no growth.

use ledger::{Bytes, Micros, Phase};
use schemars::JsonSchema;
use serde::Serialize;

use crate::number::{grouped, mib};
use crate::record::{RecordedTrial, RequestRecord, schema};

/// What a target tidies up after its last request is over by then.
pub const TIDYING: Micros = Micros(500_000);

/// A phase in which nothing is asked must be seen for so long, from half a second after its beginning.
pub const LEAST_TIME: Micros = Micros(2_000_000);

/// Bytes a second below which nothing is a leak.
pub const LEAST_LEAK: Bytes = Bytes::kib(256);

/// Requests that must be seen, beyond those that warm up.
pub const LEAST_REQUESTS: usize = 8;

/// First requests, which bring in code and fill caches.
pub const WARMING_UP: usize = 2;

/// Bytes a request below which nothing is a drift.
pub const LEAST_DRIFT: Bytes = Bytes::kib(64);

/// What must have come together, in either case.
pub const LEAST_GROWTH: Bytes = Bytes::mib(1);

/// Stretches that a phase is divided into; each gives its lowest point.
const STRETCHES: u64 = 32;

/// How a growth was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Growing {
    /// Over a phase in which nothing is asked.
    Leak,
    /// Over requests of one length.
    Drift,
}

/// Memory that grows.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Growth {
    /// How it was seen.
    pub kind: Growing,
    /// True for memory of a device.
    pub on_device: bool,
    /// Where.
    #[schemars(with = "schema::PhaseName")]
    pub phase: Phase,
    /// Bytes a second of a leak, bytes a request of a drift.
    #[schemars(with = "schema::Bytes")]
    pub each_bytes: Bytes,
    /// Over the whole observation.
    #[schemars(with = "schema::Bytes")]
    pub total_bytes: Bytes,
    /// Seconds of a leak, requests of a drift.
    pub over: f64,
}

impl Growth {
    /// The end of a sentence about its trial.
    pub fn sentence(&self) -> String {
        let memory = if self.on_device { "device memory" } else { "resident memory" };
        let (each, total, over) = (mib(self.each_bytes), mib(self.total_bytes), self.over);
        match self.kind {
            Growing::Leak => format!(
                "leaks: {memory} grew by {each} MiB/s in {}, {total} MiB in {} s, while nothing was asked",
                self.phase,
                grouped(over, 1)
            ),
            Growing::Drift => format!(
                "drifts: {memory} grew by {each} MiB with each request of {}, {total} MiB over {} requests",
                self.phase,
                grouped(over, 0)
            ),
        }
    }
}

/// What a trial shows of growth.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Growths {
    /// What grows.
    pub found: Vec<Growth>,
    /// True where a phase or requests were seen for long enough to tell.
    pub watched: bool,
}

/// Memory that was watched for long enough to tell whether it grows.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// How it was watched.
    pub kind: Growing,
    /// True for memory of a device.
    pub on_device: bool,
    /// Where.
    pub phase: Phase,
    /// Seconds for a leak, requests for a drift.
    pub over: f64,
    /// Low points: seconds or requests, and bytes.
    lows: Vec<(f64, f64)>,
}

impl Watched {
    /// The growth, where it is `least` bytes a second or a request, and [`LEAST_GROWTH`] in all.
    pub fn growth(&self, least: Bytes) -> Option<Growth> {
        let (each_bytes, total_bytes) = grows(&self.lows, self.over, least)?;
        let Watched { kind, on_device, phase, over, .. } = *self;
        Some(Growth { kind, on_device, phase, each_bytes, total_bytes, over })
    }
}

/// Looks for growth in both memories of `trial`.
pub fn growths(trial: &RecordedTrial) -> Growths {
    let watched = watched(trial);
    let found = watched.iter().filter_map(|watched| {
        watched.growth(match watched.kind {
            Growing::Leak => LEAST_LEAK,
            Growing::Drift => LEAST_DRIFT,
        })
    });
    Growths { found: found.collect(), watched: !watched.is_empty() }
}

/// What of both memories of `trial` was watched for long enough.
pub fn watched(trial: &RecordedTrial) -> Vec<Watched> {
    let host = trial.series.measured().map(|series| {
        // Pages that were swapped out have not gone.
        let held = |sample: &crate::record::Sample| Some(sample.resident()? + sample.swapped?);
        series.samples.iter().filter_map(|sample| Some((sample.at, held(sample)?))).collect()
    });
    let device = trial
        .device_series
        .measured()
        .map(|series| series.samples.iter().filter_map(|sample| Some((sample.at, sample.used?))).collect());
    let mut all = Vec::new();
    for (curve, on_device) in [(host, false), (device, true)] {
        let curve: Vec<(Micros, Bytes)> = curve.unwrap_or_default();
        let at_rest = [Phase::Idle, Phase::Settle].map(|phase| at_rest(trial, phase, &curve));
        let seen = at_rest.into_iter().chain([from_request_to_request(trial, &curve)]).flatten();
        all.extend(seen.map(|watched| Watched { on_device, ..watched }));
    }
    all
}

fn at_rest(trial: &RecordedTrial, phase: Phase, curve: &[(Micros, Bytes)]) -> Option<Watched> {
    let record = trial.record.phases.iter().find(|record| record.phase == phase)?;
    let from = Micros(record.started_us.0.saturating_add(TIDYING.0));
    let within = within(curve, from, record.ended_us);
    let (first, last) = (within.first()?.0, within.last()?.0);
    let lasts = last.0.saturating_sub(first.0);
    if lasts < LEAST_TIME.0 {
        return None;
    }
    let stretch = |at: Micros| (at.0 - first.0).saturating_mul(STRETCHES) / (lasts + 1);
    let lows = (0..STRETCHES).filter_map(|number| {
        let own = within.iter().filter(|(at, _)| stretch(*at) == number);
        let (at, bytes) = own.min_by_key(|(_, bytes)| *bytes)?;
        Some((at.0 as f64 / 1e6, bytes.0 as f64))
    });
    let (lows, over) = (lows.collect(), lasts as f64 / 1e6);
    Some(Watched { kind: Growing::Leak, on_device: false, phase, over, lows })
}

fn from_request_to_request(trial: &RecordedTrial, curve: &[(Micros, Bytes)]) -> Option<Watched> {
    let phase = Phase::Prefill;
    let ended = trial.record.phases.iter().find(|record| record.phase == phase)?.ended_us;
    let sent: Vec<Micros> =
        alike(&trial.record.requests, phase).filter_map(|request| request.sent_us).collect();
    let until = sent.iter().skip(1).copied().chain([ended]);
    // The lowest point of a request is what the ones before it left.
    let lows = sent.iter().zip(until).enumerate().skip(WARMING_UP).filter_map(|(number, (from, to))| {
        let low = within(curve, *from, to).iter().map(|(_, bytes)| *bytes).min()?;
        Some((number as f64, low.0 as f64))
    });
    let lows: Vec<(f64, f64)> = lows.collect();
    let over = lows.len() as f64;
    let is_enough = lows.len() >= LEAST_REQUESTS;
    is_enough.then_some(Watched { kind: Growing::Drift, on_device: false, phase, over, lows })
}

/// The requests of `phase` with the length of its first one: others may need more for being longer.
fn alike(requests: &[RequestRecord], phase: Phase) -> impl Iterator<Item = &RequestRecord> {
    let first = requests.iter().find(|request| request.phase == phase).map(|request| request.prompt_tokens);
    requests.iter().filter(move |request| request.phase == phase && Some(request.prompt_tokens) == first)
}

fn within(curve: &[(Micros, Bytes)], from: Micros, to: Micros) -> &[(Micros, Bytes)] {
    let first = curve.partition_point(|(at, _)| *at < from);
    let end = curve.partition_point(|(at, _)| *at <= to);
    curve.get(first..end).unwrap_or_default()
}

/// What `points` grow by for each unit, and over all of `over`; `None` where that is not more than `least` or comes in a step.
fn grows(points: &[(f64, f64)], over: f64, least: Bytes) -> Option<(Bytes, Bytes)> {
    let (first, second) = points.split_at(points.len() / 2);
    let least = least.0 as f64;
    let each = slope(points).filter(|each| *each >= least)?;
    let steady = [first, second].into_iter().all(|half| slope(half).is_some_and(|own| own >= each / 4.0));
    let total = each * over;
    (steady && total >= LEAST_GROWTH.0 as f64).then_some((Bytes(each as u64), Bytes(total as u64)))
}

/// The median of the slopes between any two points.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (index, (x, y)) in points.iter().enumerate() {
        let later = points[index + 1..].iter().filter(|(later, _)| later > x);
        slopes.extend(later.map(|(later, above)| (above - y) / (later - x)));
    }
    slopes.sort_unstable_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    fn line(of: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..32).map(|number| f64::from(number) * 0.1).map(|at| (at, 1e9 + of(at) * MIB)).collect()
    }

    fn found(of: impl Fn(f64) -> f64) -> Option<String> {
        grows(&line(of), 3.1, LEAST_LEAK).map(|(each, _)| mib(each))
    }

    #[test]
    fn only_what_grows_from_beginning_to_end_is_growth() {
        assert_eq!(found(|at| at).as_deref(), Some("1.0"));
        assert_eq!(found(|at| at + if at > 1.0 && at < 1.3 { 200.0 } else { 0.0 }).as_deref(), Some("1.0"));
        assert_eq!(found(|_| 0.0), None);
        assert_eq!(found(|at| -at), None, "what is given back");
        assert_eq!(found(|at| if at > 1.55 { 50.0 } else { 0.0 }), None, "one step");
        assert_eq!(found(|at| at.min(1.0) * 5.0), None, "it comes to rest");
        assert_eq!(found(|at| at * 0.2), None, "below 256 KiB a second");
        assert_eq!(found(|at| at * 0.3), None, "0.93 MiB in all");
        assert_eq!(found(|at| at * 0.33).as_deref(), Some("0.3"));
    }
}
