// y = x Wᵀ for several tokens; see format.cuh.
//
// - linear_few: up to 32 tokens, x packed by pack_activations.
// - linear_many: any number, a tile of 128 (or 64) tokens and 128 rows a block; where there are few tiles, of a part of the columns.
//   add_parts puts those together.
// - linear_dense, linear_half: W in 16 or 32 bits.

const int WARPS = 8;

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

INLINE u32 matrix_of_block(const Linear &p, u32 block) {
    u32 index = 0;
    while (index + 1 < p.count && block >= p.matrices[index + 1].block) index++;
    return index;
}

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
