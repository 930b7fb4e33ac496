use super::*;

/// Every instruction set's result for `x [tokens, columns]`, from buffers filled with rubbish.
fn all_results(x: &[f32], tokens: usize, group_size: usize) -> Vec<(Vec<i8>, Vec<u32>, Vec<i32>)> {
    let columns = x.len() / tokens;
    let pool = Pool::new(2).unwrap();
    InstructionSet::all_supported()
        .map(|isa| {
            let mut workspace = vec![0xa5; workspace_bytes(tokens, columns, group_size).0 as usize];
            let result = quantize_activations(&pool, isa, x, tokens, group_size, &mut workspace).unwrap();
            let scales = result.scales().iter().map(|scale| scale.to_bits()).collect();
            (result.values().to_vec(), scales, result.sums().to_vec())
        })
        .collect()
}

#[test]
fn all_instruction_sets_agree_and_errors_are_half_a_step() {
    for (tokens, columns, group_size) in [(1, 32, 32), (9, 256, 64), (65, 384, 128), (2, 96, 96)] {
        let x: Vec<f32> = (0..tokens * columns)
            .map(|i| ((i * 7919 % 1009) as f32 - 504.0) * 1.37e-3 * (1 + i % 5) as f32)
            .collect();
        let results = all_results(&x, tokens, group_size);
        assert!(results.iter().all(|result| *result == results[0]));
        let (values, scales, sums) = &results[0];
        for (group, x) in x.chunks_exact(group_size).enumerate() {
            let scale = f32::from_bits(scales[group]);
            let values = &values[group * group_size..(group + 1) * group_size];
            assert_eq!(joined_sum(sums[group]), values.iter().map(|&value| i32::from(value)).sum::<i32>());
            assert!(values.iter().any(|value| value.abs() == 127));
            for (x, &value) in x.iter().zip(values) {
                assert!((x - scale * f32::from(value)).abs() <= 0.5001 * scale);
            }
        }
    }
}

#[test]
fn ties_go_to_even() {
    let mut x = vec![0.0f32; 32];
    x[..5].copy_from_slice(&[127.0, 0.5, 1.5, -2.5, -3.5]);
    for (values, ..) in all_results(&x, 1, 32) {
        assert_eq!(values[..5], [127, 0, 2, -2, -4]);
    }
}

#[test]
fn zeros_tiny_huge_and_broken_groups_are_defined() {
    let mut x = vec![0.0f32; 32 * 7];
    x[32] = 1e-37;
    x[64] = f32::MAX;
    x[65] = -f32::MAX;
    x[96..128].fill(1.0);
    x[127] = f32::NAN;
    x[130] = f32::INFINITY;
    x[161] = f32::NEG_INFINITY;
    x[162] = f32::NAN;
    x[192..224].fill(-5.0);
    let results = all_results(&x, 1, 32);
    assert!(results.iter().all(|result| *result == results[0]));
    let (values, scales, sums) = &results[0];
    let scales: Vec<f32> = scales.iter().map(|&bits| f32::from_bits(bits)).collect();
    assert_eq!(scales[..2], [0.0, 0.0]);
    assert!(scales[2].is_finite() && values[64] == 127 && values[65] == -127);
    assert!(scales[3].is_nan() && scales[4].is_nan() && scales[5].is_nan());
    assert!(values[96..192].iter().all(|&value| value == 0));
    assert_eq!(joined_sum(sums[6]), -127 * 32);
}

#[test]
fn sums_survive_splitting() {
    for sum in [0, 1, -1, 127, 128, -127, -128, 129, 16_256, -16_256, 127 * 16_384, -127 * 16_384] {
        assert_eq!(joined_sum(split_sum(sum)), sum);
        let (low, high) = (split_sum(sum) & 0xffff, split_sum(sum) >> 16);
        assert!((0..128).contains(&low) && i16::try_from(high).is_ok());
    }
}

#[test]
fn shapes_and_workspaces_that_do_not_fit_are_refused() {
    let pool = Pool::new(1).unwrap();
    let isa = InstructionSet::detect();
    let mut workspace = vec![0; workspace_bytes(2, 64, 32).0 as usize];
    let x = [0.0f32; 128];
    assert!(quantize_activations(&pool, isa, &x, 2, 32, &mut workspace).is_ok());
    for (x, tokens, group_size) in [(&x[..], 2, 48), (&x[..], 2, 0), (&x[..127], 2, 32), (&x[..96], 1, 64)] {
        assert!(quantize_activations(&pool, isa, x, tokens, group_size, &mut workspace).is_err());
    }
    assert!(matches!(
        quantize_activations(&pool, isa, &x, 2, 32, &mut workspace[..100]),
        Err(MatrixError::Length { part: "workspace", .. })
    ));
    let nothing = quantize_activations(&pool, isa, &[], 0, 32, &mut workspace);
    assert_eq!(nothing.map(|result| result.tokens()), Ok(0));
}
