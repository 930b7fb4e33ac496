//! GPTQ, and AutoRound's export in its layout: words run along the inputs, zero points along the outputs.
//!
//! `qweight` i32 `[in / 8, out]` (8 consecutive inputs a word, low nibble first), `qzeros` i32 `[in / g, out / 8]`
//! (8 consecutive outputs a word), `scales` `[in / g, out]`, `g_idx` i32 `[in]`. `W = (q - z - 1) * s` in version 1,
//! `(q - z) * s` in version 2 (`checkpoint_format`). Some exports leave `qzeros` empty, `[in / g, 0]`: then the zero
//! point is 8.

use std::ops::Range;

use super::dense;
use super::error::CheckpointError;
use super::int4::Int4Rows;
use super::packed::{self, BAND_BYTES, Layout};
use super::quantization::Groups;
use super::safetensors::Tensor;
use super::shards::Shards;

/// A layer in this layout.
pub(super) struct GptqLinear<'a> {
    pub(super) layout: Layout,
    qweight: Tensor<'a>,
    qzeros: Option<Tensor<'a>>,
    scales: Tensor<'a>,
    zero_offset: u8,
}

impl<'a> GptqLinear<'a> {
    /// Finds the tensors of `module` (as in the files), checks their shapes, and that columns are in order.
    pub(super) fn open(
        shards: &'a Shards,
        module: &str,
        [rows, columns]: [usize; 2],
        groups: Groups,
        zero_offset: u8,
        desc_act: bool,
    ) -> Result<GptqLinear<'a>, CheckpointError> {
        let group_size = groups.size(columns);
        let name = |tensor: &str| format!("{module}.{tensor}");
        let scales = shards.require(&name("scales"))?;
        packed::check_groups(scales, columns, group_size)?;
        dense::check_shape(scales, &[columns / group_size, rows])?;

        let column_groups = name("g_idx");
        if desc_act && !shards.contains(&column_groups) {
            return Err(packed::content(
                scales,
                format!(
                    "`desc_act` is true, but `{column_groups}` is missing; use a checkpoint quantised without `desc_act`"
                ),
            ));
        }
        packed::check_column_order(shards, &column_groups, columns, group_size)?;

        let empty = shards.find(&name("qzeros")).is_some_and(|qzeros| qzeros.shape().contains(&0));
        let qzeros = if empty {
            None
        } else {
            packed::check_row_words(scales, rows)?;
            Some(packed::words(shards, name("qzeros"), [columns / group_size, rows / 8])?)
        };
        Ok(GptqLinear {
            qweight: packed::words(shards, name("qweight"), [columns / 8, rows])?,
            qzeros,
            scales,
            zero_offset,
            layout: Layout { rows, columns, group_size, scale_type: dense::scale_type(scales)? },
        })
    }

    /// Whether a zero point is stored per group.
    pub(super) fn has_zero_points(&self) -> bool {
        self.qzeros.is_some()
    }

    /// Reads `rows`.
    pub(super) fn read(&self, rows: Range<usize>, out: &mut Int4Rows) -> Result<(), CheckpointError> {
        let Layout { columns, group_size, scale_type, .. } = self.layout;
        let groups = self.layout.groups();
        out.reshape(rows.len(), columns, group_size, self.qzeros.is_some());
        out.scale_type = scale_type;

        // Each word is four bytes of a canonical row already: a transpose of words.
        let word_bytes = rows.start * 4..rows.end * 4;
        let band = (BAND_BYTES / word_bytes.len().max(1)).max(1).min(columns / 8);
        let mut bytes = vec![0; band * word_bytes.len()];
        for start in (0..columns / 8).step_by(band) {
            let words = start..(start + band).min(columns / 8);
            let bytes = &mut bytes[..words.len() * word_bytes.len()];
            self.qweight.read_block(words.clone(), self.layout.rows * 4, word_bytes.clone(), bytes)?;
            for (row, values) in out.values.chunks_exact_mut(columns / 2).enumerate() {
                for (index, value) in values[words.start * 4..words.end * 4].chunks_exact_mut(4).enumerate() {
                    value.copy_from_slice(&bytes[index * word_bytes.len() + row * 4..][..4]);
                }
            }
        }

        if let (Some(qzeros), Some(zero_points)) = (self.qzeros, &mut out.zero_points) {
            let word_bytes = rows.start / 2..rows.end / 2;
            let mut bytes = vec![0; groups * word_bytes.len()];
            qzeros.read_block(0..groups, self.layout.rows / 2, word_bytes.clone(), &mut bytes)?;
            for (group, words) in bytes.chunks_exact(word_bytes.len().max(1)).enumerate() {
                for (block, word) in packed::word_values(words).enumerate() {
                    for j in 0..8 {
                        let nibble = (word >> (4 * j)) as u8 & 0xF;
                        zero_points[(8 * block + j) * groups + group] = nibble + self.zero_offset;
                    }
                }
            }
        }
        let scales = dense::read_scales(self.scales, scale_type, 0..groups, rows.clone())?;
        packed::transpose(&scales, rows.len(), &mut out.scales);
        Ok(())
    }
}
