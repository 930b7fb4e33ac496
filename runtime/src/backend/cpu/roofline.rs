//! The processor's two bounds, as work whose time the caller takes: reading memory, and multiplying 8-bit integers. A
//! kernel's speed means something only beside them, measured in the same run.

use super::InstructionSet;

/// Reads all of `bytes` in order with the widest loads there are and returns a value that depends on all of them.
pub fn read(isa: InstructionSet, bytes: &[u8]) -> u64 {
    match isa.supported() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni => {
            // SAFETY: `supported` has checked the instructions.
            unsafe { x86::read_avx512(bytes) }
        }
        _ => {
            let mut lanes = [0u64; 16];
            for block in bytes.as_chunks::<8>().0.as_chunks::<16>().0 {
                lanes.iter_mut().zip(block).for_each(|(lane, word)| *lane ^= u64::from_le_bytes(*word));
            }
            lanes.iter().fold(0, |all, lane| all ^ lane)
        }
    }
}

/// Multiplies and adds 8-bit integers in registers with `vpdpbusd` or `sdot`, `rounds` times in 16 independent chains. Returns
/// the number of multiply-adds, or `None` where there is no such instruction.
pub fn multiply_int8(isa: InstructionSet, rounds: u64) -> Option<u64> {
    match isa.supported() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni => {
            // SAFETY: `supported` has checked the instructions.
            let sum = unsafe { x86::multiply_avx512(rounds) };
            std::hint::black_box(sum);
            Some(rounds * CHAINS as u64 * 64)
        }
        #[cfg(target_arch = "aarch64")]
        InstructionSet::NeonDotprod => {
            // SAFETY: `supported` has checked the instructions.
            let sum = unsafe { neon::multiply(rounds) };
            std::hint::black_box(sum);
            Some(rounds * CHAINS as u64 * 16)
        }
        _ => None,
    }
}

/// Enough independent sums to cover the latency of the instruction twice over.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const CHAINS: usize = 16;

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;
    use std::arch::asm;

    use super::CHAINS;

    #[target_feature(enable = "neon,dotprod")]
    pub(super) fn multiply(rounds: u64) -> i32 {
        let mut sums = [vdupq_n_s32(0); CHAINS];
        for round in 0..rounds {
            // A new operand each round, so that the products cannot be moved out of the loop.
            let factor = vreinterpretq_s8_s32(vdupq_n_s32(round as i32));
            for sum in &mut sums {
                // SAFETY: touches nothing but its operands, and the function has the instruction.
                unsafe {
                    asm!(
                        "sdot {sum:v}.4s, {factor:v}.16b, {factor:v}.16b",
                        sum = inout(vreg) *sum,
                        factor = in(vreg) factor,
                        options(pure, nomem, nostack, preserves_flags),
                    );
                }
            }
        }
        vaddvq_s32(sums.iter().fold(vdupq_n_s32(0), |all, sum| veorq_s32(all, *sum)))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::CHAINS;

    /// How far ahead of the loads lines are asked for, as in the kernels.
    const PREFETCH_BYTES: usize = 4096;

    #[target_feature(enable = "avx512f")]
    pub(super) fn read_avx512(bytes: &[u8]) -> u64 {
        let mut sums = [_mm512_setzero_si512(); 4];
        for block in bytes.as_chunks::<256>().0 {
            for (part, sum) in sums.iter_mut().enumerate() {
                let pointer = block.as_ptr().wrapping_add(part * 64);
                _mm_prefetch::<_MM_HINT_T0>(pointer.wrapping_add(PREFETCH_BYTES).cast());
                // SAFETY: the block has four parts of 64 bytes.
                *sum = _mm512_xor_si512(*sum, unsafe { _mm512_loadu_si512(pointer.cast()) });
            }
        }
        let low = _mm512_xor_si512(sums[0], sums[1]);
        _mm512_reduce_or_epi64(_mm512_xor_si512(low, _mm512_xor_si512(sums[2], sums[3]))) as u64
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn multiply_avx512(rounds: u64) -> i32 {
        let mut sums = [_mm512_setzero_si512(); CHAINS];
        for round in 0..rounds {
            // A new operand each round, so that the products cannot be moved out of the loop.
            let factor = _mm512_set1_epi32(round as i32);
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, factor, factor);
            }
        }
        let all = sums.iter().fold(_mm512_setzero_si512(), |all, sum| _mm512_xor_si512(all, *sum));
        _mm512_reduce_add_epi32(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_depends_on_every_byte_of_whole_blocks() {
        let mut bytes = vec![0u8; 1024];
        for isa in InstructionSet::all_supported() {
            assert_eq!(read(isa, &bytes), 0);
            for index in [0, 255, 511, 1023] {
                bytes[index] = 1;
                assert_ne!(read(isa, &bytes), 0);
                bytes[index] = 0;
            }
        }
    }

    #[test]
    fn products_are_counted() {
        assert_eq!(multiply_int8(InstructionSet::Portable, 10), None);
        #[cfg(target_arch = "x86_64")]
        if InstructionSet::detect() == InstructionSet::Avx512Vnni {
            assert_eq!(multiply_int8(InstructionSet::Avx512Vnni, 10), Some(10 * 16 * 64));
        }
        #[cfg(target_arch = "aarch64")]
        if InstructionSet::detect() == InstructionSet::NeonDotprod {
            assert_eq!(multiply_int8(InstructionSet::NeonDotprod, 10), Some(10 * 16 * 16));
        }
    }
}
