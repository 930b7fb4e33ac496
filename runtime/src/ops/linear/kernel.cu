// y = x Wᵀ on the matrix units, W in 4 or 8 bits as the engine file holds it: tiles of 16 rows, see ops/tiles.
//
// A product does not depend on the order of its columns, so each lane takes eight neighbouring columns of a row, which is one
// word of 4-bit values, and the activations are laid out to match: in every eight columns 0 2 1 3 4 6 5 7.
//
// - linear_one_*: one token. A block has its share of the tiles, its warps take their groups of columns in turn through rings in shared
//   memory that are filled ahead, before the kernel in front has ended, and x is made there, norm included.
// - linear_few: up to 32 tokens, x packed by pack_activations.
// - linear_many: any number, a tile of 128 (or 64) tokens and 128 rows a block; where there are few tiles, of a part of the columns.
//   add_parts puts those together.
// - linear_dense: W in 16 or 32 bits, f32 arithmetic.

enum Format { INT4 = 0, INT8 = 1, F16 = 2, BF16 = 3, F32 = 4 };
enum Ending { STORE = 0, ADD = 1, CONVOLVE = 2, DECAY = 3, BETA = 4, SWIGLU = 5 };
enum Opening { PLAIN = 0, NORM = 1, GATED_NORM = 2 };

struct Matrix {
    const u8 *values;
    const u16 *scales;
    // Null where every zero point is 8.
    const u8 *zeros;
    // [tokens, stride]: where the first row's outputs go.
    float *out;
    // CONVOLVE: taps [4, rows]. DECAY: -exp(A_log). Else unused.
    const float *first;
    // DECAY: dt_bias.
    const float *second;
    // CONVOLVE: the window [3, rows].
    float *window;
    u32 rows;
    u32 stride;
    u32 format;
    // Group size in chunks of 32 columns.
    u32 group;
    u32 bf16_scales;
    u32 ending;
    // The first block that works on it. linear_one: its first tile among all, or the block that takes the first row of a dense one.
    u32 block;
    u32 padding;
};

struct Linear {
    Matrix matrices[4];
    u32 count;
    u32 columns;
    u32 tokens;
    // linear_few: tiles that a block works on: 1, 2, 4 or 8; SWIGLU: 2, one of each matrix. linear_one: grains of every block.
    u32 tiles;
    u32 opening;
    float eps;
    // Width of a head in GATED_NORM.
    u32 width;
    // linear_one: blocks that have one more.
    u32 all;
    // linear_one: [columns] f32. linear_few, linear_many: packed f16 [tokens, columns].
    const void *x;
    // NORM, GATED_NORM.
    const float *weight;
    // GATED_NORM: z.
    const float *gate;
    // NORM: where the normed row goes, or null. SWIGLU in linear_many: packed f16.
    void *extra;
    // linear_few: [tokens, columns / 32] sums of the packed values.
    const float *sums;
};

extern __shared__ uint4 shared[];

const int WARPS = 8;
const u32 NIBBLES = 0x000f000fu;
// 1024 in both halves: a number below 1024 in its low bits adds itself.
const u32 BIAS = 0x64006400u;

INLINE float scale_of(u16 bits, u32 bf16) { return bf16 ? from_bf16(bits) : from_half(bits); }

// The place of column `c` of eight in the packed order.
INLINE int packed_place(int c) { return (c & 4) | ((c & 1) << 1) | ((c >> 1) & 1); }

// Four bits out of each half of `w`, with the bias: one instruction, which the compiler would make two of.
INLINE u32 biased(u32 w) {
    u32 result;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(w), "n"(NIBBLES), "r"(BIAS));
    return result;
}

// Two rows of eight columns as operands of two multiplications: with the bias of 1024 still in them.
INLINE void nibbles(u32 (&a)[2][4], uint2 w) {
    a[0][0] = biased(w.x);
    a[0][1] = biased(w.y);
    a[0][2] = biased(w.x >> 8);
    a[0][3] = biased(w.y >> 8);
    a[1][0] = biased(w.x >> 4);
    a[1][1] = biased(w.y >> 4);
    a[1][2] = biased(w.x >> 12);
    a[1][3] = biased(w.y >> 12);
}

INLINE void bytes(u32 (&a)[4], uint2 w) {
    a[0] = __byte_perm(w.x, BIAS, 0x5250);
    a[1] = __byte_perm(w.y, BIAS, 0x5250);
    a[2] = __byte_perm(w.x, BIAS, 0x5351);
    a[3] = __byte_perm(w.y, BIAS, 0x5351);
}

// What a warp holds of its tile while a group of columns goes by.
template <int CHUNKS, bool EIGHT> struct Group {
    uint2 words[CHUNKS * (EIGHT ? 2 : 1)];
    u32 scales;
    u32 zeros;

    METHOD void load(const Matrix &m, const u8 *values, u32 tile, u32 group, u32 columns, int lane) {
        const int row = lane / 4, quad = lane % 4;
#pragma unroll
        for (int c = 0; c < CHUNKS; c++) {
            const u32 chunk = group * CHUNKS + c;
            if (EIGHT) {
                words[2 * c] = stream_load2(values + (size_t)(chunk * 8 + 2 * quad) * 64 + row * 8);
                words[2 * c + 1] = stream_load2(values + (size_t)(chunk * 8 + 2 * quad + 1) * 64 + row * 8);
            } else {
                words[c] = stream_load2(values + (size_t)(chunk * 4 + quad) * 64 + row * 8);
            }
        }
        const u32 place = tile * (columns / 32 / m.group) + group * CHUNKS / m.group;
        scales = *(const u32 *)(m.scales + (size_t)place * 16 + row * 2);
        zeros = EIGHT ? 0 : m.zeros ? m.zeros[(size_t)place * 8 + row] : 0x88;
    }

    // Scale and bias of rows 2 row and 2 row + 1.
    METHOD void factors(const Matrix &m, float (&scale)[2], float (&bias)[2]) const {
        scale[0] = scale_of((u16)scales, m.bf16_scales);
        scale[1] = scale_of((u16)(scales >> 16), m.bf16_scales);
        bias[0] = EIGHT ? 1152.f : 1024.f + (float)(zeros & 15);
        bias[1] = EIGHT ? 1152.f : 1024.f + (float)(zeros >> 4);
    }
};

// --- one token

// A warp's part of a row of a dense matrix times the packed x in shared memory.
INLINE float dense_part(const Matrix &m, u32 row, u32 columns, const uint4 *x, u32 warp, int lane) {
    float sum = 0.f;
    for (u32 unit = warp * 32 + lane; unit < columns / 8; unit += blockDim.x) {
        const uint4 packed = x[unit];
        const float v[8] = {low_half(packed.x), low_half(packed.y), high_half(packed.x), high_half(packed.y),
                            low_half(packed.z), low_half(packed.w), high_half(packed.z), high_half(packed.w)};
        const size_t place = (size_t)row * columns + unit * 8;
        if (m.format == F32) {
            const float4 a = *(const float4 *)((const float *)m.values + place);
            const float4 b = *(const float4 *)((const float *)m.values + place + 4);
            sum += a.x * v[0] + a.y * v[1] + a.z * v[2] + a.w * v[3];
            sum += b.x * v[4] + b.y * v[5] + b.z * v[6] + b.w * v[7];
        } else {
            const uint4 w = stream_load4((const u16 *)m.values + place);
            const u32 words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const u16 low = (u16)words[i], high = (u16)(words[i] >> 16);
                sum += (m.format == BF16 ? from_bf16(low) : from_half(low)) * v[2 * i];
                sum += (m.format == BF16 ? from_bf16(high) : from_half(high)) * v[2 * i + 1];
            }
        }
    }
    return warp_sum(sum);
}

// A row's product goes where it belongs. `token` is 0 for the endings that move a state on.
INLINE void finish(const Matrix &m, u32 token, u32 row, float y) {
    float *out = m.out + (size_t)token * m.stride + row;
    switch (m.ending) {
    case ADD: *out += y; return;
    case DECAY: *out = m.first[row] * softplus(y + m.second[row]); return;
    case BETA: *out = sigmoid(y); return;
    case CONVOLVE: {
        const u32 rows = m.rows;
        float *window = m.window + row;
        const float a = window[0], b = window[rows], c = window[2 * rows];
        const float *taps = m.first + row;
        float sum = a * taps[0];
        sum = fmaf(b, taps[rows], sum);
        sum = fmaf(c, taps[2 * rows], sum);
        sum = fmaf(y, taps[3 * rows], sum);
        window[0] = b;
        window[rows] = c;
        window[2 * rows] = y;
        *out = silu(sum);
        return;
    }
    default: *out = y; return;
    }
}

// Eight neighbouring columns of x, packed, into shared memory, with the sum of every CHUNKS times 32.
template <int CHUNKS> INLINE void keep_unit(uint4 *x, float *sums, u32 unit, bool valid, const float (&v)[8]) {
    uint4 packed;
    packed.x = to_half2(v[0], v[2]);
    packed.y = to_half2(v[1], v[3]);
    packed.z = to_half2(v[4], v[6]);
    packed.w = to_half2(v[5], v[7]);
    float sum = low_half(packed.x) + high_half(packed.x) + low_half(packed.y) + high_half(packed.y) +
                low_half(packed.z) + high_half(packed.z) + low_half(packed.w) + high_half(packed.w);
    sum = valid ? sum : 0.f;
#pragma unroll
    for (int lane = 1; lane < CHUNKS * 4; lane *= 2) sum += __shfl_xor_sync(FULL_WARP, sum, lane);
    if (valid) {
        x[unit] = packed;
        if (unit % (CHUNKS * 4) == 0) sums[unit / (CHUNKS * 4)] = sum;
    }
}

INLINE void read8(float (&v)[8], const float *from) {
    const float4 a = ((const float4 *)from)[0], b = ((const float4 *)from)[1];
    v[0] = a.x; v[1] = a.y; v[2] = a.z; v[3] = a.w;
    v[4] = b.x; v[5] = b.y; v[6] = b.z; v[7] = b.w;
}

// x in shared memory, after the opening; the kernel in front is waited for on the way. A thread keeps its first eight columns.
template <int CHUNKS> INLINE void open_one(const Linear &p, uint4 *x, float *sums, float *space) {
    const float *from = (const float *)p.x;
    const u32 units = p.columns / 8, thread = threadIdx.x;
    const u32 whole = (units + 31) / 32 * 32, own = p.opening == GATED_NORM ? p.width : p.columns;
    float w[8], v[8] = {};
    if (p.opening != PLAIN && thread < units) read8(w, p.weight + thread * 8 % own);
    wait_for_previous();
    if (thread < units) read8(v, from + thread * 8);
    float factor = 1.f;
    if (p.opening == NORM) {
        float squares = 0.f;
#pragma unroll
        for (int i = 0; i < 8; i++) squares += v[i] * v[i];
        for (u32 unit = thread + blockDim.x; unit < units; unit += blockDim.x) {
            float more[8];
            read8(more, from + unit * 8);
#pragma unroll
            for (int i = 0; i < 8; i++) squares += more[i] * more[i];
        }
        factor = rsqrtf(block_sum(squares, space) / (float)p.columns + p.eps);
    }
    for (u32 unit = thread; unit < whole; unit += blockDim.x) {
        const bool valid = unit < units;
        if (unit != thread && valid) {
            read8(v, from + unit * 8);
            if (p.opening != PLAIN) read8(w, p.weight + unit * 8 % own);
        }
        if (p.opening == NORM && valid) {
#pragma unroll
            for (int i = 0; i < 8; i++) v[i] = v[i] * factor * w[i];
            if (p.extra && blockIdx.x == 0) {
                float4 *normed = (float4 *)p.extra + unit * 2;
                normed[0] = make_float4(v[0], v[1], v[2], v[3]);
                normed[1] = make_float4(v[4], v[5], v[6], v[7]);
            }
        }
        if (p.opening == GATED_NORM) {
            // A head is some neighbouring lanes: width / 8 of them, a power of two up to 32.
            float z[8] = {};
            if (valid) read8(z, p.gate + unit * 8);
            float squares = 0.f;
#pragma unroll
            for (int i = 0; i < 8; i++) squares += v[i] * v[i];
            for (u32 lane = p.width / 16; lane > 0; lane /= 2) squares += __shfl_xor_sync(FULL_WARP, squares, lane);
            const float of_head = rsqrtf(squares / (float)p.width + p.eps);
            if (valid) {
#pragma unroll
                for (int i = 0; i < 8; i++) v[i] = v[i] * of_head * w[i] * silu(z[i]);
            }
        }
        keep_unit<CHUNKS>(x, sums, unit, valid, v);
    }
    __syncthreads();
}

// A warp's own ring of units: a unit is a tile of 16 rows by a group of columns, with its scales and zero points.
template <int CHUNKS, bool EIGHT> struct Unit {
    static const u32 CHUNK = EIGHT ? 512 : 256;
    static const u32 VALUES = CHUNKS * CHUNK;
    static const u32 BYTES = VALUES + 64;

    // Where 16 bytes of a chunk stand, so that the rows that a warp reads at once lie in different banks.
    METHOD static u32 place(u32 unit) { return (unit ^ ((unit >> 2) & 2)) * 16; }
    // Where a lane's rows of a block of columns stand in a chunk.
    METHOD static u32 words(u32 block, u32 row) { return place(block * 4 + row / 2) + row % 2 * 8; }
};

const u32 ONE_WARPS = 12;

// The matrix of the tile `number` of a call, and its place there. Tiles of a pair alternate.
INLINE const Matrix &matrix_of_tile(const Linear &p, bool paired, u32 number, u32 &tile) {
    if (paired) {
        tile = number / 2;
        return p.matrices[number % 2];
    }
    if (p.count == 1) {
        tile = number;
        return p.matrices[0];
    }
    u32 index = 0;
    while (index + 1 < p.count && p.matrices[index + 1].format < F16 && number >= p.matrices[index + 1].block) index++;
    tile = number - p.matrices[index].block;
    return p.matrices[index];
}

// The units that a warp reads, one after the other: neighbours in memory until the matrix changes.
template <int CHUNKS, bool EIGHT> struct Reader {
    typedef Unit<CHUNKS, EIGHT> Own;
    const Linear &p;
    // Where this lane's first 16 bytes of the next unit are, and what it brings beside them: lanes 0 and 1 scales, lane 2 zero points.
    const u8 *values;
    const u8 *side;
    u32 side_step;
    // Units until the matrix changes, and in all.
    u32 run;
    u32 left;
    // The tile that the run ends in.
    u32 number;
    bool paired;

    METHOD Reader(const Linear &linear, bool is_paired, u32 groups, u32 tile, u32 group, u32 count)
        : p(linear), left(count), number(tile), paired(is_paired) {
        enter(groups, group);
    }

    // Goes to unit `group` of the tile `number`.
    METHOD void enter(u32 groups, u32 group) {
        if (left == 0) return;
        const u32 lane = threadIdx.x % 32;
        u32 tile;
        const Matrix &m = matrix_of_tile(p, paired, number, tile);
        const u32 unit = tile * groups + group, ratio = m.group / CHUNKS, of_scales = ratio == 1 ? unit : unit / ratio;
        values = m.values + (size_t)unit * Own::VALUES + lane * 16;
        side = lane < 2 ? (const u8 *)m.scales + (size_t)of_scales * 32 + lane * 16 : m.zeros + (size_t)of_scales * 8;
        side_step = ratio > 1 ? 0 : lane < 2 ? 32 : 8;
        // Groups that are wider than a unit share scales: a run ends with each.
        const u32 tiles = (m.rows + 15) / 16;
        run = ratio > 1 ? ratio - unit % ratio : paired ? groups - group : tiles * groups - unit;
    }

    METHOD void fetch(u32 to, bool has_zeros) {
        if (left > 0) {
            const u32 lane = threadIdx.x % 32;
#pragma unroll
            for (u32 i = 0; i < (Own::VALUES / 16 + 31) / 32; i++) {
                if (Own::VALUES / 16 % 32 == 0 || lane < Own::VALUES / 16) copy_async(to + Own::place(lane) + i * 512, values + i * 512, true);
            }
            if (lane < 2) copy_async(to + Own::VALUES + lane * 16, side, true);
            if (!EIGHT && lane == 2 && has_zeros) copy_async_8(to + Own::VALUES + 32, side);
            values += Own::VALUES;
            side += side_step;
            left--;
            if (--run == 0) next();
        }
        close_copies();
    }

    // Behind the run: the next unit of the same tile, the next tile, or the next matrix.
    METHOD void next() {
        const u32 groups = p.columns / 32 / CHUNKS;
        u32 tile;
        const Matrix &m = matrix_of_tile(p, paired, number, tile);
        const u32 unit = (u32)((values - threadIdx.x % 32 * 16 - m.values) / Own::VALUES);
        const u32 tiles = (m.rows + 15) / 16, tile_now = unit / groups;
        if (tile_now == tile) {
            enter(groups, unit % groups);
        } else {
            number = paired ? number + 1 : tile_now < tiles ? number - tile + tile_now : number - tile + tiles;
            enter(groups, tile_now < tiles && !paired ? unit % groups : 0);
        }
    }
};

template <int CHUNKS, bool EIGHT, int STAGES> INLINE void one(const Linear &p) {
    typedef Unit<CHUNKS, EIGHT> Own;
    char *space = (char *)shared;
    uint4 *x = shared;
    float *sums = (float *)(space + p.columns * 2);
    float *reduce = sums + (p.columns / 32 + 3) / 4 * 4;
    // [warp][not from its beginning, or from it][matrix of a pair][row]: of grains that several warps have parts of.
    float *partial = reduce + 32;
    const u32 front = (p.columns * 2 + (p.columns / 32 + 3) / 4 * 16 + 128 + ONE_WARPS * 2 * 2 * 16 * 4 + 127) / 128 * 128;
    const u32 warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32, row = lane / 4, quad = lane % 4;
    char *ring = space + front + warp * STAGES * Own::BYTES;
    const bool paired = p.matrices[0].ending == SWIGLU, bf16 = p.matrices[0].bf16_scales;
    const bool has_zeros = !EIGHT && p.matrices[0].zeros;
    // Before anything else: what comes before the wait is on the way from kernel to kernel.
    let_next_start();
    // A grain is a tile, or a pair of tiles. Those of this block are neighbours, and its warps divide their units evenly.
    const u32 tiles = paired ? 2 : 1;
    const u32 groups = p.columns / 32 / CHUNKS, of_grain = tiles * groups;
    const u32 first_grain = blockIdx.x * p.tiles + min(blockIdx.x, p.all);
    const u32 units = (p.tiles + (blockIdx.x < p.all ? 1 : 0)) * of_grain;
    const u32 first = units * warp / ONE_WARPS, end = units * (warp + 1) / ONE_WARPS;
    // The grain in hand, the tile in it, and the group in that.
    u32 grain = first / of_grain, group = first - grain * of_grain, which = 0;
    // Whether the warp has the grain in hand from its beginning.
    bool from_beginning = group == 0;
    if (group >= groups) {
        group -= groups;
        which = 1;
    }

    Reader<CHUNKS, EIGHT> reader(p, paired, groups, (first_grain + grain) * tiles + which, group, end - first);
#pragma unroll 1
    for (u32 s = 0; s < STAGES; s++) reader.fetch(shared_address(ring) + s * Own::BYTES, has_zeros);
    // A warp without units, or with fewer parts than it has places for, leaves zeros.
    for (u32 i = threadIdx.x; i < ONE_WARPS * 2 * 2 * 16; i += ONE_WARPS * 32) partial[i] = 0.f;
    // Weights are on their way; only now is the kernel before waited for.
    open_one<CHUNKS>(p, x, sums, reduce);

    // Rows 2 row and 2 row + 1 of a grain are done, by their sums.
    const auto finish_rows = [&](u32 grain, u32 in_tile, float one, float other) {
        u32 tile;
        const Matrix &m = matrix_of_tile(p, paired, (first_grain + grain) * tiles, tile);
        const u32 r = tile * 16 + in_tile;
        if (r >= m.rows) return;
        if (paired) {
            p.matrices[0].out[r] = silu(one) * other;
        } else {
            finish(m, 0, r, one);
        }
    };
    // Where this lane reads: its words of a stage, its columns of x.
    const u32 words = Own::words(EIGHT ? 2 * quad : quad, row), others = EIGHT ? Own::words(2 * quad + 1, row) : 0;
    const uint4 *of_x = x + group * CHUNKS * 4 + quad;
    char *from = ring;
    // Of the first tile and, in a pair, of the second.
    float y[2] = {}, second[2] = {};
    for (u32 left = end - first; left > 0; left--) {
        wait_for_copies<STAGES - 1>();
        __syncwarp();
        // Two sums that do not wait for each other. All eight columns of the operand are x: one of them counts.
        float acc[2][4] = {};
#pragma unroll
        for (int c = 0; c < CHUNKS; c++) {
            const uint4 b = of_x[c * 4];
            u32 a[2][4];
            if (EIGHT) {
                bytes(a[0], *(const uint2 *)(from + c * Own::CHUNK + words));
                bytes(a[1], *(const uint2 *)(from + c * Own::CHUNK + others));
            } else {
                nibbles(a, *(const uint2 *)(from + c * Own::CHUNK + words));
            }
            multiply_add(acc[0], a[0], b.x, b.y);
            multiply_add(acc[1], a[1], b.z, b.w);
        }
        const float sum = sums[group];
        const u32 scales = *(const u32 *)(from + Own::VALUES + row * 4);
        const u32 zeros = has_zeros ? *(const u8 *)(from + Own::VALUES + 32 + row) : 0x88;
        const float bias0 = EIGHT ? 1152.f : 1024.f + (float)(zeros & 15);
        const float bias1 = EIGHT ? 1152.f : 1024.f + (float)(zeros >> 4);
        y[0] = fmaf(scale_of((u16)scales, bf16), acc[0][0] + acc[1][0] - bias0 * sum, y[0]);
        y[1] = fmaf(scale_of((u16)(scales >> 16), bf16), acc[0][2] + acc[1][2] - bias1 * sum, y[1]);
        // The warp has read its unit: its place is free.
        __syncwarp();
        reader.fetch(shared_address(from), has_zeros);
        from += Own::BYTES;
        if (from == ring + STAGES * Own::BYTES) from = ring;
        of_x += CHUNKS * 4;
        if (++group < groups && left > 1) continue;
        // Its part of a tile is done; of a pair the first tile's is kept beside.
        const bool tile_ends = group == groups;
        if (tile_ends) {
            group = 0;
            of_x = x + quad;
        }
        if (paired && which == 0 && left > 1) {
            second[0] = y[0];
            second[1] = y[1];
            y[0] = y[1] = 0.f;
            which = 1;
            continue;
        }
        if (!paired || which == 0) {
            second[0] = y[0];
            second[1] = y[1];
            y[0] = y[1] = 0.f;
        }
        // `second` is what it has of the first tile, y of the other.
        if (quad == 0) {
            if (from_beginning && tile_ends && which == tiles - 1) {
                finish_rows(grain, row * 2, second[0], y[0]);
                finish_rows(grain, row * 2 + 1, second[1], y[1]);
            } else {
                float *to = partial + (warp * 2 + (from_beginning ? 1 : 0)) * 32 + row * 2;
                *(float2 *)to = make_float2(second[0], second[1]);
                *(float2 *)(to + 16) = make_float2(y[0], y[1]);
            }
        }
        y[0] = y[1] = second[0] = second[1] = 0.f;
        which = 0;
        grain++;
        from_beginning = true;
    }
    wait_for_copies<0>();
    __syncthreads();
    // Grains that several warps have parts of.
    const u32 in_tile = threadIdx.x % 16;
    for (u32 g = threadIdx.x / 16; g * of_grain < units; g += ONE_WARPS * 2) {
        const u32 from = (ONE_WARPS * (g * of_grain + 1) - 1) / units;
        const u32 to = (ONE_WARPS * (g * of_grain + of_grain) - 1) / units;
        if (from == to) continue;
        float sum[2] = {};
        for (u32 w = from; w <= to; w++) {
            const float *part = partial + (w * 2 + (units * w / ONE_WARPS <= g * of_grain ? 1 : 0)) * 32 + in_tile;
            sum[0] += part[0];
            sum[1] += part[16];
        }
        finish_rows(g, in_tile, sum[0], sum[1]);
    }
    // Rows of dense matrices: a block has every grid's width one, its warps share the columns.
    for (u32 i = 0; i < p.count; i++) {
        const Matrix &m = p.matrices[i];
        if (m.format < F16) continue;
        for (u32 r = (gridDim.x - 1 - blockIdx.x + m.block) % gridDim.x; r < m.rows; r += gridDim.x) {
            const float part = dense_part(m, r, p.columns, x, warp, lane);
            if (lane == 0) reduce[warp] = part;
            __syncthreads();
            if (threadIdx.x == 0) {
                float y = 0.f;
                for (u32 w = 0; w < ONE_WARPS; w++) y += reduce[w];
                finish(m, 0, r, y);
            }
            __syncthreads();
        }
    }
}

INLINE u32 matrix_of_block(const Linear &p, u32 block) {
    u32 index = 0;
    while (index + 1 < p.count && block >= p.matrices[index + 1].block) index++;
    return index;
}

#define ONE(NAME, CHUNKS, EIGHT, STAGES, BLOCKS) \
    KERNEL __launch_bounds__(ONE_WARPS * 32, BLOCKS) NAME(const __grid_constant__ Linear p) { one<CHUNKS, EIGHT, STAGES>(p); }
// The usual form leaves room for a block of the next kernel beside its own.
ONE(linear_one_int4_128, 4, false, 5, 2)
ONE(linear_one_int4_64, 2, false, 4, 1)
ONE(linear_one_int4_32, 1, false, 4, 1)
ONE(linear_one_int8_128, 4, true, 4, 1)
ONE(linear_one_int8_64, 2, true, 4, 1)
ONE(linear_one_int8_32, 1, true, 4, 1)

// --- few tokens

template <int CHUNKS, bool EIGHT, int NT>
INLINE void few_tile(const Matrix &m, u32 tile, u32 part, u32 parts, const Linear &p, float (&y)[NT][4]) {
    const int lane = threadIdx.x % 32, row = lane / 4, quad = lane % 4;
    const u32 groups = p.columns / 32 / CHUNKS, chunks = p.columns / 32;
    const u32 first = groups * part / parts, end = groups * (part + 1) / parts;
    const u8 *values = m.values + (size_t)tile * p.columns * (EIGHT ? 16 : 8);
    Group<CHUNKS, EIGHT> now, next;
    if (first < end) now.load(m, values, tile, first, p.columns, lane);
    wait_for_previous();
    for (u32 group = first; group < end; group++) {
        if (group + 1 < end) next.load(m, values, tile, group + 1, p.columns, lane);
        float acc[NT][4] = {};
        float sums[NT][2] = {};
#pragma unroll
        for (int c = 0; c < CHUNKS; c++) {
            const u32 chunk = group * CHUNKS + c;
            u32 a[2][4];
            if (EIGHT) {
                bytes(a[0], now.words[2 * c]);
                bytes(a[1], now.words[2 * c + 1]);
            } else {
                nibbles(a, now.words[c]);
            }
#pragma unroll
            for (int n = 0; n < NT; n++) {
                const u32 token = n * 8 + row;
                uint4 b = make_uint4(0, 0, 0, 0);
                if (token < p.tokens) b = ((const uint4 *)p.x)[((size_t)token * p.columns + chunk * 32) / 8 + quad];
                multiply_add(acc[n], a[0], b.x, b.y);
                multiply_add(acc[n], a[1], b.z, b.w);
                const u32 pair = n * 8 + quad * 2;
                if (pair < p.tokens) sums[n][0] += p.sums[(size_t)pair * chunks + chunk];
                if (pair + 1 < p.tokens) sums[n][1] += p.sums[(size_t)(pair + 1) * chunks + chunk];
            }
        }
        float scale[2], bias[2];
        now.factors(m, scale, bias);
#pragma unroll
        for (int n = 0; n < NT; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                y[n][i] = fmaf(scale[i / 2], acc[n][i] - bias[i / 2] * sums[n][i % 2], y[n][i]);
            }
        }
        now = next;
    }
}

template <int NT> INLINE void few(const Linear &p) {
    float *partial = (float *)shared;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const bool paired = p.matrices[0].ending == SWIGLU;
    const u32 parts = WARPS / p.tiles, slot = warp / parts, part = warp % parts;
    const u32 index = paired ? slot % 2 : matrix_of_block(p, blockIdx.x);
    const Matrix &m = p.matrices[index];
    const u32 block = blockIdx.x - (paired ? 0 : m.block);
    const u32 tile = paired ? block * (p.tiles / 2) + slot / 2 : block * p.tiles + slot;
    const u32 last = (m.rows + 15) / 16 - 1;
    const u32 own = tile < last ? tile : last;
    let_next_start();
    float y[NT][4] = {};
    if (m.format == INT8) {
        if (m.group % 4 == 0) {
            few_tile<4, true, NT>(m, own, part, parts, p, y);
        } else if (m.group % 2 == 0) {
            few_tile<2, true, NT>(m, own, part, parts, p, y);
        } else {
            few_tile<1, true, NT>(m, own, part, parts, p, y);
        }
    } else {
        if (m.group % 4 == 0) {
            few_tile<4, false, NT>(m, own, part, parts, p, y);
        } else if (m.group % 2 == 0) {
            few_tile<2, false, NT>(m, own, part, parts, p, y);
        } else {
            few_tile<1, false, NT>(m, own, part, parts, p, y);
        }
    }
    // [warp][row][token]
    const int row = lane / 4, quad = lane % 4;
#pragma unroll
    for (int n = 0; n < NT; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            partial[(warp * 16 + row * 2 + i / 2) * (8 * NT) + n * 8 + quad * 2 + i % 2] = y[n][i];
        }
    }
    __syncthreads();
    const u32 slots = paired ? p.tiles / 2 : p.tiles;
    for (u32 place = threadIdx.x; place < slots * 16 * p.tokens; place += WARPS * 32) {
        const u32 in_tile = place % 16, token = place / 16 % p.tokens, of_slot = place / 16 / p.tokens;
        float sum[2] = {};
        for (u32 which = 0; which < (paired ? 2u : 1u); which++) {
            const u32 from = (paired ? 2 * of_slot + which : of_slot) * parts;
            for (u32 i = 0; i < parts; i++) {
                sum[which] += partial[((from + i) * 16 + in_tile) * (8 * NT) + token];
            }
        }
        const u32 of_row = (block * slots + of_slot) * 16 + in_tile;
        if (of_row >= m.rows) continue;
        if (paired) {
            p.matrices[0].out[(size_t)token * p.matrices[0].stride + of_row] = silu(sum[0]) * sum[1];
        } else {
            finish(m, token, of_row, sum[0]);
        }
    }
}

KERNEL __launch_bounds__(WARPS * 32) linear_few_8(const __grid_constant__ Linear p) { few<1>(p); }
KERNEL __launch_bounds__(WARPS * 32) linear_few_16(const __grid_constant__ Linear p) { few<2>(p); }
KERNEL __launch_bounds__(WARPS * 32) linear_few_32(const __grid_constant__ Linear p) { few<4>(p); }

// --- many tokens

const int MANY_COLUMNS = 64;
const int MANY_STAGES = 4;

INLINE u32 half_scale(u16 bits, u32 bf16) {
    const u32 half = bf16 ? to_half(from_bf16(bits)) : bits;
    return half | half << 16;
}

// Eight tiles of weights for 64 columns in shared memory: values of both chunks of 32, scales and zero points of both.
template <bool EIGHT> struct Slab {
    static const u32 CHUNK = EIGHT ? 512 : 256;
    static const u32 VALUES = 8 * 2 * CHUNK;
    static const u32 BYTES = VALUES + 2 * 8 * 32 + 2 * 8 * 8;

    METHOD static u32 place(u32 unit) { return (unit ^ ((unit >> 2) & 2)) * 16; }

    static const u32 UNITS = CHUNK / 16;
    static const u32 COPIES = VALUES / 16 / 256;

    // What this thread copies in step 0: a unit of a chunk of a tile, and with more than one copy of another tile, too.
    const u8 *values[COPIES];
    u32 to;
    // The first 32 threads bring scales, 16 more zero points.
    const u8 *side;
    u32 side_to;
    u32 side_chunk;
    // 0: nothing to bring.
    u32 side_group;

    METHOD Slab(const Linear &p, bool paired, u32 index, u32 block, int thread) {
        const u32 unit = thread % UNITS, chunk = thread / UNITS % 2, t = thread / UNITS / 2;
        to = (t * 2 + chunk) * CHUNK + place(unit);
        u32 tile;
#pragma unroll
        for (u32 i = 0; i < COPIES; i++) {
            const Matrix &m = matrix_of(p, paired, index, block, t + i * (256 / UNITS / 2), tile);
            values[i] = m.values + (size_t)tile * p.columns * (EIGHT ? 16 : 8) + chunk * CHUNK + unit * 16;
        }
        const bool scale = thread < 32;
        const u32 half = thread % 2, of = scale ? thread / 4 : thread / 2 % 8;
        side_chunk = scale ? thread / 2 % 2 : half;
        const Matrix &m = matrix_of(p, paired, index, block, of, tile);
        const size_t first = (size_t)tile * (p.columns / 32 / m.group);
        side = scale ? (const u8 *)m.scales + first * 32 + half * 16 : m.zeros + first * 8;
        side_to = VALUES + (scale ? (of * 2 + side_chunk) * 32 + half * 16 : 512 + (of * 2 + side_chunk) * 8);
        side_group = scale || (!EIGHT && thread < 48 && m.zeros != nullptr) ? m.group : 0;
    }

    METHOD void fetch(u32 stage, u32 step, u32 columns, int thread) const {
        const u32 chunk = thread / UNITS % 2;
        const bool valid = (step * 2 + chunk) * 32 < columns;
#pragma unroll
        for (u32 i = 0; i < COPIES; i++) {
            copy_async(stage + to + i * (256 / UNITS) * CHUNK, values[i] + (valid ? (size_t)step * 2 * CHUNK : 0), valid);
        }
        const u32 at = step * 2 + side_chunk;
        if (side_group) {
            const bool inside = at * 32 < columns;
            const size_t group = inside ? at / side_group : 0;
            if (thread < 32) {
                // Scales of 0 behind the last column: what stands for weights there is multiplied by them.
                copy_async(stage + side_to, side + group * 32, inside);
            } else if (inside) {
                copy_async_8(stage + side_to, side + group * 8);
            }
        }
    }

    // The matrix of the block's tile `t`, and its place there; behind the last tile the last one again.
    METHOD static const Matrix &matrix_of(const Linear &p, bool paired, u32 index, u32 block, u32 t, u32 &tile) {
        const Matrix &m = p.matrices[paired ? t % 2 : index];
        const u32 last = (m.rows + 15) / 16 - 1;
        tile = paired ? block * 4 + t / 2 : block * 8 + t;
        tile = tile < last ? tile : last;
        return m;
    }
};

template <int MT, bool EIGHT> INLINE void many(const Linear &p) {
    // Warps are 2 along the tokens by 4 along the rows; a warp has MT tiles of 16 tokens and two of 16 rows.
    const int TOKENS = MT * 32;
    const u32 STAGE = TOKENS * 128 + Slab<EIGHT>::BYTES;
    const u32 base = shared_address(shared);
    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    const int down = warp / 4, across = warp % 4;
    const bool paired = p.matrices[0].ending == SWIGLU;
    const u32 index = paired ? 0 : matrix_of_block(p, blockIdx.x);
    const u32 block = blockIdx.x - (paired ? 0 : p.matrices[index].block);
    const u32 first_token = blockIdx.y * TOKENS;
    // Blocks of the third dimension divide the columns.
    const u32 columns = p.columns, all_steps = (columns + MANY_COLUMNS - 1) / MANY_COLUMNS;
    const u32 first_step = all_steps * blockIdx.z / gridDim.z, steps = all_steps * (blockIdx.z + 1) / gridDim.z;
    // Of both tiles: a pair is alike.
    const bool has_zeros = p.matrices[index].zeros != nullptr;
    const u32 bf16 = p.matrices[index].bf16_scales;

    const Slab<EIGHT> weights(p, paired, index, block, thread);
    // Rows of x are 32 apart, and the first of a thread.
    const u32 own_row = thread / 8, own_unit = thread % 8, own_token = first_token + own_row;
    const u16 *tokens = (const u16 *)p.x + (size_t)own_token * columns + own_unit * 8;
    const u32 own_to = own_row * 128 + ((own_unit ^ (own_row & 7)) * 16);

    const auto fetch_weights = [&](u32 step) {
        if (step < steps) {
            const u32 stage = base + (step % MANY_STAGES) * STAGE + TOKENS * 128;
            weights.fetch(stage, step, columns, thread);
        }
    };
    const auto fetch_tokens = [&](u32 step) {
        if (step < steps) {
            const u32 stage = base + (step % MANY_STAGES) * STAGE;
#pragma unroll
            for (int i = 0; i < TOKENS / 32; i++) {
                const bool valid = own_token + i * 32 < p.tokens && step * MANY_COLUMNS + own_unit * 8 < columns;
                const u16 *from = tokens + (size_t)i * 32 * columns + step * MANY_COLUMNS;
                copy_async(stage + own_to + i * 32 * 128, valid ? from : (const u16 *)p.x, valid);
            }
        }
    };
#pragma unroll
    for (int s = 0; s < MANY_STAGES - 1; s++) fetch_weights(first_step + s);
    let_next_start();
    wait_for_previous();
#pragma unroll
    for (int s = 0; s < MANY_STAGES - 1; s++) {
        fetch_tokens(first_step + s);
        close_copies();
    }

    const int row = lane / 4, quad = lane % 4;
    float acc[MT][4][4] = {};
    for (u32 step = first_step; step < steps; step++) {
        wait_for_copies<MANY_STAGES - 2>();
        __syncthreads();
        fetch_weights(step + MANY_STAGES - 1);
        fetch_tokens(step + MANY_STAGES - 1);
        close_copies();
        const u32 stage = base + (step % MANY_STAGES) * STAGE;
        const char *slab = (const char *)shared + (step % MANY_STAGES) * STAGE + TOKENS * 128;
#pragma unroll 1
        for (int c = 0; c < 2; c++) {
            u32 factor[2][2], bias[2][2];
            uint2 words[2][EIGHT ? 2 : 1];
#pragma unroll
            for (int t = 0; t < 2; t++) {
                const u32 of_block = across * 2 + t;
                const char *values = slab + (of_block * 2 + c) * Slab<EIGHT>::CHUNK;
                const auto read = [&](u32 at) {
                    return *(const uint2 *)(values + Slab<EIGHT>::place(at * 4 + row / 2) + row % 2 * 8);
                };
                if (EIGHT) {
                    words[t][0] = read(2 * quad);
                    words[t][EIGHT ? 1 : 0] = read(2 * quad + 1);
                } else {
                    words[t][0] = read(quad);
                }
                const u32 scales = *(const u32 *)(slab + Slab<EIGHT>::VALUES + (of_block * 2 + c) * 32 + row * 4);
                factor[t][0] = half_scale((u16)scales, bf16);
                factor[t][1] = half_scale((u16)(scales >> 16), bf16);
                const u32 z = EIGHT || !has_zeros ? 0x88 : *(const u8 *)(slab + Slab<EIGHT>::VALUES + 512 + (of_block * 2 + c) * 8 + row);
                bias[t][0] = EIGHT ? 0x64806480u : BIAS + (z & 15) * 0x00010001u;
                bias[t][1] = EIGHT ? 0x64806480u : BIAS + (z >> 4) * 0x00010001u;
            }
#pragma unroll
            for (int s = 0; s < 2; s++) {
                u32 b[4][2];
#pragma unroll
                for (int t = 0; t < 2; t++) {
#pragma unroll
                    for (int r = 0; r < 2; r++) {
                        u32 low, high;
                        const uint2 w = words[t][EIGHT ? s : 0];
                        const u32 word = r ? w.y : w.x;
                        if (EIGHT) {
                            low = __byte_perm(word, BIAS, 0x5250);
                            high = __byte_perm(word, BIAS, 0x5351);
                        } else {
                            low = biased(word >> (4 * s));
                            high = biased(word >> (4 * s + 8));
                        }
                        b[t * 2 + r][0] = mul_half2(sub_half2(low, bias[t][r]), factor[t][r]);
                        b[t * 2 + r][1] = mul_half2(sub_half2(high, bias[t][r]), factor[t][r]);
                    }
                }
#pragma unroll
                for (int i = 0; i < MT; i++) {
                    // Matrices: rows 0 to 7 and 8 to 15 of the first half of the columns, then of the second.
                    const int token = down * (MT * 16) + i * 16 + lane % 16;
                    const int unit = c * 4 + s * 2 + lane / 16;
                    u32 a[4];
                    load_matrices(a, stage + token * 128 + ((unit ^ (token & 7)) * 16));
#pragma unroll
                    for (int n = 0; n < 4; n++) multiply_add(acc[i][n], a, b[n][0], b[n][1]);
                }
            }
        }
    }
    wait_for_copies<0>();

    const Matrix *m[2] = {&p.matrices[index], &p.matrices[paired ? 1 : index]};
    u32 tile[2];
    tile[0] = paired ? block * 4 + across : block * 8 + across * 2;
    tile[1] = paired ? tile[0] : tile[0] + 1;
    // Products of n-tiles 2 t and 2 t + 1 are rows 4 quad .. 4 quad + 3 of tile t: 0 and 2 of the first, 1 and 3 of the second.
#pragma unroll
    for (int i = 0; i < MT; i++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const u32 token = first_token + down * (MT * 16) + i * 16 + half * 8 + lane / 4;
            if (token >= p.tokens) continue;
            float4 y[2];
#pragma unroll
            for (int t = 0; t < 2; t++) {
                y[t] = make_float4(acc[i][2 * t][2 * half], acc[i][2 * t + 1][2 * half], acc[i][2 * t][2 * half + 1],
                                   acc[i][2 * t + 1][2 * half + 1]);
            }
            if (paired) {
                const u32 row = tile[0] * 16 + quad * 4;
                if (row >= m[0]->rows) continue;
                const float v0 = silu(y[0].x) * y[1].x, v1 = silu(y[0].y) * y[1].y;
                const float v2 = silu(y[0].z) * y[1].z, v3 = silu(y[0].w) * y[1].w;
                // In the order in which linear_many reads its x.
                u16 *to = (u16 *)p.extra + (size_t)token * m[0]->rows + row / 32 * 32;
                const u32 pair = row % 8 / 4 * 2, eight = row % 32 / 8;
                *(u32 *)(to + pair * 8 + eight * 2) = to_half2(v0, v2);
                *(u32 *)(to + (pair + 1) * 8 + eight * 2) = to_half2(v1, v3);
                continue;
            }
#pragma unroll
            for (int t = 0; t < 2; t++) {
                const u32 row = tile[t] * 16 + quad * 4;
                if (gridDim.z > 1) {
                    // A part, for add_parts.
                    float *part = (float *)p.extra + ((size_t)blockIdx.z * p.tokens + token) * m[t]->rows + row;
                    if (row < m[t]->rows) *(float4 *)part = y[t];
                    continue;
                }
                float *out = m[t]->out + (size_t)token * m[t]->stride + row;
                if (row + 3 < m[t]->rows && m[t]->stride % 4 == 0) {
                    if (m[t]->ending == ADD) {
                        const float4 old = *(const float4 *)out;
                        y[t].x += old.x; y[t].y += old.y; y[t].z += old.z; y[t].w += old.w;
                    }
                    *(float4 *)out = y[t];
                } else {
                    const float v[4] = {y[t].x, y[t].y, y[t].z, y[t].w};
#pragma unroll
                    for (int r = 0; r < 4; r++) {
                        if (row + r < m[t]->rows) out[r] = m[t]->ending == ADD ? out[r] + v[r] : v[r];
                    }
                }
            }
        }
    }
}

KERNEL __launch_bounds__(256, 2) linear_many_int4_128(const __grid_constant__ Linear p) { many<4, false>(p); }
KERNEL __launch_bounds__(256, 2) linear_many_int4_64(const __grid_constant__ Linear p) { many<2, false>(p); }
KERNEL __launch_bounds__(256, 2) linear_many_int8_128(const __grid_constant__ Linear p) { many<4, true>(p); }
KERNEL __launch_bounds__(256, 2) linear_many_int8_64(const __grid_constant__ Linear p) { many<2, true>(p); }

// What blocks along the columns have of a product, put together: `count` fours of numbers in each part.
KERNEL __launch_bounds__(256) add_parts(const float4 *parts, float4 *out, u32 count, u32 number, u32 add) {
    let_next_start();
    wait_for_previous();
    const u32 i = blockIdx.x * 256 + threadIdx.x;
    if (i >= count) return;
    float4 sum = add ? out[i] : make_float4(0.f, 0.f, 0.f, 0.f);
    for (u32 part = 0; part < number; part++) {
        const float4 v = parts[(size_t)part * count + i];
        sum.x += v.x; sum.y += v.y; sum.z += v.z; sum.w += v.w;
    }
    out[i] = sum;
}

// --- dense

const int DENSE_TOKENS = 16;

// x is [tokens, columns] f32; a warp has one row and 16 tokens.
KERNEL __launch_bounds__(256) linear_dense(const __grid_constant__ Linear p) {
    let_next_start();
    wait_for_previous();
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const Matrix &m = p.matrices[matrix_of_block(p, blockIdx.x)];
    const u32 row = (blockIdx.x - m.block) * WARPS + warp, first = blockIdx.y * DENSE_TOKENS;
    if (row >= m.rows) return;
    const u32 columns = p.columns;
    const float *x = (const float *)p.x;
    float sums[DENSE_TOKENS] = {};
    for (u32 column = lane * 4; column < columns; column += 128) {
        float w[4];
        const size_t place = (size_t)row * columns + column;
        if (m.format == F32) {
            const float4 v = *(const float4 *)((const float *)m.values + place);
            w[0] = v.x; w[1] = v.y; w[2] = v.z; w[3] = v.w;
        } else {
            const uint2 v = *(const uint2 *)((const u16 *)m.values + place);
            const u16 bits[4] = {(u16)v.x, (u16)(v.x >> 16), (u16)v.y, (u16)(v.y >> 16)};
#pragma unroll
            for (int i = 0; i < 4; i++) w[i] = m.format == BF16 ? from_bf16(bits[i]) : from_half(bits[i]);
        }
#pragma unroll
        for (int t = 0; t < DENSE_TOKENS; t++) {
            if (first + t >= p.tokens) break;
            const float4 v = *(const float4 *)(x + (size_t)(first + t) * columns + column);
            sums[t] += w[0] * v.x + w[1] * v.y + w[2] * v.z + w[3] * v.w;
        }
    }
#pragma unroll
    for (int t = 0; t < DENSE_TOKENS; t++) {
        const float y = warp_sum(sums[t]);
        if (lane == 0 && first + t < p.tokens) finish(m, first + t, row, y);
    }
}

const int HALF_TOKENS = 16;
const int HALF_ROWS = 64;

// W in 16 bits for several tokens, in halves: 16 tokens by 64 rows a block, whose warps share the columns. x is packed; `tiles` says
// in which order: 0 as linear_few has it, 1 as linear_many does.
KERNEL __launch_bounds__(256) linear_half(const __grid_constant__ Linear p) {
    let_next_start();
    wait_for_previous();
    float *parts = (float *)shared;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = lane / 4, quad = lane % 4;
    const Matrix &m = p.matrices[matrix_of_block(p, blockIdx.x)];
    const u32 first_row = (blockIdx.x - m.block) * HALF_ROWS, first_token = blockIdx.y * HALF_TOKENS;
    const u32 chunks = p.columns / 32;
    float acc[HALF_ROWS / 8][4] = {};
    for (u32 chunk = warp; chunk < chunks; chunk += WARPS) {
        u32 a[2][4];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const u32 token = first_token + h * 8 + row;
            uint4 v = make_uint4(0, 0, 0, 0);
            if (token < p.tokens) {
                const u16 *from = (const u16 *)p.x + (size_t)token * p.columns + chunk * 32;
                if (p.tiles == 0) {
                    v = *(const uint4 *)(from + quad * 8);
                } else {
                    v.x = *(const u32 *)(from + quad * 2);
                    v.y = *(const u32 *)(from + 8 + quad * 2);
                    v.z = *(const u32 *)(from + 16 + quad * 2);
                    v.w = *(const u32 *)(from + 24 + quad * 2);
                }
            }
            a[0][h] = v.x;
            a[0][h + 2] = v.y;
            a[1][h] = v.z;
            a[1][h + 2] = v.w;
        }
#pragma unroll
        for (int n = 0; n < HALF_ROWS / 8; n++) {
            const u32 r = first_row + n * 8 + row;
            uint4 w = make_uint4(0, 0, 0, 0);
            if (r < m.rows) w = *(const uint4 *)((const u16 *)m.values + (size_t)r * p.columns + chunk * 32 + quad * 8);
            if (m.format == BF16) {
                w.x = to_half2(__uint_as_float(w.x << 16), __uint_as_float(w.x & 0xffff0000u));
                w.y = to_half2(__uint_as_float(w.y << 16), __uint_as_float(w.y & 0xffff0000u));
                w.z = to_half2(__uint_as_float(w.z << 16), __uint_as_float(w.z & 0xffff0000u));
                w.w = to_half2(__uint_as_float(w.w << 16), __uint_as_float(w.w & 0xffff0000u));
            }
            multiply_add(acc[n], a[0], __byte_perm(w.x, w.y, 0x5410), __byte_perm(w.x, w.y, 0x7632));
            multiply_add(acc[n], a[1], __byte_perm(w.z, w.w, 0x5410), __byte_perm(w.z, w.w, 0x7632));
        }
    }
    // [warp][token][row]
#pragma unroll
    for (int n = 0; n < HALF_ROWS / 8; n++) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float *to = parts + (warp * HALF_TOKENS + h * 8 + row) * HALF_ROWS + n * 8 + quad * 2;
            *(float2 *)to = make_float2(acc[n][h * 2], acc[n][h * 2 + 1]);
        }
    }
    __syncthreads();
    for (u32 place = threadIdx.x; place < HALF_TOKENS * HALF_ROWS; place += WARPS * 32) {
        float y = 0.f;
#pragma unroll
        for (int w = 0; w < WARPS; w++) y += parts[w * HALF_TOKENS * HALF_ROWS + place];
        const u32 token = first_token + place / HALF_ROWS, r = first_row + place % HALF_ROWS;
        if (token < p.tokens && r < m.rows) finish(m, token, r, y);
    }
}
