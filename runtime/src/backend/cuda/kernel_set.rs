//! The kernels of this program, loaded on a GPU.

use std::sync::Arc;

use cudarc::driver::sys::CUfunction;

use super::context::{Context, Module};
use super::error::CudaError;
use super::kernels::KernelImage;

macro_rules! kernel_names {
    ($($operator:literal { $($kernel:ident = $name:literal $(shared $shared:expr)?,)* })*) => {
        /// One kernel.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub(super) enum Kernel { $($($kernel,)*)* }

        /// Operator, name, and what a block may ask of shared memory, in the order of [`Kernel`].
        const KERNELS: &[(&str, &std::ffi::CStr, u32)] = &[
            $($(($operator, $name, kernel_names!(@shared $($shared)?)),)*)*
        ];
    };
    (@shared) => { 0 };
    (@shared $shared:expr) => { $shared };
}

/// What a tile of `linear_many` takes of shared memory: four stages of 64 columns of so many tokens, and of 128 rows of weights of
/// so many bits.
pub(super) const fn many_shared(tokens: u32, bits: u32) -> u32 {
    4 * (tokens * 128 + 128 * 64 * bits / 8 + 2 * 8 * 40)
}

/// What `linear_half` takes: what its eight warps have of 16 tokens by 64 rows.
pub(super) const HALF_SHARED: u32 = 8 * 16 * 64 * 4;

/// All that a block may have, which the persistent kernel takes.
const ALL_SHARED: u32 = u32::MAX;

/// What `attend_many` takes: queries, keys and values, 64 of each.
pub(super) const fn attend_shared(dim: u32) -> u32 {
    3 * 64 * dim * 2
}

/// What `delta_prepare` takes: see its kernel.
pub(super) const PREPARE_SHARED: u32 = 3 * 64 * 256 + 2 * 64 * 65 * 4 + 2 * 64 * 4;
/// What `delta_scan` takes: two stages, the state and two forms of the corrections.
pub(super) const SCAN_SHARED: u32 = 2 * (3 * 64 * 256 + 64 * 128 + 64 * 64 + 64 * 4) + 128 * 64 + 2 * 64 * 64;

kernel_names! {
    "attention" {
        Heads = c"heads",
        AttendFewF16Of64By2 = c"attend_few_f16_64_2",
        AttendFewF16Of64By4 = c"attend_few_f16_64_4",
        AttendFewF16Of128By2 = c"attend_few_f16_128_2",
        AttendFewF16Of128By4 = c"attend_few_f16_128_4",
        AttendFewF16Of256By2 = c"attend_few_f16_256_2",
        AttendFewF16Of256By4 = c"attend_few_f16_256_4",
        AttendFewF32Of64By2 = c"attend_few_f32_64_2",
        AttendFewF32Of64By4 = c"attend_few_f32_64_4",
        AttendFewF32Of128By2 = c"attend_few_f32_128_2",
        AttendFewF32Of128By4 = c"attend_few_f32_128_4",
        AttendFewF32Of256By2 = c"attend_few_f32_256_2",
        AttendFewF32Of256By4 = c"attend_few_f32_256_4",
        AttendFewInt8Of64By2 = c"attend_few_int8_64_2",
        AttendFewInt8Of64By4 = c"attend_few_int8_64_4",
        AttendFewInt8Of128By2 = c"attend_few_int8_128_2",
        AttendFewInt8Of128By4 = c"attend_few_int8_128_4",
        AttendFewInt8Of256By2 = c"attend_few_int8_256_2",
        AttendFewInt8Of256By4 = c"attend_few_int8_256_4",
        AttendMerge = c"attend_merge",
        AttendMany64 = c"attend_many_64" shared attend_shared(64),
        AttendMany128 = c"attend_many_128" shared attend_shared(128),
        AttendMany256 = c"attend_many_256" shared attend_shared(256),
        OutputGate = c"output_gate",
    }
    "causal_conv1d" {
        CausalConv1d = c"causal_conv1d",
        CommitConv1d = c"commit_conv1d",
        ConvolveAndSplit = c"convolve_and_split",
        KeepWindow = c"keep_window",
    }
    "gated_delta_rule" {
        DeltaGates = c"delta_gates",
        DeltaRecurrent = c"delta_recurrent",
        CommitDeltaRule = c"commit_delta_rule",
        DeltaPrepare = c"delta_prepare" shared PREPARE_SHARED,
        DeltaScan = c"delta_scan" shared SCAN_SHARED,
    }
    "linear" {
        LinearFew8 = c"linear_few_8",
        LinearFew16 = c"linear_few_16",
        LinearFew32 = c"linear_few_32",
        LinearManyInt4By64 = c"linear_many_int4_64" shared many_shared(64, 4),
        LinearManyInt4By128 = c"linear_many_int4_128" shared many_shared(128, 4),
        LinearManyInt8By64 = c"linear_many_int8_64" shared many_shared(64, 8),
        LinearManyInt8By128 = c"linear_many_int8_128" shared many_shared(128, 8),
        LinearHalf = c"linear_half",
        AddParts = c"add_parts",
        LinearDense = c"linear_dense",
    }
    "persistent" {
        PersistentF16Of128 = c"persistent_f16_128" shared ALL_SHARED,
        PersistentF16Of256 = c"persistent_f16_256" shared ALL_SHARED,
        PersistentInt8Of128 = c"persistent_int8_128" shared ALL_SHARED,
        PersistentInt8Of256 = c"persistent_int8_256" shared ALL_SHARED,
    }
    "quantize_activations" {
        PackActivations = c"pack_activations",
    }
    "rms_norm" {
        RmsNorm = c"rms_norm",
    }
    "rope" {
        RopeAngles = c"rope_angles",
    }
    "row" {
        Embed = c"embed",
        CopyRows = c"copy_rows",
        GatherRows = c"gather_rows",
        ConcatRows = c"concat_rows",
        ArgmaxParts = c"argmax_parts",
        ArgmaxRows = c"argmax_rows",
        ReadAll = c"read_all",
    }
    "swiglu" {
        SwiGlu = c"swiglu",
    }
}

/// Handles of every kernel.
#[derive(Debug)]
pub(super) struct KernelSet {
    functions: Vec<CUfunction>,
    /// After the handles, which they own.
    _modules: Vec<Module>,
}

// SAFETY: handles of functions are plain names; every use is in a thread where the context is current.
unsafe impl Send for KernelSet {}
// SAFETY: as above.
unsafe impl Sync for KernelSet {}

impl Kernel {
    /// The persistent kernel of a pass without attention: any of them.
    pub(super) const PERSISTENT: Kernel = Kernel::PersistentF16Of128;

    /// Whether it takes steps.
    pub(super) fn is_persistent(self) -> bool {
        use Kernel::{PersistentF16Of128, PersistentF16Of256, PersistentInt8Of128, PersistentInt8Of256};
        matches!(self, PersistentF16Of128 | PersistentF16Of256 | PersistentInt8Of128 | PersistentInt8Of256)
    }
}

impl KernelSet {
    /// Loads `images`, one for each operator.
    pub(super) fn load(context: &Arc<Context>, images: &[KernelImage]) -> Result<KernelSet, CudaError> {
        let modules: Vec<(&'static str, Module)> = images
            .iter()
            .map(|image| Ok((image.operator, Module::load(context, image.operator, &image.cubin)?)))
            .collect::<Result<_, CudaError>>()?;
        let functions = KERNELS.iter().map(|(operator, name, shared)| {
            let module = modules.iter().find(|(of, _)| of == operator);
            let module = module.ok_or_else(|| CudaError::Unsupported {
                what: format!("operator {operator}, whose kernels are missing,"),
            })?;
            module.1.kernel(name, *shared)
        });
        let functions = functions.collect::<Result<_, CudaError>>()?;
        Ok(KernelSet { functions, _modules: modules.into_iter().map(|(_, module)| module).collect() })
    }

    pub(super) fn function(&self, kernel: Kernel) -> CUfunction {
        self.functions[kernel as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the compilers made of the sources, kernel by kernel.
    const SNAPSHOT: &str = include_str!("../../../../ci/kernels.snapshot");

    #[test]
    fn every_kernel_that_is_loaded_is_one_that_is_compiled() {
        for (operator, name, _) in KERNELS {
            let line = format!("{operator}/{} ", name.to_str().unwrap());
            assert!(SNAPSHOT.lines().any(|it| it.starts_with(&line)), "{line}");
        }
        let compiled = SNAPSHOT.lines().filter(|line| line.contains(" sm_90 nvrtc13")).count();
        assert_eq!(compiled, KERNELS.len(), "every kernel that is compiled is loaded");
    }
}
