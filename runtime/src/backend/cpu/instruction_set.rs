//! Which vector instructions the kernels may use.

/// The kernel variants of this architecture, from the slowest to the fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstructionSet {
    /// Plain Rust, on any processor.
    Portable,
    /// AVX2 with FMA and F16C (x86-64-v3).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VNNI (`vpdpbusd`), on top of [`InstructionSet::Avx2`].
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// NEON with dot products of bytes (`sdot`; Cortex-A76, A78AE and later).
    #[cfg(target_arch = "aarch64")]
    NeonDotprod,
}

impl InstructionSet {
    const ALL: &[Self] = &[
        Self::Portable,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Vnni,
        #[cfg(target_arch = "aarch64")]
        Self::NeonDotprod,
    ];

    /// The best set that this processor and operating system support. Cheap: the answer is cached.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            if avx2 && avx512 {
                return Self::Avx512Vnni;
            }
            if avx2 {
                return Self::Avx2;
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon")
            && std::arch::is_aarch64_feature_detected!("dotprod")
        {
            return Self::NeonDotprod;
        }
        Self::Portable
    }

    /// This set, or the best supported one below it. Operators call this before they enter a kernel, so that asking
    /// for too much is slow and never undefined.
    pub fn supported(self) -> Self {
        self.min(Self::detect())
    }

    /// Every set that this processor supports, the slowest first; what a test runs through.
    pub fn all_supported() -> impl Iterator<Item = Self> {
        let best = Self::detect();
        Self::ALL.iter().copied().filter(move |&isa| isa <= best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_is_always_there_and_requests_are_capped() {
        assert_eq!(InstructionSet::all_supported().next(), Some(InstructionSet::Portable));
        assert_eq!(InstructionSet::all_supported().last(), Some(InstructionSet::detect()));
        let best = *InstructionSet::ALL.last().unwrap();
        assert_eq!(best.supported(), InstructionSet::detect());
        assert_eq!(InstructionSet::Portable.supported(), InstructionSet::Portable);
    }
}
