//! Rows: looked up, normed, copied, searched.

use super::super::kernel_set::Kernel;
use super::super::launch::{Argument, Program};
use super::super::memory::Address;
use super::super::op::Op;

/// Threads of a block of most kernels.
pub(super) const THREADS: u32 = 256;

/// Parts of a row in which its largest value is searched for.
pub(in crate::backend::cuda) const ARGMAX_PARTS: u32 = 256;

#[derive(Clone, Copy)]
#[repr(C)]
struct Table {
    values: Address,
    scales: Address,
    zeros: Address,
    ids: Address,
    out: Address,
    columns: u32,
    format: u32,
    group: u32,
    bf16_scales: u32,
}

// SAFETY: addresses and numbers, without padding.
unsafe impl Argument for Table {}

/// The argument of `rms_norm`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Norm {
    pub(super) x: Address,
    pub(super) weight: Address,
    /// 0: none.
    pub(super) gate: Address,
    pub(super) out: Address,
    pub(super) width: u32,
    pub(super) eps: f32,
}

// SAFETY: addresses and numbers, without padding.
unsafe impl Argument for Norm {}

#[derive(Clone, Copy)]
#[repr(C)]
struct Angles {
    first: Address,
    cos: Address,
    sin: Address,
    rotary: u32,
    theta: f32,
}

// SAFETY: addresses and numbers, without padding.
unsafe impl Argument for Angles {}

#[derive(Clone, Copy)]
#[repr(C)]
struct Search {
    x: Address,
    largest: Address,
    places: Address,
    width: u32,
    parts: u32,
    rows: u32,
    padding: u32,
}

// SAFETY: addresses and numbers; its padding has a name.
unsafe impl Argument for Search {}

/// Blocks of [`THREADS`] threads for `count` elements.
pub(super) fn blocks(count: u64) -> u32 {
    u32::try_from(count.div_ceil(u64::from(THREADS))).unwrap_or(u32::MAX).max(1)
}

pub(super) fn norm(program: &mut Program, norm: Norm, rows: u32) {
    program.add(Kernel::RmsNorm, [rows, 1, 1], THREADS, 0).with(norm);
}

pub(super) fn lower(op: &Op, program: &mut Program) {
    match *op {
        Op::Embed { table, ids, tokens, out } => {
            let group = (table.group_size / 32).max(1);
            let argument = Table {
                values: table.values,
                scales: table.scales,
                zeros: table.zeros,
                ids,
                out,
                columns: table.columns,
                format: table.format as u32,
                group,
                bf16_scales: table.bf16_scales.into(),
            };
            program
                .add(Kernel::Embed, [tokens, table.columns.div_ceil(THREADS), 1], THREADS, 0)
                .with(argument);
        }
        Op::RopeAngles { first, rows, rotary, theta, cos, sin } => {
            let block = (rotary / 2).next_multiple_of(32).max(32);
            program.add(Kernel::RopeAngles, [rows, 1, 1], block, 0).with(Angles {
                first,
                cos,
                sin,
                rotary,
                theta,
            });
        }
        Op::SwiGlu { elements, gate, up } => {
            program
                .add(Kernel::SwiGlu, [blocks(elements), 1, 1], THREADS, 0)
                .with(gate)
                .with(up)
                .with(elements);
        }
        Op::CopyRows { from, to, count } => {
            program.add(Kernel::CopyRows, [blocks(count), 1, 1], THREADS, 0).with(from).with(to).with(count);
        }
        Op::GatherRows { x, rows, count, width } => {
            program
                .add(Kernel::GatherRows, [blocks(width.into()), 1, 1], THREADS, 0)
                .with(x)
                .with(rows)
                .with(count)
                .with(width);
        }
        Op::ConcatRows { left, right, out, rows, width } => {
            program
                .add(Kernel::ConcatRows, [rows, 1, 1], THREADS, 0)
                .with(left)
                .with(right)
                .with(out)
                .with(width);
        }
        Op::ReadAll { from, bytes, out } => {
            program.add(Kernel::ReadAll, [1024, 1, 1], 512, 0).with(from).with(bytes / 16).with(out);
        }
        Op::Argmax { x, rows, width, parts, places } => {
            let search = Search { x, largest: parts, places, width, parts: ARGMAX_PARTS, rows, padding: 0 };
            program.add(Kernel::ArgmaxParts, [ARGMAX_PARTS, rows, 1], THREADS, 0).with(search);
            program.add(Kernel::ArgmaxRows, [rows, 1, 1], 32, 0).with(search);
        }
        _ => unreachable!("other operators are lowered elsewhere"),
    }
}
