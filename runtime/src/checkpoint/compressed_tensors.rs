//! compressed-tensors, `pack-quantized`: words run along the inputs, zero points along the outputs, both offset by 8.
//!
//! `weight_packed` i32 `[out, in / 8]` (8 consecutive inputs a word, low nibble first, `q + 8` for `q` in -8..=7),
//! `weight_scale` `[out, in / g]`, `weight_shape` i64 `[2]`, and for asymmetric layers `weight_zero_point` i32
//! `[out / 8, in / g]` (8 consecutive outputs a word, `z + 8`). `W = (q - z) * s`; the offsets cancel, so the stored
//! nibbles are canonical as they are. `weight_g_idx` appears with `actorder: group`.

use std::ops::Range;

use super::dense;
use super::error::CheckpointError;
use super::header::Dtype;
use super::int4::Int4Rows;
use super::packed::{self, Layout};
use super::quantization::CompressedGroup;
use super::safetensors::Tensor;
use super::shards::Shards;

/// A layer in this layout.
pub(super) struct CompressedLinear<'a> {
    pub(super) layout: Layout,
    packed: Tensor<'a>,
    scale: Tensor<'a>,
    zero_point: Option<Tensor<'a>>,
}

impl<'a> CompressedLinear<'a> {
    /// Finds the tensors of `module` (as in the files), and checks them against the config groups.
    pub(super) fn open(
        shards: &'a Shards,
        module: &str,
        [rows, columns]: [usize; 2],
        config_groups: &[CompressedGroup],
    ) -> Result<CompressedLinear<'a>, CheckpointError> {
        let name = |tensor: &str| format!("{module}.{tensor}");
        let scale = shards.require(&name("weight_scale"))?;
        let zero_name = name("weight_zero_point");
        let symmetric = !shards.contains(&zero_name);

        // A layer belongs to the config group that has its number of scales; `targets` need not be understood.
        let found_groups = scale.shape().get(1).copied().unwrap_or(1);
        let fits = |group: &&CompressedGroup| {
            group.symmetric == symmetric && columns == found_groups * group.groups.size(columns)
        };
        let Some(group) = config_groups.iter().find(fits) else {
            let sizes: Vec<String> = config_groups
                .iter()
                .map(|group| {
                    let kind = if group.symmetric { "symmetric" } else { "asymmetric" };
                    format!("{} ({kind})", group.groups.size(columns))
                })
                .collect();
            let what = format!(
                "its shape {:?} {} a zero point fits none of the group sizes of config.json for {rows} rows of {columns} columns: {}; use the config.json that belongs to these weights",
                scale.shape(),
                if symmetric { "without" } else { "with" },
                sizes.join(", ")
            );
            return Err(packed::content(scale, what));
        };
        let group_size = group.groups.size(columns);
        packed::check_groups(scale, columns, group_size)?;
        dense::check_shape(scale, &[rows, columns / group_size])?;
        packed::check_column_order(shards, &name("weight_g_idx"), columns, group_size)?;
        if let Some(shape) = shards.find(&name("weight_shape")) {
            check_stored_shape(shape, [rows, columns])?;
        }
        let zero_point = match symmetric {
            true => None,
            false => {
                packed::check_row_words(scale, rows)?;
                Some(packed::words(shards, zero_name, [rows / 8, columns / group_size])?)
            }
        };
        Ok(CompressedLinear {
            packed: packed::words(shards, name("weight_packed"), [rows, columns / 8])?,
            scale,
            zero_point,
            layout: Layout { rows, columns, group_size, scale_type: dense::scale_type(scale)? },
        })
    }

    /// Whether a zero point is stored per group.
    pub(super) fn has_zero_points(&self) -> bool {
        self.zero_point.is_some()
    }

    /// Reads `rows`.
    pub(super) fn read(&self, rows: Range<usize>, out: &mut Int4Rows) -> Result<(), CheckpointError> {
        let Layout { columns, group_size, scale_type, .. } = self.layout;
        let groups = self.layout.groups();
        out.reshape(rows.len(), columns, group_size, self.zero_point.is_some());
        out.scale_type = scale_type;
        self.packed.read(rows.start as u64 * columns as u64 / 2, &mut out.values)?;
        if let (Some(tensor), Some(zero_points)) = (self.zero_point, &mut out.zero_points) {
            let mut bytes = vec![0; rows.len() / 2 * groups];
            tensor.read(rows.start as u64 / 2 * groups as u64, &mut bytes)?;
            for (index, word) in packed::word_values(&bytes).enumerate() {
                let (block, group) = (index / groups, index % groups);
                for j in 0..8 {
                    zero_points[(8 * block + j) * groups + group] = (word >> (4 * j)) as u8 & 0xF;
                }
            }
        }
        out.scales = dense::read_scales(self.scale, scale_type, rows, 0..groups)?;
        Ok(())
    }
}

/// `weight_shape` holds the shape before packing.
fn check_stored_shape(tensor: Tensor<'_>, expected: [usize; 2]) -> Result<(), CheckpointError> {
    packed::check_type(tensor, Dtype::I64, "I64")?;
    dense::check_shape(tensor, &[2])?;
    let mut bytes = [0; 16];
    tensor.read(0, &mut bytes)?;
    let stored: Vec<i64> = bytes
        .chunks_exact(8)
        .map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
        .collect();
    if stored.iter().zip(expected).all(|(&stored, expected)| u64::try_from(stored) == Ok(expected as u64)) {
        return Ok(());
    }
    let what = format!(
        "it says {stored:?}, but config.json makes the layer {expected:?}; use the config.json that belongs to these weights"
    );
    Err(packed::content(tensor, what))
}
