//! A tile of queries against a span of the context, on vectors.
//!
//! A row is one query head of one token; the rows of a tile share a KV head, so an element of K or V that was loaded (and
//! converted from f16 or a byte) is used for a panel of four rows. Scores: 4 rows by 64 tokens, in 16 AVX-512 accumulators, one
//! register of K and four broadcast queries at a time. Outputs: 4 rows by 64 values, the same with V. Scales never enter these
//! loops: a token's scale of K multiplies its finished scores, its scale of V its weights.

use super::cache::{Element, head_block_len};
use super::shape::{BLOCK_TOKENS, PANEL_ROWS, Shape};
use crate::backend::cpu::Vector;
use crate::ops::Heads;
use crate::ops::activation::exp;

/// Scores, then weights, of one row and one block.
pub(super) type ScoreRow = [f32; BLOCK_TOKENS];

/// An unfinished softmax for some rows: `out / sum` is the result, `maximum` the largest score so far.
pub(super) struct Running<'a> {
    pub(super) maximum: &'a mut [f32],
    pub(super) sum: &'a mut [f32],
    /// `[rows, head_dim]`.
    pub(super) out: &'a mut [f32],
}

impl<'a> Running<'a> {
    /// Lays the parts out in `values`, [`Shape::running_values`] of them.
    pub(super) fn new(values: &'a mut [f32], rows: usize) -> Self {
        let (maximum, rest) = values.split_at_mut(rows);
        let (sum, out) = rest.split_at_mut(rows);
        Self { maximum, sum, out }
    }

    /// Nothing seen yet.
    pub(super) fn reset(&mut self) {
        self.maximum.fill(f32::NEG_INFINITY);
        self.sum.fill(0.0);
        self.out.fill(0.0);
    }

    /// Takes in what another one has seen. A row that saw nothing there is left as it is, to the bit.
    #[inline(always)]
    pub(super) fn merge<V: Vector>(&mut self, other: &Running<'_>, width: usize) {
        for row in 0..self.maximum.len() {
            if other.maximum[row] == f32::NEG_INFINITY && other.sum[row] == 0.0 {
                continue;
            }
            let largest = Vector::max(self.maximum[row], other.maximum[row]);
            let own = exp(self.maximum[row] - largest);
            let others = exp(other.maximum[row] - largest);
            self.maximum[row] = largest;
            self.sum[row] = self.sum[row] * own + other.sum[row] * others;
            let out = V::chunks_mut(&mut self.out[row * width..][..width]).0;
            for (out, other) in out.iter_mut().zip(V::chunks(&other.out[row * width..][..width]).0) {
                V::load(out).mul(V::splat(own)).add(V::load(other).mul(V::splat(others))).store(out);
            }
        }
    }

    /// Writes `out / sum` of one row.
    #[inline(always)]
    pub(super) fn finish<V: Vector>(&self, row: usize, out: &mut [f32]) {
        let width = out.len();
        let factor = V::splat(1.0 / self.sum[row]);
        for (out, sum) in V::chunks_mut(out).0.iter_mut().zip(V::chunks(&self.out[row * width..][..width]).0)
        {
            V::load(sum).mul(factor).store(out);
        }
    }
}

/// The keys and values of a layer.
pub(super) struct Context<'a, E> {
    /// From the first block of keys on.
    pub(super) k: &'a [E],
    /// From the first block of values on.
    pub(super) v: &'a [E],
    /// Elements from one block to the next.
    pub(super) stride: usize,
}

/// The queries of a tile: `tokens` tokens from `first_token` on, all heads of a group.
pub(super) struct Tile<'a> {
    pub(super) shape: &'a Shape,
    pub(super) kv_head: usize,
    pub(super) first_token: usize,
    pub(super) tokens: usize,
    /// Position of the call's first token.
    pub(super) first_position: usize,
    /// `[panels, head_dim, 4]`, scaled by `1 / sqrt(head_dim)`.
    pub(super) queries: &'a mut [f32],
    /// One row of scores a row.
    pub(super) scores: &'a mut [ScoreRow],
    /// For each row, the factor of the current block for what was summed before.
    pub(super) rescale: &'a mut [f32],
}

impl Tile<'_> {
    /// Rows that hold a query.
    pub(super) fn rows(&self) -> usize {
        self.tokens * self.shape.group()
    }

    /// Token of the call and query head of a row.
    pub(super) fn token_and_head(&self, row: usize) -> (usize, usize) {
        let group = self.shape.group();
        (self.first_token + row / group, self.kv_head * group + row % group)
    }

    /// Packs the queries; rows that only fill the last panel are zero.
    pub(super) fn pack(&mut self, q: &[f32], layout: Heads) {
        let width = self.shape.head_dim;
        let scale = 1.0 / (width as f32).sqrt();
        let panels = self.rows().div_ceil(PANEL_ROWS);
        for row in 0..panels * PANEL_ROWS {
            let panel = &mut self.queries[row / PANEL_ROWS * PANEL_ROWS * width..][..PANEL_ROWS * width];
            let places = panel.iter_mut().skip(row % PANEL_ROWS).step_by(PANEL_ROWS);
            if row < self.tokens * self.shape.group() {
                let group = self.shape.group();
                let (token, head) = (self.first_token + row / group, self.kv_head * group + row % group);
                places.zip(&q[layout.range(token, head)]).for_each(|(place, q)| *place = q * scale);
            } else {
                places.for_each(|place| *place = 0.0);
            }
        }
    }

    /// Takes the blocks `first_block..last_block` of the context into `running`.
    #[inline(always)]
    pub(super) fn attend<V: Vector, E: Element>(
        &mut self,
        context: Context<'_, E>,
        blocks: std::ops::Range<usize>,
        running: &mut Running<'_>,
    ) {
        let Context { k, v, stride } = context;
        let (shape, group) = (self.shape, self.shape.group());
        let (width, rows) = (shape.head_dim, self.rows());
        let first_position = self.first_position + self.first_token;
        for block in blocks {
            // Slots that a token of the tile may see.
            let visible = |token: usize| {
                (first_position + token + 1).saturating_sub(block * BLOCK_TOKENS).min(BLOCK_TOKENS)
            };
            let most = visible(self.tokens - 1);
            if most == 0 {
                return;
            }
            let length = head_block_len::<E>(shape);
            let start = block * stride + self.kv_head * length;
            // Panel 0 asks for what comes next while it computes: V of this block, then K of the next.
            let next = k.get(start + stride..).unwrap_or(&[]);
            let next = &next[..next.len().min(length)];
            let (k, k_scales) = k[start..][..length].split_at(shape.head_block_len());
            let (v, v_scales) = v[start..][..length].split_at(shape.head_block_len());
            let (k_scales, v_scales) = (E::scales(k_scales), E::scales(v_scales));
            // All scores first, so that K and then V stay in the first-level cache while the panels pass.
            for (panel, queries) in self.queries.chunks_exact(PANEL_ROWS * width).enumerate() {
                let first = panel * PANEL_ROWS;
                let Some(scores) = self.scores[first..].first_chunk_mut().filter(|_| first < rows) else {
                    break;
                };
                let ahead = if panel == 0 { v } else { &[] };
                panel_scores::<V, E>(queries.as_chunks().0, k, most, scores, ahead);
                for (row, scores) in (first..).zip(scores) {
                    let visible = if row < rows { visible(row / group) } else { 0 };
                    let (maximum, sum) = (&mut running.maximum[row], &mut running.sum[row]);
                    if let Some(scales) = &k_scales {
                        multiply::<V>(scores, scales);
                    }
                    self.rescale[row] = softmax::<V>(scores, visible, maximum, sum);
                    // From here on a weight stands for a count of V's steps.
                    if let Some(scales) = &v_scales {
                        multiply::<V>(scores, scales);
                    }
                }
            }
            for (panel, out) in running.out.chunks_exact_mut(PANEL_ROWS * width).enumerate() {
                let first = panel * PANEL_ROWS;
                let Some(weights) = self.scores[first..].first_chunk().filter(|_| first < rows) else {
                    break;
                };
                let Some(&rescale) = self.rescale[first..].first_chunk() else { break };
                let ahead = if panel == 0 { next } else { &[] };
                panel_outputs::<V, E>(weights, &v[..most * width], rescale, out, width, ahead);
            }
        }
    }
}

/// Scores of four rows against the first `visible` slots of a block of K; the other slots hold anything afterwards.
#[inline(always)]
fn panel_scores<V: Vector, E: Element>(
    queries: &[[f32; PANEL_ROWS]],
    k: &[E],
    visible: usize,
    scores: &mut [ScoreRow; PANEL_ROWS],
    ahead: &[E],
) {
    let registers = visible.div_ceil(V::LANES);
    if V::LANES >= 16 && registers > 2 {
        score_columns::<V, E, 4>(queries, k, 0, scores, ahead);
        return;
    }
    let mut register = 0;
    while register < registers {
        score_columns::<V, E, 2>(queries, k, register, scores, ahead);
        register += 2;
    }
}

/// Scores of `N` registers of slots.
#[inline(always)]
fn score_columns<V: Vector, E: Element, const N: usize>(
    queries: &[[f32; PANEL_ROWS]],
    k: &[E],
    register: usize,
    scores: &mut [ScoreRow; PANEL_ROWS],
    ahead: &[E],
) {
    let mut sums = [[V::splat(0.0); N]; PANEL_ROWS];
    let first_ahead = register * V::LANES * queries.len();
    for (index, (queries, k)) in queries.iter().zip(k.chunks_exact(BLOCK_TOKENS)).enumerate() {
        prefetch::<V, E, N>(ahead, first_ahead + index * N * V::LANES);
        let k = &E::chunks::<V>(k)[register..register + N];
        let mut loaded = [V::splat(0.0); N];
        for n in 0..N {
            loaded[n] = E::load::<V>(&k[n]);
        }
        for row in 0..PANEL_ROWS {
            let q = V::splat(queries[row]);
            for n in 0..N {
                sums[row][n] = loaded[n].mul_add(q, sums[row][n]);
            }
        }
    }
    for row in 0..PANEL_ROWS {
        let scores = &mut V::chunks_mut(&mut scores[row]).0[register..register + N];
        for n in 0..N {
            sums[row][n].store(&mut scores[n]);
        }
    }
}

/// `row *= scales`, slot by slot.
#[inline(always)]
fn multiply<V: Vector>(row: &mut ScoreRow, scales: &ScoreRow) {
    for (value, scale) in V::chunks_mut(row).0.iter_mut().zip(V::chunks(scales).0) {
        V::load(value).mul(V::load(scale)).store(value);
    }
}

/// Turns the scores of a row into weights relative to the running maximum, 0 where invisible or below 2^-63, and adds them
/// to the sum.
/// Returns the factor for what was summed before.
#[inline(always)]
fn softmax<V: Vector>(scores: &mut ScoreRow, visible: usize, maximum: &mut f32, sum: &mut f32) -> f32 {
    if visible == 0 {
        scores.fill(0.0);
        return 1.0;
    }
    scores[visible..].fill(f32::NEG_INFINITY);
    let lanes = V::chunks_mut(scores).0;
    let mut largest = V::load(&lanes[0]);
    for lane in lanes.iter().skip(1) {
        largest = largest.max(V::load(lane));
    }
    let largest = Vector::max(*maximum, largest.maximum());
    let rescale = exp(*maximum - largest);
    let mut total = V::splat(0.0);
    for lane in lanes {
        let weight = exp(V::load(lane).sub(V::splat(largest))).flush();
        total = total.add(weight);
        weight.store(lane);
    }
    *maximum = largest;
    *sum = *sum * rescale + total.sum();
    rescale
}

/// `out = out * rescale + weights * V` for four rows, over the slots that `v` has.
#[inline(always)]
fn panel_outputs<V: Vector, E: Element>(
    weights: &[ScoreRow; PANEL_ROWS],
    v: &[E],
    rescale: [f32; PANEL_ROWS],
    out: &mut [f32],
    width: usize,
    ahead: &[E],
) {
    let registers = width / V::LANES;
    let mut register = 0;
    while V::LANES >= 16 && register + 4 <= registers {
        output_columns::<V, E, 4>(weights, v, rescale, out, width, register, ahead);
        register += 4;
    }
    while register + 2 <= registers {
        output_columns::<V, E, 2>(weights, v, rescale, out, width, register, ahead);
        register += 2;
    }
    while register < registers {
        output_columns::<V, E, 1>(weights, v, rescale, out, width, register, ahead);
        register += 1;
    }
}

/// Outputs of `N` registers of values.
#[inline(always)]
fn output_columns<V: Vector, E: Element, const N: usize>(
    weights: &[ScoreRow; PANEL_ROWS],
    v: &[E],
    rescale: [f32; PANEL_ROWS],
    out: &mut [f32],
    width: usize,
    register: usize,
    ahead: &[E],
) {
    let mut sums = [[V::splat(0.0); N]; PANEL_ROWS];
    for (row, out) in out.chunks_exact(width).enumerate().take(PANEL_ROWS) {
        let out = &V::chunks(out).0[register..register + N];
        for n in 0..N {
            sums[row][n] = V::load(&out[n]).mul(V::splat(rescale[row]));
        }
    }
    let first_ahead = register * V::LANES * BLOCK_TOKENS;
    for (slot, v) in v.chunks_exact(width).enumerate().take(BLOCK_TOKENS) {
        prefetch::<V, E, N>(ahead, first_ahead + slot * N * V::LANES);
        let v = &E::chunks::<V>(v)[register..register + N];
        let mut loaded = [V::splat(0.0); N];
        for n in 0..N {
            loaded[n] = E::load::<V>(&v[n]);
        }
        for row in 0..PANEL_ROWS {
            let weight = V::splat(weights[row][slot]);
            for n in 0..N {
                sums[row][n] = loaded[n].mul_add(weight, sums[row][n]);
            }
        }
    }
    for (row, out) in out.chunks_exact_mut(width).enumerate().take(PANEL_ROWS) {
        let out = &mut V::chunks_mut(out).0[register..register + N];
        for n in 0..N {
            sums[row][n].store(&mut out[n]);
        }
    }
}

/// Asks for the lines of `N` registers of elements from `first` on.
#[inline(always)]
fn prefetch<V: Vector, E, const N: usize>(elements: &[E], first: usize) {
    let line = 64 / size_of::<E>();
    for offset in (0..N * V::LANES).step_by(line) {
        if let Some(element) = elements.get(first + offset) {
            V::prefetch(element);
        }
    }
}
