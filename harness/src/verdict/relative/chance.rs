//! Many tests find something by chance. Over all tests of a report, what is left after the adjustment of Benjamini and Hochberg
//! counts; what is not, counts only where it is large.

use super::comparison::Shift;
use crate::verdict::Word;
use crate::verdict::statistics::adjusted;

/// Of what is called a finding, at most this part may be none.
const FALSE_FINDINGS: f64 = 0.05;

/// A change whose interval is so many thresholds away from none counts without the others.
const LARGE: f64 = 2.0;

/// Adjusts every test, and turns lonely small findings into warnings.
pub(super) fn adjust(shifts: &mut [&mut Shift]) {
    let tested: Vec<usize> = (0..shifts.len()).filter(|at| shifts[*at].p_value.is_some()).collect();
    let p_values: Vec<f64> = tested.iter().filter_map(|at| shifts[*at].p_value).collect();
    for (at, adjusted) in tested.iter().zip(adjusted(&p_values)) {
        let shift = &mut *shifts[*at];
        shift.adjusted_p = Some(adjusted);
        let near = shift.interval.map_or(0.0, |(low, high)| low.max(-high));
        if adjusted <= FALSE_FINDINGS || near > LARGE * shift.threshold {
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
