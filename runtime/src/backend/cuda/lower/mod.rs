//! From what the model asked for to kernels: operators that follow each other become one kernel where that saves a pass over memory
//! or a launch. Every result that somebody could read afterwards is written all the same.
//!
//! - `linear`: projections, with the norm before and what follows them. `mixer`: attention, convolution, the delta rule.
//! - `row`: the rest. `persistent`: kernels that become steps of one.

mod linear;
mod mixer;
mod persistent;
mod row;
#[cfg(test)]
mod tests;

use super::context::Context;
use super::error::CudaError;
use super::launch::Program;
use super::op::Op;
use linear::Opening;
pub(super) use linear::{MOST_PARTS, packed_bytes};
pub(super) use row::ARGMAX_PARTS;

/// What kernels are shaped by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gpu {
    /// Multiprocessors.
    processors: u32,
}

impl Gpu {
    pub(super) fn of(context: &Context) -> Gpu {
        Gpu { processors: context.processors }
    }
}

/// Adds the kernels of `ops` to `program`, for `gpu`.
pub(super) fn lower(ops: &[Op], gpu: Gpu, program: &mut Program) -> Result<(), CudaError> {
    // States that are written in this pass; a state may be read early by the first kernel that does.
    let mut written = Vec::new();
    let mut rest = ops;
    while let [first, others @ ..] = rest {
        rest = match *first {
            Op::RmsNorm { x, rows, weight, width, eps, out } => match others {
                [Op::Linear { x: projected, tokens, columns, .. }, ..]
                    if (*projected, *tokens, *columns) == (out, rows, width) =>
                {
                    let opening = Opening::Norm { x, weight, eps, normed: out };
                    linear::lower(opening, others, gpu, program)
                }
                _ => {
                    row::norm(program, row::Norm { x, weight, gate: 0, out, width, eps }, rows);
                    others
                }
            },
            Op::GatedNorm { x, elements, gate, weight, width, eps } => match others {
                [Op::Linear { x: projected, tokens, columns, projections, .. }, ..]
                    if *projected == x
                        && tokens * columns == elements
                        && width.is_power_of_two()
                        && (8..=256).contains(&width)
                        && projections.iter().flatten().all(|it| it.matrix.format.is_quantised()) =>
                {
                    let opening = Opening::GatedNorm { x, weight, gate, width, eps };
                    linear::lower(opening, others, gpu, program)
                }
                _ => {
                    row::norm(program, row::Norm { x, weight, gate, out: x, width, eps }, elements / width);
                    others
                }
            },
            Op::Linear { x, .. } => linear::lower(Opening::Plain { x }, rest, gpu, program),
            Op::NormHeads { .. } | Op::Rope { .. } => mixer::heads(rest, gpu, program),
            Op::Attention { .. } => mixer::attention(rest, gpu, program),
            Op::Convolve { .. } => mixer::convolution(rest, &mut written, program),
            other => {
                match other {
                    Op::AppendKv { .. } | Op::OutputGate { .. } => {
                        mixer::alone(&other, &mut written, program)
                    }
                    Op::CommitConvolution { .. }
                    | Op::DeltaGates { .. }
                    | Op::Delta { .. }
                    | Op::CommitDelta { .. } => mixer::alone(&other, &mut written, program),
                    _ => row::lower(&other, program),
                }
                others
            }
        };
    }
    persistent::join(program);
    Ok(())
}
