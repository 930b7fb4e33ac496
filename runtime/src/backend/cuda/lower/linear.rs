//! Projections: the norm in front of them and what is done with their results join them.

use super::super::kernel_set::{HALF_SHARED, Kernel, many_shared};
use super::super::launch::{Argument, Program, Step, StepKind};
use super::super::memory::Address;
use super::super::op::{Format, MatrixAt, Op, PROJECTIONS, ProjectionAt};
use super::Gpu;

/// The most tokens for which every tile of weights is read once and multiplied with all of them.
const FEW: u32 = 32;

/// Warps of a block.
const WARPS: u32 = 8;
const THREADS: u32 = WARPS * 32;

/// Rows of a tile.
const TILE: u32 = 16;

/// Parts of the columns that are multiplied apart, at most.
pub(in crate::backend::cuda) const MOST_PARTS: u32 = 3;

/// Bytes of the activations of `tokens` tokens in 16 bits with their sums.
pub(in crate::backend::cuda) fn packed_bytes(tokens: u32, columns: u32) -> u64 {
    let values = u64::from(tokens) * u64::from(columns);
    (values * 2).next_multiple_of(16) + (values / 8).next_multiple_of(16)
}

/// What is done to the activations on their way in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Opening {
    /// f32 as they are.
    Plain { x: Address },
    /// In 16 bits already, in the order in which one token's or many tokens' kernels read them.
    Packed { x: Address },
    /// An RMSNorm, whose result stays in `normed`.
    Norm { x: Address, weight: Address, eps: f32, normed: Address },
    /// A norm of heads, times silu of a gate.
    GatedNorm { x: Address, weight: Address, gate: Address, width: u32, eps: f32 },
}

/// What is done with a product, by the numbers of `ops/linear/kernel.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Ending {
    Store = 0,
    Add = 1,
    Convolve = 2,
    Decay = 3,
    Beta = 4,
    SwiGlu = 5,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Matrix {
    values: Address,
    scales: Address,
    zeros: Address,
    out: Address,
    first: Address,
    second: Address,
    window: Address,
    rows: u32,
    stride: u32,
    format: u32,
    group: u32,
    bf16_scales: u32,
    ending: u32,
    block: u32,
    padding: u32,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Linear {
    matrices: [Matrix; PROJECTIONS],
    count: u32,
    columns: u32,
    tokens: u32,
    tiles: u32,
    opening: u32,
    eps: f32,
    width: u32,
    more: u32,
    pub(super) rotation: u32,
    unit: u32,
    x: Address,
    weight: Address,
    gate: Address,
    extra: Address,
    sums: Address,
}

// SAFETY: addresses and numbers; its padding has names.
unsafe impl Argument for Linear {}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Pack {
    x: Address,
    weight: Address,
    gate: Address,
    out: Address,
    sums: Address,
    normed: Address,
    columns: u32,
    order: u32,
    opening: u32,
    width: u32,
    eps: f32,
    padding: u32,
}

// SAFETY: as above.
unsafe impl Argument for Pack {}

impl Opening {
    /// Where f32 activations are for whoever wants them as they are multiplied.
    fn plain(self) -> Option<Address> {
        match self {
            Opening::Plain { x } => Some(x),
            Opening::Norm { normed, .. } => Some(normed),
            Opening::Packed { .. } | Opening::GatedNorm { .. } => None,
        }
    }

    fn fill(self, linear: &mut Linear) {
        match self {
            Opening::Plain { x } | Opening::Packed { x } => linear.x = x,
            Opening::Norm { x, weight, eps, normed } => {
                (linear.opening, linear.x, linear.weight) = (1, x, weight);
                (linear.eps, linear.extra) = (eps, normed);
            }
            Opening::GatedNorm { x, weight, gate, width, eps } => {
                (linear.opening, linear.x, linear.weight) = (2, x, weight);
                (linear.gate, linear.width, linear.eps) = (gate, width, eps);
            }
        }
    }
}

/// A projection and what becomes of its product.
#[derive(Debug, Clone, Copy)]
struct Output {
    projection: ProjectionAt,
    ending: Ending,
    first: Address,
    second: Address,
    window: Address,
}

impl Output {
    fn matrix(&self, block: u32) -> Matrix {
        let ProjectionAt { matrix, out, stride, .. } = self.projection;
        Matrix {
            values: matrix.values,
            scales: matrix.scales,
            zeros: matrix.zeros,
            out,
            first: self.first,
            second: self.second,
            window: self.window,
            rows: matrix.rows,
            stride,
            format: matrix.format as u32,
            group: (matrix.group_size / 32).max(1),
            bf16_scales: matrix.bf16_scales.into(),
            ending: self.ending as u32,
            block,
            padding: 0,
        }
    }

    fn is_quantised(&self) -> bool {
        self.projection.matrix.format.is_quantised()
    }

    fn tiles(&self) -> u32 {
        self.projection.matrix.rows.div_ceil(TILE)
    }
}

/// Lowers the [`Op::Linear`] that `ops` begins with and what joins it. Returns what is left.
pub(super) fn lower<'a>(opening: Opening, ops: &'a [Op], gpu: Gpu, program: &mut Program) -> &'a [Op] {
    let [Op::Linear { tokens, columns, projections, scratch, room, .. }, rest @ ..] = ops else {
        unreachable!("called for a projection")
    };
    let (tokens, columns, mut rest) = (*tokens, *columns, rest);
    let mut outputs: Vec<Output> = projections
        .iter()
        .flatten()
        .map(|projection| Output {
            projection: *projection,
            ending: if projection.add { Ending::Add } else { Ending::Store },
            first: 0,
            second: 0,
            window: 0,
        })
        .collect();
    rest = join_gates(&mut outputs, tokens, rest);
    rest = join_convolution(&mut outputs, tokens, rest);
    let paired = pair(&mut outputs, tokens, rest);
    if paired {
        rest = &rest[1..];
    }
    let (quantised, dense): (Vec<Output>, Vec<Output>) = match tokens {
        1 => (outputs, Vec::new()),
        _ => outputs.into_iter().partition(Output::is_quantised),
    };
    let call = Call { opening, tokens, columns, scratch: *scratch, room: *room, gpu };
    match tokens {
        1 => call.one(&quantised, program),
        2..=FEW => call.few(&quantised, program),
        _ => call.many(&quantised, paired, program),
    }
    if !dense.is_empty() {
        call.dense(&dense, quantised.is_empty(), program);
    }
    // The MLP's product stands in 16 bits where the next projection reads it.
    if paired && (tokens == 1 || tokens > FEW) {
        let x = quantised[0].projection.out;
        return lower(Opening::Packed { x }, rest, gpu, program);
    }
    rest
}

/// The gates of the delta rule, made where their inputs come out.
fn join_gates<'a>(outputs: &mut [Output], of_call: u32, rest: &'a [Op]) -> &'a [Op] {
    let [Op::DeltaGates { a, b, negated_decay, dt_bias, tokens, .. }, others @ ..] = rest else {
        return rest;
    };
    let find = |address| outputs.iter().position(|it: &Output| it.projection.out == address);
    let can_join = |it: &Output| it.ending == Ending::Store && (of_call <= FEW || !it.is_quantised());
    match (find(*a), find(*b)) {
        (Some(a), Some(b))
            if a != b && *tokens == of_call && can_join(&outputs[a]) && can_join(&outputs[b]) =>
        {
            outputs[a].ending = Ending::Decay;
            (outputs[a].first, outputs[a].second) = (*negated_decay, *dt_bias);
            outputs[b].ending = Ending::Beta;
            others
        }
        _ => rest,
    }
}

/// The convolution of a single token, made where its input comes out.
fn join_convolution<'a>(outputs: &mut [Output], of_call: u32, rest: &'a [Op]) -> &'a [Op] {
    match rest {
        [Op::Convolve { channels, tokens: 1, undecided: false, taps, kernel: 4, x, window }, others @ ..]
            if of_call == 1 =>
        {
            let found = outputs.iter_mut().find(|it| {
                it.projection.out == *x
                    && it.ending == Ending::Store
                    && it.projection.matrix.rows == *channels
                    && it.projection.stride == *channels
            });
            match found {
                Some(output) => {
                    (output.ending, output.first, output.window) = (Ending::Convolve, *taps, *window);
                    others
                }
                None => rest,
            }
        }
        _ => rest,
    }
}

/// Whether the two outputs are gate and up of an MLP, whose product is all that is wanted.
fn pair(outputs: &mut [Output], of_call: u32, rest: &[Op]) -> bool {
    let ([gate, up], [Op::SwiGlu { elements, gate: at, up: up_at }, others @ ..]) = (&mut *outputs, rest)
    else {
        return false;
    };
    let (g, u) = (gate.projection.matrix, up.projection.matrix);
    let alike = (g.format, g.group_size, g.rows, g.bf16_scales)
        == (u.format, u.group_size, u.rows, u.bf16_scales)
        && (g.zeros == 0) == (u.zeros == 0)
        && g.format.is_quantised()
        && gate.ending == Ending::Store
        && up.ending == Ending::Store
        && gate.projection.stride == g.rows;
    let these = *elements == u64::from(of_call) * u64::from(g.rows)
        && (*at, *up_at) == (gate.projection.out, up.projection.out);
    // The product is read next, and for many tokens it is only written for that.
    let next = matches!(others, [Op::Linear { x, tokens, columns, projections, .. }, ..]
        if (*x, *tokens, *columns) == (gate.projection.out, of_call, g.rows)
            && (of_call <= FEW && (of_call > 1 || g.rows.is_multiple_of(8))
                || of_call > FEW
                    && g.rows.is_multiple_of(32)
                    && projections.iter().flatten().all(|it| it.matrix.format.is_quantised())));
    let joins = alike && these && next;
    if joins {
        (gate.ending, up.ending) = (Ending::SwiGlu, Ending::SwiGlu);
    }
    joins
}

/// The windows that a product moves on; 0 for none.
pub(super) fn windows_of(step: &Step) -> impl Iterator<Item = Address> {
    (0..PROJECTIONS)
        .map(|index| step.number_at(index * size_of::<Matrix>() + std::mem::offset_of!(Matrix, window)))
}

/// Chunks of 32 columns that are multiplied before a scale is applied: as many of 4 as divide the group.
fn unit_of(matrix: MatrixAt) -> u32 {
    match matrix.group_size / 32 {
        chunks if chunks.is_multiple_of(4) => 4,
        chunks if chunks.is_multiple_of(2) => 2,
        _ => 1,
    }
}

/// What the kernels of one call share.
struct Call {
    opening: Opening,
    tokens: u32,
    columns: u32,
    scratch: Address,
    room: u64,
    gpu: Gpu,
}

impl Call {
    fn linear(&self) -> Linear {
        Linear { columns: self.columns, tokens: self.tokens, tiles: 1, ..Linear::default() }
    }

    /// Fills in `outputs`, `tiles` of them a block. Returns the blocks of the grid.
    fn place(&self, linear: &mut Linear, outputs: &[Output], tiles: u32) -> u32 {
        let paired = outputs[0].ending == Ending::SwiGlu;
        let mut blocks = 0;
        for (matrix, output) in linear.matrices.iter_mut().zip(outputs) {
            *matrix = output.matrix(blocks);
            blocks += match output.is_quantised() {
                true => output.tiles().div_ceil(tiles),
                false => output.projection.matrix.rows.div_ceil(WARPS),
            };
        }
        linear.count = outputs.len() as u32;
        linear.tiles = tiles;
        match paired {
            // One of each matrix at a time.
            true => outputs[0].tiles().div_ceil(tiles / 2),
            false => blocks,
        }
    }

    /// Tiles that a block works on: so many that its warps have enough columns each, and that the grid fills the GPU.
    fn tiles(&self, outputs: &[Output]) -> u32 {
        if outputs[0].ending == Ending::SwiGlu {
            return 2;
        }
        let tiles: u32 = outputs.iter().filter(|it| it.is_quantised()).map(Output::tiles).sum();
        match () {
            () if tiles >= 64 * self.gpu.processors => 8,
            () if self.columns >= 4096 || tiles < 2 * self.gpu.processors => 1,
            () => 2,
        }
    }

    /// One token: matrices that are stored alike in one step, dense ones with the first of them.
    fn one(&self, outputs: &[Output], program: &mut Program) {
        let kind = |it: &Output| {
            let matrix = it.projection.matrix;
            (matrix.format, matrix.group_size, matrix.bf16_scales, matrix.zeros == 0)
        };
        let (mut rest, mut dense): (Vec<Output>, Vec<Output>) =
            outputs.iter().copied().partition(Output::is_quantised);
        while !rest.is_empty() || !dense.is_empty() {
            let first = rest.first().copied();
            let (mut together, others): (Vec<Output>, Vec<Output>) =
                rest.into_iter().partition(|it| first.is_some_and(|first| kind(it) == kind(&first)));
            let tiles = together.iter().map(Output::tiles).sum();
            together.append(&mut dense);
            self.one_kind(&together, tiles, program);
            rest = others;
        }
    }

    /// One step of the persistent kernel: `tiles` are those of matrices that are quantised, which come first.
    fn one_kind(&self, outputs: &[Output], tiles: u32, program: &mut Program) {
        let mut linear = self.linear();
        self.opening.fill(&mut linear);
        if matches!(self.opening, Opening::Packed { .. }) {
            linear.opening = 3;
        }
        let (mut tile, mut row) = (0, 0);
        for (matrix, output) in linear.matrices.iter_mut().zip(outputs) {
            let next = if output.is_quantised() { &mut tile } else { &mut row };
            *matrix = output.matrix(*next);
            *next += if output.is_quantised() { output.tiles() } else { output.projection.matrix.rows };
        }
        linear.count = outputs.len() as u32;
        let grains = if outputs[0].ending == Ending::SwiGlu { tiles / 2 } else { tiles };
        let blocks = self.gpu.processors;
        (linear.tiles, linear.more) = (grains / blocks, grains % blocks);
        // Those with one more begin where those of the products before ended: in the long run all have as much to read.
        linear.rotation = (blocks - program.dealt % blocks) % blocks;
        program.dealt += linear.more;
        linear.unit = unit_of(outputs[0].projection.matrix);
        program.add_step(Kernel::PERSISTENT, StepKind::Multiply, linear, blocks);
    }

    /// Activations in 16 bits in the scratch memory, in the order that their reader wants. Returns where the sums are.
    fn pack(&self, few: bool, program: &mut Program) -> Address {
        let sums = self.scratch + (u64::from(self.tokens) * u64::from(self.columns) * 2).next_multiple_of(16);
        let mut linear = self.linear();
        self.opening.fill(&mut linear);
        let pack = Pack {
            x: linear.x,
            weight: linear.weight,
            gate: linear.gate,
            out: self.scratch,
            sums: if few { sums } else { 0 },
            normed: linear.extra,
            columns: self.columns,
            order: if few { 0 } else { 1 },
            opening: linear.opening,
            width: linear.width,
            eps: linear.eps,
            padding: 0,
        };
        program.add(Kernel::PackActivations, [self.tokens, 1, 1], THREADS, 0).with(pack);
        sums
    }

    fn few(&self, outputs: &[Output], program: &mut Program) {
        if outputs.is_empty() {
            return;
        }
        let mut linear = self.linear();
        linear.sums = self.pack(true, program);
        linear.x = self.scratch;
        let blocks = self.place(&mut linear, outputs, self.tiles(outputs));
        let (kernel, together) = match self.tokens {
            ..=8 => (Kernel::LinearFew8, 8),
            9..=16 => (Kernel::LinearFew16, 16),
            _ => (Kernel::LinearFew32, 32),
        };
        let shared = WARPS * TILE * together * 4;
        program.add(kernel, [blocks, 1, 1], THREADS, shared).with(linear);
    }

    fn many(&self, outputs: &[Output], paired: bool, program: &mut Program) {
        if outputs.is_empty() {
            return;
        }
        let x = match self.opening {
            Opening::Packed { x } => x,
            _ => {
                self.pack(false, program);
                self.scratch
            }
        };
        for format in [Format::Int4, Format::Int8] {
            let chosen: Vec<Output> =
                outputs.iter().copied().filter(|it| it.projection.matrix.format == format).collect();
            if chosen.is_empty() {
                continue;
            }
            let mut linear = self.linear();
            linear.x = x;
            let across = self.place(&mut linear, &chosen, 8);
            if paired {
                linear.extra = chosen[0].projection.out;
            }
            // As many parts of the columns as fill the GPU twice, where a product is one matrix of whole fours.
            let blocks = across * self.tokens.div_ceil(128);
            let single = match chosen[..] {
                [Output { projection, ending: Ending::Store | Ending::Add, .. }] => {
                    (projection.stride == projection.matrix.rows && projection.matrix.rows.is_multiple_of(4))
                        .then_some(projection)
                }
                _ => None,
            };
            let parts = match single {
                Some(projection) => (2 * self.gpu.processors / blocks)
                    .min(self.columns.div_ceil(512))
                    .min(self.room_for(projection.matrix.rows))
                    .clamp(1, MOST_PARTS),
                None => 1,
            };
            let large = self.tokens > 64 && blocks * parts >= self.gpu.processors;
            let parts = if large { parts } else { 1 };
            let (tile, bits, kernel) = match (large, format) {
                (true, Format::Int4) => (128, 4, Kernel::LinearManyInt4By128),
                (true, _) => (128, 8, Kernel::LinearManyInt8By128),
                (false, Format::Int4) => (64, 4, Kernel::LinearManyInt4By64),
                (false, _) => (64, 8, Kernel::LinearManyInt8By64),
            };
            let beside = self.parts();
            if parts > 1 {
                linear.extra = beside;
            }
            let grid = [across, self.tokens.div_ceil(tile), parts];
            program.add(kernel, grid, THREADS, many_shared(tile, bits)).with(linear);
            if let (Some(projection), 2..) = (single, parts) {
                let count = self.tokens * projection.matrix.rows / 4;
                program
                    .add(Kernel::AddParts, [count.div_ceil(THREADS), 1, 1], THREADS, 0)
                    .with(beside)
                    .with(projection.out)
                    .with(count)
                    .with(parts)
                    .with(u32::from(projection.add));
            }
        }
    }

    /// Bytes of the scratch memory that the activations take.
    fn packed(&self) -> u64 {
        match self.opening {
            Opening::Packed { .. } => 0,
            _ => packed_bytes(self.tokens, self.columns),
        }
    }

    /// How many parts of a product with `rows` outputs the scratch memory holds behind the activations.
    fn room_for(&self, rows: u32) -> u32 {
        let part = u64::from(self.tokens) * u64::from(rows) * 4;
        let left = self.room.saturating_sub(self.packed());
        u32::try_from(left / part.max(1)).unwrap_or(u32::MAX)
    }

    /// Where parts of a product stand in the scratch memory: behind the activations.
    fn parts(&self) -> Address {
        self.scratch + self.packed()
    }

    /// Matrices of plain numbers. `alone`: nobody has packed the activations yet.
    fn dense(&self, outputs: &[Output], alone: bool, program: &mut Program) {
        let (singles, halves): (Vec<Output>, Vec<Output>) =
            outputs.iter().copied().partition(|it| it.projection.matrix.format == Format::F32);
        let few = self.tokens <= FEW;
        if alone && !halves.is_empty() {
            self.pack(few, program);
        } else if let (true, Opening::Norm { x, weight, eps, normed }) = (alone, self.opening) {
            let norm = super::row::Norm { x, weight, gate: 0, out: normed, width: self.columns, eps };
            super::row::norm(program, norm, self.tokens);
        }
        /// Tokens of a block, of either kernel, and rows of `linear_half`.
        const TOGETHER: u32 = 16;
        const ROWS: u32 = 64;
        let tokens = self.tokens.div_ceil(TOGETHER);
        if !halves.is_empty() {
            let mut linear = self.linear();
            (linear.x, linear.tiles) = (self.scratch, u32::from(!few));
            let mut blocks = 0;
            for (matrix, output) in linear.matrices.iter_mut().zip(&halves) {
                *matrix = output.matrix(blocks);
                blocks += output.projection.matrix.rows.div_ceil(ROWS);
            }
            linear.count = halves.len() as u32;
            program.add(Kernel::LinearHalf, [blocks, tokens, 1], THREADS, HALF_SHARED).with(linear);
        }
        if !singles.is_empty() {
            let Some(x) = self.opening.plain() else { unreachable!("dense matrices take f32 activations") };
            let mut linear = self.linear();
            linear.x = x;
            let blocks = self.place(&mut linear, &singles, 1);
            program.add(Kernel::LinearDense, [blocks, tokens, 1], THREADS, 0).with(linear);
        }
    }
}
