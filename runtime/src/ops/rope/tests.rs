use super::{fill, forward, reference};
use crate::ops::Heads;
use crate::ops::testing::{Guarded, Numbers, assert_close, every_cpu};

#[test]
fn rotation_agrees_with_the_reference() {
    let mut numbers = Numbers::new(1);
    for (first, tokens, heads, width, dims, theta) in [
        (0, 1, 32, 128, 128, 1e6),
        (4095, 1, 16, 256, 64, 1e7),
        (8000, 5, 3, 24, 12, 1e4),
        (17, 65, 4, 128, 128, 1e6),
        (100_000, 3, 2, 20, 10, 1e7),
    ] {
        let layout = Heads::interleaved(tokens, heads, width);
        let x = numbers.take(layout.extent(), 2.0);
        let mut cos = vec![f32::NAN; tokens * dims / 2];
        let mut sin = cos.clone();
        fill(first, dims, theta, &mut cos, &mut sin);
        let mut expected: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        for token in 0..tokens {
            for head in 0..heads {
                let range = layout.range(token, head);
                let rotated = reference::rotate(&x[range.clone()], first + token, dims, theta);
                expected[range].copy_from_slice(&rotated);
            }
        }
        for cpu in every_cpu() {
            let mut actual = Guarded::of(&x);
            forward(&cpu, actual.slice(), layout, dims, &cos, &sin);
            assert_close(&actual.take(), &expected, 3e-7, "rotation");
        }
    }
}

#[test]
fn pairs_are_half_a_rotation_apart_and_the_rest_is_untouched() {
    // At position 1 the first frequency is 1, so the pair (0, 2) turns by one radian; 4 and 5 are outside.
    let (mut cos, mut sin) = ([0.0; 2], [0.0; 2]);
    fill(1, 4, 1e4, &mut cos, &mut sin);
    for cpu in every_cpu() {
        let mut x = [1.0, 0.0, 0.0, 0.0, 7.0, 8.0];
        forward(&cpu, &mut x, Heads::packed(1, 1, 6), 4, &cos, &sin);
        assert_eq!(x, [1f32.cos(), 0.0, 1f32.sin(), 0.0, 7.0, 8.0]);
    }
}

#[test]
fn a_range_of_the_table_equals_that_range_filled_alone() {
    let table = |first, rows: usize| {
        let (mut cos, mut sin) = (vec![0.0; rows * 32], vec![0.0; rows * 32]);
        fill(first, 64, 1e7, &mut cos, &mut sin);
        [cos, sin].concat()
    };
    let whole = table(0, 300);
    let part = table(250, 50);
    assert_eq!(whole[250 * 32..300 * 32], part[..50 * 32]);
    assert_eq!(whole[550 * 32..], part[50 * 32..]);
}
