//! The canonical form of a 4-bit linear layer, whatever layout its checkpoint has.

use super::half::HalfType;

/// Consecutive rows of a 4-bit weight `W [rows, columns]`, quantised in groups of `group_size` columns:
///
/// `W[r, c] = (q[r, c] - z[r, g]) * s[r, g]`, `g = c / group_size`.
///
/// The difference `q - z` is never clamped: with `z = 7` the largest is 8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Int4Rows {
    /// Rows held here (outputs).
    pub rows: usize,
    /// Columns (inputs): a multiple of `group_size`, which is a multiple of 32.
    pub columns: usize,
    /// Columns that share a scale and a zero point.
    pub group_size: usize,
    /// `q`, unsigned 0..=15, `[rows, columns / 2]` bytes: the low nibble is the even column.
    pub values: Vec<u8>,
    /// `s`, `[rows, columns / group_size]`, as bits of `scale_type`.
    pub scales: Vec<u16>,
    /// What the bits in `scales` are.
    pub scale_type: HalfType,
    /// `z`, 0..=16 (GPTQ stores `z - 1`), `[rows, columns / group_size]`; `None` stands for 8 everywhere.
    pub zero_points: Option<Vec<u8>>,
}

impl Default for Int4Rows {
    /// No rows: a buffer for [`super::CheckpointSource::read_int4`] to fill.
    fn default() -> Int4Rows {
        Int4Rows {
            rows: 0,
            columns: 0,
            group_size: 0,
            values: Vec::new(),
            scales: Vec::new(),
            scale_type: HalfType::F16,
            zero_points: None,
        }
    }
}

impl Int4Rows {
    /// Groups in a row.
    pub fn groups(&self) -> usize {
        self.columns / self.group_size
    }

    /// Takes the sizes of another block of rows and keeps the allocations. Values are unspecified until filled.
    pub(super) fn reshape(&mut self, rows: usize, columns: usize, group_size: usize, has_zero_points: bool) {
        (self.rows, self.columns, self.group_size) = (rows, columns, group_size);
        self.values.resize(rows * columns / 2, 0);
        self.scales.resize(rows * self.groups(), 0);
        match has_zero_points {
            true => self.zero_points.get_or_insert_default().resize(rows * (columns / group_size), 0),
            false => self.zero_points = None,
        }
    }

    /// Drops zero points that are all 8, which is what symmetric layers of some formats store.
    pub fn drop_plain_zero_points(&mut self) {
        if self.zero_points.as_ref().is_some_and(|zero_points| zero_points.iter().all(|&z| z == 8)) {
            self.zero_points = None;
        }
    }

    /// Writes row `row` as f32 into `out [columns]`, by the formula above.
    ///
    /// # Panics
    /// If `row` or the length of `out` does not fit.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() == self.columns, "a row of this block, and room for it");
        let values = &self.values[row * self.columns / 2..][..self.columns / 2];
        for (group, out) in out.chunks_exact_mut(self.group_size).enumerate() {
            let at = row * self.groups() + group;
            let scale = self.scale_type.to_f32(self.scales[at]);
            let zero_point = self.zero_points.as_ref().map_or(8.0, |zero_points| f32::from(zero_points[at]));
            let bytes = &values[group * self.group_size / 2..][..self.group_size / 2];
            for (pair, &byte) in out.chunks_exact_mut(2).zip(bytes) {
                pair[0] = (f32::from(byte & 0xF) - zero_point) * scale;
                pair[1] = (f32::from(byte >> 4) - zero_point) * scale;
            }
        }
    }
}
