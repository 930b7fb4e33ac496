//! The kernels of this program, as text.

use sha2::{Digest, Sha256};

use crate::engine_dir::hexadecimal;

/// What is put in front of every kernel file.
const PRELUDE: &str = include_str!("prelude.cuh");

/// The kernels of one operator, compiled to one cubin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelSource {
    /// The operator, by the name of its folder under `ops/`; or `persistent`, which is made of several.
    pub operator: &'static str,
    /// The files in order, each as its path in the source folder and its text.
    pub files: &'static [(&'static str, &'static str)],
}

macro_rules! sources {
    ($($operator:literal: $($path:literal)+;)*) => {
        &[$(KernelSource {
            operator: $operator,
            files: &[$(($path, include_str!(concat!("../../../", $path)))),+],
        }),*]
    };
}

/// Every operator that has kernels.
pub const SOURCES: &[KernelSource] = sources![
    "attention": "ops/attention/few.cuh" "ops/attention/kernel.cu";
    "causal_conv1d": "ops/causal_conv1d/kernel.cu";
    "gated_delta_rule": "ops/gated_delta_rule/recurrent.cuh" "ops/gated_delta_rule/kernel.cu";
    "linear": "ops/linear/format.cuh" "ops/linear/kernel.cu";
    "persistent": "ops/linear/format.cuh" "ops/linear/one.cuh" "ops/attention/few.cuh" "ops/attention/one.cuh"
        "ops/gated_delta_rule/recurrent.cuh"
        "ops/row/row.cuh" "ops/rope/angle.cuh" "backend/cuda/kernels/persistent.cu";
    "quantize_activations": "ops/quantize_activations/kernel.cu";
    "rms_norm": "ops/rms_norm/kernel.cu";
    "rope": "ops/rope/angle.cuh" "ops/rope/kernel.cu";
    "row": "ops/row/row.cuh" "ops/row/kernel.cu";
    "swiglu": "ops/swiglu/kernel.cu";
];

/// What NVRTC is asked for, beside the architecture. Arithmetic is IEEE's, with fused multiply-adds: no `--use_fast_math`,
/// because kernels are held against the CPU. Functions are device functions unless they say otherwise. No line information:
/// it would make cubins depend on how a file is laid out.
pub const OPTIONS: &[&str] = &["--std=c++17", "-default-device"];

impl KernelSource {
    /// What is compiled. Messages of the compiler name the file and the line in it.
    pub fn program(&self) -> String {
        let mut program = String::new();
        for (path, text) in [("prelude.cuh", PRELUDE)].iter().chain(self.files) {
            program.push_str(&format!("#line 1 \"{path}\"\n{text}\n"));
        }
        program
    }

    /// SHA-256 of the program and the options, in hexadecimal: the same text compiled in the same way.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for part in OPTIONS.iter().copied().chain([self.program().as_str()]) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hexadecimal(&hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_every_part() {
        let source = KernelSource { operator: "swiglu", files: &[("a.cu", "a")] };
        let hash = source.sha256();
        assert_eq!(hash.len(), 64);
        assert_eq!(hash, source.sha256());
        assert_ne!(hash, KernelSource { files: &[("a.cu", "b")], ..source }.sha256());
        assert_ne!(hash, KernelSource { files: &[("b.cu", "a")], ..source }.sha256());
    }

    #[test]
    fn operators_are_listed_once_and_need_no_header() {
        for (at, source) in SOURCES.iter().enumerate() {
            assert!(SOURCES[..at].iter().all(|other| other.operator < source.operator), "in order, once");
            assert!(!source.program().contains("#include"), "{}", source.operator);
        }
    }
}
