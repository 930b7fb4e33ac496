//! AutoAWQ, GEMM version: words run along the outputs, in an interleaved order.
//!
//! `qweight` i32 `[in, out / 8]`, `qzeros` i32 `[in / g, out / 8]`, `scales` `[in / g, out]`. In word `c` of a row,
//! nibble `n` (bits `4n..4n + 4`) belongs to output `8c + [0, 2, 4, 6, 1, 3, 5, 7][n]`, in `qweight` and `qzeros`
//! alike. `W = (q - z) * s` with unsigned `q` and `z`, nothing added (AutoAWQ, `awq/utils/packing_utils.py`).

use std::ops::Range;

use super::dense;
use super::error::CheckpointError;
use super::int4::Int4Rows;
use super::packed::{self, BAND_BYTES, Layout};
use super::quantization::Groups;
use super::safetensors::Tensor;
use super::shards::Shards;

/// The nibble of a word that holds output `8c + j`, for each `j`.
const NIBBLE_OF_OUTPUT: [u32; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// A layer in this layout.
pub(super) struct AwqLinear<'a> {
    pub(super) layout: Layout,
    qweight: Tensor<'a>,
    qzeros: Tensor<'a>,
    scales: Tensor<'a>,
}

impl<'a> AwqLinear<'a> {
    /// Finds the tensors of `module` (as in the files) and checks their shapes.
    pub(super) fn open(
        shards: &'a Shards,
        module: &str,
        [rows, columns]: [usize; 2],
        groups: Groups,
    ) -> Result<AwqLinear<'a>, CheckpointError> {
        let group_size = groups.size(columns);
        let name = |tensor: &str| format!("{module}.{tensor}");
        let scales = shards.require(&name("scales"))?;
        packed::check_groups(scales, columns, group_size)?;
        packed::check_row_words(scales, rows)?;
        dense::check_shape(scales, &[columns / group_size, rows])?;
        Ok(AwqLinear {
            qweight: packed::words(shards, name("qweight"), [columns, rows / 8])?,
            qzeros: packed::words(shards, name("qzeros"), [columns / group_size, rows / 8])?,
            scales,
            layout: Layout { rows, columns, group_size, scale_type: dense::scale_type(scales)? },
        })
    }

    /// Reads `rows`, which are whole words.
    pub(super) fn read(&self, rows: Range<usize>, out: &mut Int4Rows) -> Result<(), CheckpointError> {
        let Layout { columns, group_size, scale_type, .. } = self.layout;
        let groups = self.layout.groups();
        out.reshape(rows.len(), columns, group_size, true);
        out.scale_type = scale_type;

        let word_bytes = rows.start / 2..rows.end / 2;
        let file_row_bytes = self.layout.rows / 2;
        let band = (BAND_BYTES / word_bytes.len().max(1)).next_multiple_of(8).clamp(8, columns);
        let mut bytes = vec![0; band * word_bytes.len()];
        for start in (0..columns).step_by(band) {
            let inputs = start..(start + band).min(columns);
            let bytes = &mut bytes[..inputs.len() * word_bytes.len()];
            self.qweight.read_block(inputs.clone(), file_row_bytes, word_bytes.clone(), bytes)?;
            unpack_inputs(bytes, word_bytes.len(), inputs, columns, &mut out.values);
        }

        let mut bytes = vec![0; groups * word_bytes.len()];
        self.qzeros.read_block(0..groups, file_row_bytes, word_bytes.clone(), &mut bytes)?;
        let zero_points = out.zero_points.get_or_insert_default();
        for (group, words) in bytes.chunks_exact(word_bytes.len().max(1)).enumerate() {
            for (block, word) in packed::word_values(words).enumerate() {
                for (j, nibble) in NIBBLE_OF_OUTPUT.into_iter().enumerate() {
                    zero_points[(8 * block + j) * groups + group] = (word >> (4 * nibble)) as u8 & 0xF;
                }
            }
        }
        let scales = dense::read_scales(self.scales, scale_type, 0..groups, rows.clone())?;
        packed::transpose(&scales, rows.len(), &mut out.scales);
        Ok(())
    }
}

/// Unpacks the words of `inputs` (a multiple of 8 of them, `row_bytes` each) into rows of `columns` nibbles.
///
/// Eight inputs at a time: their words of one block of 8 outputs are an 8 x 8 matrix of nibbles, which is transposed.
fn unpack_inputs(words: &[u8], row_bytes: usize, inputs: Range<usize>, columns: usize, values: &mut [u8]) {
    const EVEN: u32 = 0x0F0F_0F0F;
    for (block, values) in values.chunks_exact_mut(8 * columns / 2).enumerate() {
        for step in 0..inputs.len() / 8 {
            let word = |input: usize| {
                let at = (8 * step + input) * row_bytes + 4 * block;
                u32::from_le_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]])
            };
            // Byte m of `low[b]` holds nibble 2m of inputs 2b (low) and 2b + 1 (high); `high` has nibbles 2m + 1.
            let mut low = [0_u32; 4];
            let mut high = [0_u32; 4];
            for b in 0..4 {
                let (first, second) = (word(2 * b), word(2 * b + 1));
                low[b] = (first & EVEN) | ((second & EVEN) << 4);
                high[b] = ((first >> 4) & EVEN) | (second & !EVEN);
            }
            let at = (inputs.start + 8 * step) / 2;
            for (j, nibble) in NIBBLE_OF_OUTPUT.into_iter().enumerate() {
                let source = if nibble % 2 == 0 { &low } else { &high };
                let shift = 8 * (nibble / 2);
                let bytes = [0, 1, 2, 3].map(|b| (source[b] >> shift) as u8);
                values[j * columns / 2 + at..][..4].copy_from_slice(&bytes);
            }
        }
    }
}
