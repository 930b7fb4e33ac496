//! The kernels of this program, as text.

use sha2::{Digest, Sha256};

use crate::engine_dir::hexadecimal;

/// What is put in front of every kernel file.
const PRELUDE: &str = include_str!("prelude.cuh");

/// The kernels of one operator: one file, compiled to one cubin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelSource {
    /// The operator, by the name of its folder under `ops/`.
    pub operator: &'static str,
    /// `kernel.cu` of that folder.
    pub text: &'static str,
}

macro_rules! sources {
    ($($operator:literal),* $(,)?) => {
        &[$(KernelSource {
            operator: $operator,
            text: include_str!(concat!("../../../ops/", $operator, "/kernel.cu")),
        }),*]
    };
}

/// Every operator that has kernels.
pub const SOURCES: &[KernelSource] = sources![
    "attention",
    "causal_conv1d",
    "gated_delta_rule",
    "linear",
    "quantize_activations",
    "rms_norm",
    "rope",
    "row",
    "swiglu",
];

/// What NVRTC is asked for, beside the architecture. Arithmetic is IEEE's, with fused multiply-adds: no `--use_fast_math`,
/// because kernels are held against the CPU. Functions are device functions unless they say otherwise. No line information:
/// it would make cubins depend on how a file is laid out.
pub const OPTIONS: &[&str] = &["--std=c++17", "-default-device"];

impl KernelSource {
    /// What is compiled. Messages of the compiler name the file and the line in it.
    pub fn program(&self) -> String {
        let Self { operator, text } = self;
        format!("#line 1 \"prelude.cuh\"\n{PRELUDE}\n#line 1 \"ops/{operator}/kernel.cu\"\n{text}")
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
        let source = KernelSource { operator: "swiglu", text: "a" };
        let hash = source.sha256();
        assert_eq!(hash.len(), 64);
        assert_eq!(hash, source.sha256());
        assert_ne!(hash, KernelSource { text: "b", ..source }.sha256());
        assert_ne!(hash, KernelSource { operator: "rope", ..source }.sha256());
    }

    #[test]
    fn operators_are_listed_once_and_need_no_header() {
        for (at, source) in SOURCES.iter().enumerate() {
            assert!(SOURCES[..at].iter().all(|other| other.operator < source.operator), "in order, once");
            assert!(!source.program().contains("#include"), "{}", source.operator);
        }
    }
}
