use super::{exp, multiply_by_sigmoid, reference, sigmoid, silu, softplus};
use crate::backend::cpu::{InstructionSet, Kernel, Vector};
use crate::ops::Heads;
use crate::ops::testing::{Guarded, Numbers, assert_close, every_cpu};

#[derive(Clone, Copy)]
enum Function {
    Exp,
    Sigmoid,
    Silu,
}

struct Map<'a>(Function, &'a mut [f32]);

impl Kernel for Map<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        let (lanes, rest) = V::chunks_mut(self.1);
        assert!(rest.is_empty());
        for x in lanes {
            let value = V::load(x);
            match self.0 {
                Function::Exp => exp(value).store(x),
                Function::Sigmoid => sigmoid(value).store(x),
                Function::Silu => silu(value).store(x),
            }
        }
    }
}

fn map(isa: InstructionSet, function: Function, x: &[f32]) -> Vec<f32> {
    let mut padded = x.to_vec();
    padded.resize(x.len().next_multiple_of(16), 0.0);
    isa.dispatch(Map(function, &mut padded));
    padded.truncate(x.len());
    padded
}

/// Distance in units of the expected value's last place.
fn ulps(actual: f32, expected: f64) -> f64 {
    let exponent = expected.abs().log2().floor();
    (f64::from(actual) - expected).abs() / (exponent - 23.0).exp2()
}

/// Every 997th f32 between the bounds, and both signs.
fn sweep(largest: f32) -> Vec<f32> {
    (0..largest.to_bits()).step_by(997).map(f32::from_bits).flat_map(|x| [x, -x]).collect()
}

fn worst(isa: InstructionSet, function: Function, x: &[f32], truth: impl Fn(f64) -> f64) -> f64 {
    let mut worst = 0.0f64;
    for (&x, y) in x.iter().zip(map(isa, function, x)) {
        let expected = truth(f64::from(x));
        if expected.abs() >= f64::from(f32::MIN_POSITIVE) && expected.abs() <= f64::from(f32::MAX) {
            worst = worst.max(ulps(y, expected));
        }
    }
    worst
}

#[test]
fn errors_are_as_stated() {
    let x = sweep(90.0);
    let above: Vec<f32> = x.iter().copied().filter(|&x| x > -88.0).collect();
    for isa in InstructionSet::all_supported() {
        let errors = [
            worst(isa, Function::Exp, &x, f64::exp),
            worst(isa, Function::Sigmoid, &x, reference::sigmoid),
            worst(isa, Function::Silu, &above, reference::silu),
        ];
        println!("{isa:?}: exp, sigmoid, silu {errors:.3?} ulp");
        for (error, stated) in errors.into_iter().zip([1.5, 2.5, 2.5]) {
            assert!(error <= stated, "{isa:?} {errors:?}");
        }
        let below: Vec<f32> = x.iter().copied().filter(|&x| x <= -88.0).collect();
        for (x, y) in below.iter().zip(map(isa, Function::Silu, &below)) {
            assert!((f64::from(y) - reference::silu(f64::from(*x))).abs() <= 1e-36, "silu({x}) = {y}");
        }
    }
}

#[test]
fn special_values() {
    let inf = f32::INFINITY;
    for isa in InstructionSet::all_supported() {
        let of = |function, x| map(isa, function, &[x; 16])[3];
        assert_eq!(of(Function::Exp, 0.0).to_bits(), 1.0f32.to_bits());
        assert_eq!(of(Function::Exp, -0.0).to_bits(), 1.0f32.to_bits());
        assert_eq!(of(Function::Exp, -inf).to_bits(), 0.0f32.to_bits());
        assert_eq!(of(Function::Exp, -1e30), 0.0);
        assert_eq!(of(Function::Exp, inf), inf);
        assert_eq!(of(Function::Exp, 88.8), inf);
        assert!(of(Function::Exp, 88.7).is_finite());
        assert!(of(Function::Exp, -87.3) >= f32::MIN_POSITIVE);
        assert_eq!(of(Function::Exp, -87.4), 0.0, "no subnormal results");
        assert_eq!(of(Function::Sigmoid, 200.0), 1.0);
        assert_eq!(of(Function::Sigmoid, -200.0), 0.0);
        assert_eq!(of(Function::Silu, -200.0), 0.0);
        assert_eq!(of(Function::Silu, 200.0), 200.0);
        for function in [Function::Exp, Function::Sigmoid, Function::Silu] {
            assert!(of(function, f32::NAN).is_nan(), "{isa:?} loses NaN");
        }
    }
}

#[test]
fn softplus_is_stable_at_both_ends() {
    for x in [-100.0f32, -20.0, -1e-3, 0.0, 1e-3, 1.0, 20.0, 100.0, 1e4] {
        let expected = reference::softplus(f64::from(x));
        let error = (f64::from(softplus(x)) - expected).abs();
        assert!(error <= 2e-7 * expected.max(f64::from(f32::MIN_POSITIVE)), "softplus({x})");
    }
}

#[test]
fn sigmoid_product_with_interleaved_gates() {
    let mut numbers = Numbers::new(1);
    for (tokens, heads, width) in [(1, 1, 5), (1, 16, 256), (3, 2, 19), (40, 4, 128)] {
        let layout = Heads::interleaved(tokens, heads, width);
        let x = numbers.take(tokens * heads * width, 3.0);
        let projection = numbers.take(2 * tokens * heads * width, 9.0);
        let gate = &projection[width..];
        let mut expected = Vec::new();
        for token in 0..tokens {
            for head in 0..heads {
                let x = &x[(token * heads + head) * width..][..width];
                let gate = &gate[layout.range(token, head)];
                expected.extend(
                    x.iter().zip(gate).map(|(&x, &g)| f64::from(x) * reference::sigmoid(f64::from(g))),
                );
            }
        }
        for cpu in every_cpu() {
            let mut actual = Guarded::of(&x);
            multiply_by_sigmoid(&cpu, actual.slice(), gate, layout);
            assert_close(&actual.take(), &expected, 1e-6, "sigmoid product");
        }
    }
}
