//! Series without noise, or with that of a granule: a value that changed and stayed is a change, one that came back is none.

/// Runs that a new value has to stay for.
const STAYS: usize = 2;

/// Places at which `values` left the level that they were at, by more than `tolerance`, and did not come back to it in the run
/// after. What lies on the other side of the level has come back and gone beyond: a spike, and another one.
pub(super) fn changes(values: &[f64], tolerance: f64) -> Vec<usize> {
    let mut found = Vec::new();
    let Some(mut level) = values.first().copied() else { return found };
    for at in 1..values.len() {
        let Some(stays) = values.get(at..at + STAYS) else { break };
        let above = stays.iter().all(|value| *value > level + tolerance);
        let below = stays.iter().all(|value| *value < level - tolerance);
        if above || below {
            level = values[at];
            found.push(at);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    #[test]
    fn a_step_is_found_at_its_first_run_and_a_spike_is_not() {
        let step = [8.0, 8.0, 8.0, 9.0, 9.0, 9.0];
        assert_eq!(changes(&step, 0.0), [3]);
        assert_eq!(changes(&[8.0, 8.0, 9.0, 8.0, 8.0], 0.0), NONE, "it came back");
        assert_eq!(changes(&[8.0, 9.0, 7.0, 8.0], 0.0), NONE, "two spikes, on either side");
        assert_eq!(changes(&[8.0, 8.0, 9.0], 0.0), NONE, "nobody knows yet whether it stays");
        assert_eq!(changes(&[8.0, 9.0, 9.0, 8.0, 8.0], 0.0), [1, 3]);
        assert_eq!(changes(&[1.0, 2.0, 3.0, 4.0], 0.0), [1, 2], "growth from run to run does not hide");
    }

    #[test]
    fn what_is_within_the_tolerance_and_what_is_not_there_is_no_change() {
        assert_eq!(changes(&[100.0, 104.0, 104.0, 100.0], 4.0), NONE);
        assert_eq!(changes(&[100.0, 105.0, 105.0], 4.0), [1]);
        assert_eq!(changes(&[0.0; 40], 0.0), NONE);
        assert_eq!(changes(&[], 0.0), NONE);
        assert_eq!(changes(&[3.0], 0.0), NONE);
    }
}
