//! Many tests find something by chance. Over all tests of a report, those of memory and those of times each by themselves, what is
//! left after the adjustment of Benjamini and Hochberg counts; what is not, counts only where it is large.

use super::comparison::Shift;
use crate::verdict::Word;
use crate::verdict::statistics::adjusted;

/// Of what is called a finding, at most this part may be none.
const FALSE_FINDINGS: f64 = 0.05;

/// A change whose interval is so many thresholds away from none counts without the others, where it is unlikely by itself.
const LARGE: f64 = 2.0;

/// What is unlikely by itself.
const UNLIKELY: f64 = 0.01;

/// Adjusts every test, and turns lonely small findings into warnings.
pub(super) fn adjust(shifts: &mut [&mut Shift]) {
    for are_times in [false, true] {
        let of_kind = |at: &usize| shifts[*at].p_value.is_some() && shifts[*at].metric.is_time() == are_times;
        let tested: Vec<usize> = (0..shifts.len()).filter(of_kind).collect();
        adjust_tested(shifts, &tested);
    }
}

fn adjust_tested(shifts: &mut [&mut Shift], tested: &[usize]) {
    let p_values: Vec<f64> = tested.iter().filter_map(|at| shifts[*at].p_value).collect();
    for (at, adjusted) in tested.iter().zip(adjusted(&p_values)) {
        let shift = &mut *shifts[*at];
        shift.adjusted_p = Some(adjusted);
        let near = shift.interval.map_or(0.0, |(low, high)| low.max(-high));
        // Where nothing is allowed, nothing is large.
        let is_unlikely = shift.p_value.is_some_and(|p| p <= UNLIKELY);
        let is_large = is_unlikely && shift.threshold > 0.0 && near > LARGE * shift.threshold;
        if adjusted <= FALSE_FINDINGS || is_large {
            continue;
        }
        let lonely = format!("alone among {} tests, which may be chance; more trials tell", tested.len());
        match shift.word {
            Some(Word::Regression) => (shift.word, shift.reason) = (Some(Word::Warn), Some(lonely)),
            Some(Word::Improved) => (shift.word, shift.reason) = (Some(Word::Pass), Some(lonely)),
            _ => {}
        }
    }
}
