//! One suite over every backend: each operator of [`crate::model::operators::Operators`] against its reference in f64, and what a
//! backend joins against the references of its parts. A wrong kernel is named by the test that fails.
//!
//! - `subject`: what a backend has to add to be tested. `bench`: a device with the weights and tensors of a case; `engine`: the engine
//!   directory that those weights are loaded from; `matrix`: weights in every format. `report`: errors, measured and judged.
//! - `linear`, `norms`, `rows`, `heads`, `attention`, `convolution`, `delta_rule`: the operators. `fused`: sequences of operators that
//!   a backend may join. `model`: a whole tiny model. `streamed`: the same with weights in storage.
//!
//! The tests are `conformance::<device>::<case>`. Where a device cannot be used, its cases say why and pass. They need no files but a
//! folder for temporary ones, and on a GPU its kernels, so that the test program alone can be taken to a board:
//!
//! ```text
//! SWEEP_KERNELS=cubins ./runtime-<hash> conformance::cuda --nocapture --test-threads 1
//! ```
//!
//! prints the error of every result, and names at its end what is beyond its limit. A kernel that touches memory that is not there ends
//! the context for all cases behind it; `--exact backend::conformance::cuda::<case>` runs one in a process of its own.

mod attention;
mod bench;
mod convolution;
mod delta_rule;
mod engine;
mod fused;
mod heads;
mod linear;
mod matrix;
mod model;
mod norms;
mod report;
mod rows;
mod streamed;
mod subject;

pub(in crate::backend) use subject::{Limits, Subject};

use report::Report;

/// Runs a case on a device, where there is one.
fn run<S: Subject>(case: fn(&mut Report)) {
    match S::absence() {
        Some(reason) => println!("skipped on {}: {reason}", S::NAME),
        None => {
            let _turn = S::turn();
            let mut report = Report::new(S::NAME, S::LIMITS);
            case(&mut report);
            report.finish();
        }
    }
}

macro_rules! cases {
    ($($family:ident: $($case:ident),* $(,)?;)*) => {
        mod cpu {
            use crate::backend::cpu::CpuDevice;
            $($(#[test] fn $case() { super::run::<CpuDevice>(super::$family::$case::<CpuDevice>); })*)*
        }
        mod cuda {
            use crate::backend::cuda::CudaDevice;
            $($(#[test] fn $case() { super::run::<CudaDevice>(super::$family::$case::<CudaDevice>); })*)*
        }
    };
}

cases! {
    linear:
        linear_int4, linear_int4_zero_points, linear_int4_bf16_scales, linear_int4_bf16_scales_and_zero_points,
        linear_int8, linear_f16, linear_bf16, linear_f32, linear_of_large_matrices, linear_that_adds,
        linear_of_several_matrices, linear_of_the_first_rows;
    model: model, model_in_rounds;
    streamed: model_streamed, model_in_rounds_streamed, model_streamed_from_a_cut_file;
    norms: norm_of_rows, norm_of_heads, gated_norm, swiglu;
    heads: rotary_angles, turned_heads, normed_and_turned_heads;
    attention:
        attention_of_64, attention_of_128, attention_of_256, attention_of_a_long_context, attention_of_a_prompt,
        attention_of_inexact_values, output_gate;
    convolution: convolution_in_pieces, convolution_of_undecided_tokens;
    delta_rule: delta_rule, delta_rule_with_a_log, delta_gates;
    fused:
        norm_then_linear, gated_norm_then_linear, mlp, linear_then_gates_and_convolution,
        convolution_then_delta_rule, heads_apart, mlp_apart, projections_apart;
    rows: embedding, copied_rows, gathered_rows, rows_side_by_side, largest_of_rows;
}
