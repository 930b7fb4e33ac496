use super::{forward, gated, heads, reference};
use crate::ops::Heads;
use crate::ops::testing::{Guarded, Numbers, assert_close, every_cpu};

const EPS: f32 = 1e-6;
/// A few roundings of f32 and a sum of up to 2560 squares in 16 or more partial sums.
const TOLERANCE: f64 = 2e-6;

#[test]
fn rows_agree_with_the_reference() {
    let mut numbers = Numbers::new(1);
    for (rows, width) in [(1, 1), (1, 2560), (3, 7), (5, 100), (64, 128), (65, 131)] {
        let x = numbers.take(rows * width, 4.0);
        let gate = numbers.take(rows * width, 4.0);
        let weight = numbers.take(width, 2.0);
        let each = || x.chunks_exact(width).zip(gate.chunks_exact(width));
        let plain: Vec<f64> = each().flat_map(|(x, _)| reference::row(x, &weight, EPS)).collect();
        let with_gate: Vec<f64> =
            each().flat_map(|(x, z)| reference::gated_row(x, z, &weight, EPS)).collect();
        for cpu in every_cpu() {
            let mut out = Guarded::nan(rows * width);
            forward(&cpu, &x, &weight, EPS, out.slice());
            assert_close(&out.take(), &plain, TOLERANCE, "forward");
            let mut out = Guarded::of(&x);
            gated(&cpu, out.slice(), &gate, &weight, EPS);
            assert_close(&out.take(), &with_gate, TOLERANCE, "gated");
        }
    }
}

#[test]
fn heads_leave_what_lies_between_them_alone() {
    let mut numbers = Numbers::new(2);
    for (tokens, count, width) in [(1, 16, 256), (3, 2, 20), (70, 4, 64)] {
        let layout = Heads::interleaved(tokens, count, width);
        let x = numbers.take(2 * tokens * count * width, 4.0);
        let weight = numbers.take(width, 2.0);
        // The slice ends with the last head, without its gate.
        let x = &x[..layout.extent()];
        let mut expected: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        for token in 0..tokens {
            for head in 0..count {
                let range = layout.range(token, head);
                expected[range.clone()].copy_from_slice(&reference::row(&x[range], &weight, EPS));
            }
        }
        for cpu in every_cpu() {
            let mut actual = Guarded::of(x);
            heads(&cpu, actual.slice(), layout, &weight, EPS);
            let actual = actual.take();
            assert_close(&actual, &expected, TOLERANCE, "heads");
            for gap in x.chunks(width).zip(actual.chunks(width)).skip(1).step_by(2) {
                assert_eq!(gap.0, gap.1);
            }
        }
    }
}

#[test]
fn zero_rows_stay_finite() {
    for cpu in every_cpu() {
        let mut out = [f32::NAN; 64];
        forward(&cpu, &[0.0; 64], &[1.0; 64], EPS, &mut out);
        assert_eq!(out, [0.0; 64]);
    }
}
