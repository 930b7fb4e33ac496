//! A random generator and an exponential that give the same bits on every machine.

/// PCG-XSH-RR 64/32 (O'Neill, 2014): 64 bits of state, 32 bits a step.
#[derive(Debug, Clone)]
pub(super) struct Pcg32 {
    state: u64,
}

const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
const INCREMENT: u64 = 1_442_695_040_888_963_407;

impl Pcg32 {
    /// The sequence of a seed.
    pub(super) fn new(seed: u64) -> Pcg32 {
        let mut generator = Pcg32 { state: seed.wrapping_add(INCREMENT) };
        generator.next();
        generator
    }

    fn next(&mut self) -> u32 {
        let state = self.state;
        self.state = state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        let shifted = (((state >> 18) ^ state) >> 27) as u32;
        shifted.rotate_right((state >> 59) as u32)
    }

    /// A number in [0, 1), a multiple of 2^-53.
    pub(super) fn unit(&mut self) -> f64 {
        let bits = u64::from(self.next()) << 32 | u64::from(self.next());
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// 1/13, 1/12 and so on to 1: the steps of the Taylor series, from its far end.
const RECIPROCALS: [f64; 13] = {
    let mut reciprocals = [0.0; 13];
    let mut step = 0;
    while step < 13 {
        reciprocals[step] = 1.0 / (13 - step) as f64;
        step += 1;
    }
    reciprocals
};

/// e^x for x ≤ 0, within 1e-14 relative; 0 below -700.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, e^x = 2^n · e^r, and e^r by its Taylor series. The system's own `exp` differs from
/// machine to machine in the last bit.
pub(super) fn exp(x: f64) -> f64 {
    /// ln 2 in two parts, so that n·LN2_HIGH is exact for every n that occurs.
    const LN2_HIGH: f64 = 0.693_145_751_953_125;
    const LN2_LOW: f64 = 1.428_606_820_309_417_2e-6;
    if x < -700.0 {
        return 0.0;
    }
    let n = (x * std::f64::consts::LOG2_E).round();
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut sum = 1.0;
    for reciprocal in RECIPROCALS {
        sum = 1.0 + sum * r * reciprocal;
    }
    sum * f64::from_bits(((n as i64 + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The first numbers of the reference implementation's demo, seed 42 on stream 54.
        let mut state = Pcg32 { state: 0 };
        let increment = 54 << 1 | 1;
        let step = |state: &mut Pcg32| {
            let number = Pcg32 { state: state.state }.next();
            state.state = state.state.wrapping_mul(MULTIPLIER).wrapping_add(increment);
            number
        };
        step(&mut state);
        state.state = state.state.wrapping_add(42);
        step(&mut state);
        let numbers: Vec<u32> = (0..4).map(|_| step(&mut state)).collect();
        assert_eq!(numbers, [0xa15c_02b7, 0x7b47_f409, 0xba1d_3330, 0x83d2_f293]);
    }

    #[test]
    fn the_exponential_agrees_with_the_system() {
        for step in 0..70_000 {
            let x = -0.01 * f64::from(step);
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-14, "{x}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
    }
}
