//! How far a series can be trusted: the intervals that were achieved, not those that were asked for.

use ledger::Micros;

use crate::record::SamplerHealth;

/// Upper bound of the last bucket: no phase lasts longer than a day.
const A_DAY: Micros = Micros(86_400_000_000);

/// Upper bounds of the buckets, in percent of the interval that was asked for.
const BOUNDS_PERCENT: [u64; 12] = [50, 90, 95, 105, 110, 125, 150, 200, 300, 500, 1000, u64::MAX];

/// Counts achieved intervals. Nothing in it allocates until [`IntervalHistogram::finish`].
#[derive(Debug, Clone, Copy)]
pub struct IntervalHistogram {
    interval: Micros,
    last: Option<Micros>,
    counts: [u64; BOUNDS_PERCENT.len()],
    samples: u64,
    missed: u64,
    longest: Micros,
}

impl IntervalHistogram {
    /// For a series that wants a sample every `interval`.
    pub fn new(interval: Micros) -> IntervalHistogram {
        IntervalHistogram {
            interval,
            last: None,
            counts: [0; BOUNDS_PERCENT.len()],
            samples: 0,
            missed: 0,
            longest: Micros(0),
        }
    }

    /// A sample was taken at `at`, and `missed` ticks before it passed without one.
    pub fn record(&mut self, at: Micros, missed: u64) {
        self.samples += 1;
        self.missed += missed;
        if let Some(last) = self.last {
            let gap = Micros(at.0.saturating_sub(last.0));
            self.longest = self.longest.max(gap);
            let percent = gap.0.saturating_mul(100) / self.interval.0.max(1);
            let bucket = BOUNDS_PERCENT.iter().position(|bound| percent <= *bound);
            self.counts[bucket.unwrap_or(BOUNDS_PERCENT.len() - 1)] += 1;
        }
        self.last = Some(at);
    }

    /// A sample could not be kept.
    pub fn lose(&mut self) {
        self.missed += 1;
        self.samples = self.samples.saturating_sub(1);
    }

    /// The record, with the processor time that the sampler took.
    pub fn finish(&self, cpu: Micros) -> SamplerHealth {
        let bound = |percent: u64| match percent {
            u64::MAX => A_DAY,
            percent => Micros(self.interval.0 * percent / 100),
        };
        SamplerHealth {
            interval_us: self.interval,
            samples: self.samples,
            missed_ticks: self.missed,
            longest_gap_us: self.longest,
            interval_histogram: BOUNDS_PERCENT
                .iter()
                .map(|bound_at| bound(*bound_at))
                .zip(self.counts)
                .collect(),
            cpu_us: cpu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_where_they_belong() {
        let mut histogram = IntervalHistogram::new(Micros(10_000));
        for (at, missed) in [(0, 0), (10_000, 0), (20_100, 0), (71_000, 4), (81_000, 0)] {
            histogram.record(Micros(at), missed);
        }
        let health = histogram.finish(Micros(7));
        assert_eq!((health.samples, health.missed_ticks), (5, 4));
        assert_eq!(health.longest_gap_us, Micros(50_900));
        assert_eq!(health.interval_histogram.iter().map(|(_, count)| count).sum::<u64>(), 4);
        let at = |bound: u64| {
            health.interval_histogram.iter().find(|(upper, _)| upper.0 == bound).map(|(_, n)| *n)
        };
        assert_eq!((at(10_500), at(100_000), at(A_DAY.0)), (Some(3), Some(1), Some(0)));
    }
}
