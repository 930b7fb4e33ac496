//! What verdicts compute with, held against SciPy: `fixtures/scipy_statistics.py` makes the file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use harness::verdict::statistics::{adjusted, mad, median, median_interval, rank_sum, shift, signed_rank};
use serde::Deserialize;

/// Sums in another order differ in the last digits.
const CLOSE: f64 = 1e-10;

#[derive(Deserialize)]
struct Golden {
    two_samples: Vec<TwoSamples>,
    pairs: Vec<Pairs>,
    adjusted: Vec<Adjusted>,
}

#[derive(Deserialize)]
struct TwoSamples {
    name: String,
    before: Vec<f64>,
    after: Vec<f64>,
    shift: f64,
    interval: Option<(f64, f64)>,
    greater: f64,
}

#[derive(Deserialize)]
struct Pairs {
    name: String,
    differences: Vec<f64>,
    two_sided: f64,
    interval: (f64, f64),
    median: f64,
    mad: f64,
}

#[derive(Deserialize)]
struct Adjusted {
    p_values: Vec<f64>,
    adjusted: Vec<f64>,
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/statistics.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[track_caller]
fn assert_close(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() <= CLOSE * expected.abs().max(1e-3),
        "{what}: {found} and not {expected}"
    );
}

#[test]
fn two_samples_are_compared_as_scipy_does() {
    let cases = golden().two_samples;
    assert_eq!(cases.len(), 10);
    for case in cases {
        let found = shift(&case.before, &case.after).unwrap();
        assert_close(found.estimate, case.shift, &case.name);
        assert_eq!(found.interval.is_some(), case.interval.is_some(), "{}", case.name);
        if let (Some(found), Some(expected)) = (found.interval, case.interval) {
            assert_close(found.0, expected.0, &case.name);
            assert_close(found.1, expected.1, &case.name);
        }
        assert_close(rank_sum::greater(&case.before, &case.after).unwrap(), case.greater, &case.name);
    }
}

#[test]
fn pairs_are_compared_as_scipy_does() {
    let cases = golden().pairs;
    assert_eq!(cases.len(), 8);
    for case in cases {
        assert_close(signed_rank::two_sided(&case.differences).unwrap(), case.two_sided, &case.name);
        let interval = median_interval(&case.differences).unwrap();
        assert_close(interval.0, case.interval.0, &case.name);
        assert_close(interval.1, case.interval.1, &case.name);
        assert_close(median(&case.differences).unwrap(), case.median, &case.name);
        assert_close(mad(&case.differences).unwrap(), case.mad, &case.name);
    }
}

#[test]
fn many_tests_are_adjusted_as_scipy_does() {
    let cases = golden().adjusted;
    assert_eq!(cases.len(), 4);
    for case in cases {
        let found = adjusted(&case.p_values);
        for (found, expected) in found.iter().zip(&case.adjusted) {
            assert_close(*found, *expected, "adjusted");
        }
    }
}

#[test]
fn nothing_gives_nothing() {
    assert_eq!(median(&[]), None);
    assert_eq!(mad(&[]), None);
    assert_eq!(median_interval(&[]), None);
    assert_eq!(shift(&[], &[1.0]), None);
    assert_eq!(rank_sum::greater(&[1.0], &[]), None);
    assert_eq!(signed_rank::two_sided(&[0.0, 0.0]), None, "no pair differs");
    assert!(adjusted(&[]).is_empty());
}
