// Causal attention with grouped queries over the blocked KV cache: keys [block, kv head, dim, 64], values
// [block, kv head, 64, dim], in int8 with the scales of a head's 64 tokens behind its values. Between the blocks of a layer stand those of
// other layers: `block_stride` bytes from one to the next.
//
// What kernels of any number of tokens know of the cache, and attention of single tokens: the context is divided between teams of four
// warps, and its tokens between those. f32 arithmetic.

enum CacheType { CACHE_F16 = 0, CACHE_F32 = 1, CACHE_INT8 = 2 };

const u32 BLOCK = 64;

INLINE u32 cache_width(u32 type) { return type == CACHE_F16 ? 2 : type == CACHE_F32 ? 4 : 1; }

// Bytes of one KV head in a block.
INLINE size_t head_block_bytes(u32 type, u32 dim) {
    return (size_t)BLOCK * dim * cache_width(type) + (type == CACHE_INT8 ? BLOCK * 4 : 0);
}

// A vector of a head into its place in a block of the cache, by a warp.
INLINE void keep(u8 *cache, u32 type, u32 block_stride, u32 head, u32 dim, u32 position, bool keys, const float *vector, u32 lane) {
    const u32 slot = position % BLOCK;
    u8 *block = cache + (size_t)(position / BLOCK) * block_stride + head * head_block_bytes(type, dim);
    float scale = 0.f, steps = 0.f;
    if (type == CACHE_INT8) {
        // Magnitudes order as their bits do, NaN above all: a vector with a NaN gets a NaN for its scale.
        u32 bits = 0;
#pragma unroll 2
        for (u32 i = lane; i < dim; i += 32) bits = max(bits, __float_as_uint(vector[i]) & 0x7fffffffu);
        const float top = __uint_as_float(__reduce_max_sync(FULL_WARP, bits));
        scale = top < 1e-30f ? 0.f : top / 127.f;
        steps = scale > 0.f ? 1.f / scale : 0.f;
        if (lane == 0) ((float *)(block + (size_t)BLOCK * dim))[slot] = scale;
    }
#pragma unroll 2
    for (u32 i = lane; i < dim; i += 32) {
        const u32 at = keys ? i * BLOCK + slot : slot * dim + i;
        const float v = vector[i];
        if (type == CACHE_F16) {
            ((u16 *)block)[at] = to_half(v);
        } else if (type == CACHE_F32) {
            ((float *)block)[at] = v;
        } else {
            block[at] = (u8)(i8)__float2int_rn(v * steps);
        }
    }
}

struct Attend {
    // Strided heads of the call's first token.
    const float *queries;
    const u8 *keys;
    const u8 *values;
    // Null, or strided as the queries: the output is multiplied by its sigmoid.
    const float *gate;
    // [tokens, heads, dim].
    float *out;
    // What teams leave for attend_merge, where the context is divided: [tokens, row groups, splits, R (dim + 2)].
    float *partial;
    // Position of the first token.
    const u32 *first;
    u32 tokens;
    u32 heads;
    u32 block_stride;
    u32 group;
    u32 token_stride;
    u32 head_stride;
    u32 type;
    // Teams along the context.
    u32 splits;
    u32 dim;
    // Query rows that a team of attend_few has together: R.
    u32 rows;
    // attend_few of one token: null, or norms, rotation and the new key and value are still to be done, and these are what they need.
    // [dim] each.
    const float *query_norm;
    const float *key_norm;
    // [rotary / 2] each.
    const float *cos;
    const float *sin;
    // [kv heads, dim] each.
    const float *new_keys;
    const float *new_values;
    u32 rotary;
    float eps;
};

// Eight neighbouring values of the cache, as they are stored.
template <int TYPE> struct Eight {
    uint4 words[TYPE == CACHE_F32 ? 2 : 1];

    METHOD void load(const u8 *from, size_t at) {
        if (TYPE == CACHE_INT8) {
            const uint2 w = *(const uint2 *)(from + at);
            words[0].x = w.x;
            words[0].y = w.y;
        } else {
            const uint4 *source = (const uint4 *)(from + at * (TYPE == CACHE_F16 ? 2 : 4));
            words[0] = source[0];
            if (TYPE == CACHE_F32) words[TYPE == CACHE_F32 ? 1 : 0] = source[1];
        }
    }

    METHOD void values(float (&v)[8]) const {
        if (TYPE == CACHE_F16) {
            const u32 w[4] = {words[0].x, words[0].y, words[0].z, words[0].w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                v[2 * i] = low_half(w[i]);
                v[2 * i + 1] = high_half(w[i]);
            }
        } else if (TYPE == CACHE_F32) {
            const uint4 a = words[0], b = words[TYPE == CACHE_F32 ? 1 : 0];
            v[0] = __uint_as_float(a.x); v[1] = __uint_as_float(a.y); v[2] = __uint_as_float(a.z); v[3] = __uint_as_float(a.w);
            v[4] = __uint_as_float(b.x); v[5] = __uint_as_float(b.y); v[6] = __uint_as_float(b.z); v[7] = __uint_as_float(b.w);
        } else {
#pragma unroll
            for (int i = 0; i < 8; i++) v[i] = (float)(i8)((i < 4 ? words[0].x : words[0].y) >> (8 * (i % 4)));
        }
    }
};

template <int TYPE> INLINE void read_cache(float (&v)[8], const u8 *from, size_t at) {
    Eight<TYPE> eight;
    eight.load(from, at);
    eight.values(v);
}

const int FEW_WARPS = 4;
const u32 QUARTER = BLOCK / FEW_WARPS;
const float LOG2_E = 1.4426950408889634f;

// The larger of two, NaN if one is.
INLINE float larger(float a, float b) { return b < a ? a : b; }

// A head on its way from memory, DIM / 32 values a lane, with what norms and turns it.
template <int DIM> struct Head {
    float x[DIM / 32], weight[DIM / 32], cos[DIM / 64], sin[DIM / 64];

    METHOD void load(const float *from) {
#pragma unroll
        for (int k = 0; k < DIM / 32; k++) x[k] = from[k * 32 + thread_index() % 32];
    }

    METHOD void load(const float *from, const float *of_norm, const Attend &p) {
        const u32 lane = thread_index() % 32;
        load(from);
#pragma unroll
        for (int k = 0; k < DIM / 32; k++) weight[k] = of_norm[k * 32 + lane];
#pragma unroll
        for (int k = 0; k < DIM / 64; k++) {
            const u32 j = k * 32 + lane;
            if (j < p.rotary / 2) {
                cos[k] = p.cos[j];
                sin[k] = p.sin[j];
            }
        }
    }

    // Into shared memory, `step` values apart.
    METHOD void keep(float *vector, u32 step) const {
#pragma unroll
        for (int k = 0; k < DIM / 32; k++) vector[(k * 32 + thread_index() % 32) * step] = x[k];
        __syncwarp();
    }

    // The same, normed and turned, times `scale`.
    METHOD void prepare(float *vector, u32 step, float scale, const Attend &p) const {
        const u32 lane = thread_index() % 32, half = p.rotary / 2;
        float squares = 0.f;
#pragma unroll
        for (int k = 0; k < DIM / 32; k++) squares = fmaf(x[k], x[k], squares);
        const float factor = rsqrtf(warp_sum(squares) / (float)DIM + p.eps);
#pragma unroll
        for (int k = 0; k < DIM / 32; k++) vector[(k * 32 + lane) * step] = x[k] * factor * weight[k] * scale;
        __syncwarp();
#pragma unroll
        for (int k = 0; k < DIM / 64; k++) {
            const u32 j = k * 32 + lane;
            if (j < half) {
                const float a = vector[j * step], b = vector[(j + half) * step];
                vector[j * step] = a * cos[k] - b * sin[k];
                vector[(j + half) * step] = b * cos[k] + a * sin[k];
            }
        }
        __syncwarp();
    }
};

// Shared memory of a team.
template <int DIM, int R> struct TeamSpace {
    // What warps have of the result. Before that its first rows hold queries and weights, and those of the last two warps the new key
    // and value.
    float merged[FEW_WARPS][R][DIM];
    float tops[FEW_WARPS][R][2];

    // [dim][row].
    METHOD float (*queries())[R] { return (float (*)[R])merged[0]; }
    // [token][row] of a warp's tokens.
    METHOD float (*weights(int warp))[R] { return (float (*)[R])((float *)merged[1] + warp * (QUARTER * R)); }
};

// Query rows R of one token and KV head: those of the group `across`. A warp has 16 tokens of a block of the cache at a time.
// Exponents are powers of two. `early`: the cache may be read before `wait`, which waits for what is in front. `sync` waits for the
// team.
template <int TYPE, int DIM, int R, class Wait, class Sync>
INLINE void attend_few(const Attend &p, u32 split, u32 across, u32 token, bool early, TeamSpace<DIM, R> &space, Wait wait, Sync sync) {
    const int LANES = DIM / 8;       // lanes that hold one vector
    const int TOGETHER = 32 / LANES; // tokens whose values a warp reads at once
    const int OF_ROW = 32 / R;       // lanes that know one row's scores
    const int SOME = 4;              // reads that are made at once
    const int RUNS = DIM / 16 / SOME; // of so many, for the keys of a warp's tokens, and as many for their values
    const int warp = thread_index() / 32 % FEW_WARPS, lane = thread_index() % 32, thread = warp * 32 + lane;
    const u32 parts = (p.group + R - 1) / R, kv_head = across / parts;
    const u32 head = kv_head * p.group + across % parts * R;
    const u32 rows = min((u32)R, (kv_head + 1) * p.group - head);
    const size_t head_block = head_block_bytes(TYPE, DIM);
    const int vector = lane / LANES, place = lane % LANES;
    const int side = lane % 2, down = lane / 2, row = lane / OF_ROW;
    // Runs of keys, then of values: while one is looked at, the next is on its way.
    Eight<TYPE> ahead[2][SOME];
    const auto of_head = [&](u32 block) { return (size_t)block * p.block_stride + kv_head * head_block; };
    const auto fetch = [&](int run, u32 block) {
        const u8 *from = (run < RUNS ? p.keys : p.values) + of_head(block);
#pragma unroll
        for (int i = 0; i < SOME; i++) {
            const int j = run % RUNS * SOME + i;
            const u32 of_keys = (down + 16 * j) * BLOCK + warp * QUARTER + side * 8;
            const u32 of_values = (warp * QUARTER + j * TOGETHER + vector) * DIM + place * 8;
            ahead[run % 2][i].load(from, run < RUNS ? of_keys : of_values);
        }
    };
    // Positions are sent before the pass, and of a single token's context only the last block is written in it: by this step.
    const u32 length = *p.first + token + 1, blocks = (length + BLOCK - 1) / BLOCK;
    const bool is_ahead = early && p.query_norm && split + 1 < blocks;
    if (is_ahead) {
        fetch(0, split);
        fetch(1, split);
    }
    wait();
    const float scale = rsqrtf((float)DIM) * LOG2_E;
    if (p.query_norm) {
        // Whoever has the last block of the context brings the new key and value into it.
        const bool brings = split == (blocks - 1) % p.splits && warp >= FEW_WARPS - 2, is_key = warp == FEW_WARPS - 1;
        Head<DIM> query, other;
        if (warp < rows) query.load(p.queries + (size_t)token * p.token_stride + (head + warp) * p.head_stride, p.query_norm, p);
        if (brings && is_key) other.load(p.new_keys + kv_head * DIM, p.key_norm, p);
        if (brings && !is_key) other.load(p.new_values + kv_head * DIM);
        if (warp < rows) {
            query.prepare(&space.queries()[0][warp], R, scale, p);
        } else if (warp < R) {
            for (u32 d = lane; d < DIM; d += 32) space.queries()[d][warp] = 0.f;
        }
        if (brings) {
            float *vector = &space.merged[warp][0][0];
            if (is_key) {
                other.prepare(vector, 1, 1.f, p);
            } else {
                other.keep(vector, 1);
            }
            keep((u8 *)(is_key ? p.keys : p.values), TYPE, p.block_stride, kv_head, DIM, length - 1, is_key, vector, lane);
        }
    } else {
        for (u32 i = thread; i < DIM * R; i += FEW_WARPS * 32) {
            const u32 r = i / DIM, d = i % DIM;
            const float q = r < rows ? p.queries[(size_t)token * p.token_stride + (head + r) * p.head_stride + d] : 0.f;
            space.queries()[d][r] = q * scale;
        }
    }
    sync();
    // Of the row that this lane knows.
    float most = -INFINITY, total = 0.f;
    float sum[R][8] = {};
    const auto start_of = [&](u32 block) { return block * BLOCK + warp * QUARTER; };
    if (!is_ahead && start_of(split) < length) {
        fetch(0, split);
        fetch(1, split);
    }
    for (u32 block = split; start_of(block) < length; block += p.splits) {
        const u32 held = min(QUARTER, length - start_of(block));
        const size_t at = of_head(block);
        const float *key_scales = (const float *)(p.keys + at + BLOCK * DIM), *value_scales = (const float *)(p.values + at + BLOCK * DIM);
        const bool goes_on = start_of(block + p.splits) < length;
        const auto fetch_behind = [&](int run) {
            if (run + 2 < 2 * RUNS) {
                fetch(run + 2, block);
            } else if (goes_on) {
                fetch(run + 2 - 2 * RUNS, block + p.splits);
            }
        };
        // Scores of tokens 8 side .. + 7 of the warp's 16, from a sixteenth of the dimensions.
        float scores[R][8] = {};
#pragma unroll
        for (int run = 0; run < RUNS; run++) {
#pragma unroll
            for (int i = 0; i < SOME; i++) {
                const float(&of_rows)[R] = space.queries()[down + 16 * (run * SOME + i)];
                float k[8];
                ahead[run % 2][i].values(k);
#pragma unroll
                for (int r = 0; r < R; r++) {
#pragma unroll
                    for (int i = 0; i < 8; i++) scores[r][i] = fmaf(of_rows[r], k[i], scores[r][i]);
                }
            }
            fetch_behind(run);
        }
        // Over all dimensions: lanes give rows away until each has one, then add what they have of it.
        float own[8];
        if (R == 4) {
            float half[2][8];
            const bool upper = lane & 16, odd = lane & 8;
#pragma unroll
            for (int r = 0; r < 2; r++) {
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    const float away = upper ? scores[r][i] : scores[R - 2 + r][i];
                    const float kept = upper ? scores[R - 2 + r][i] : scores[r][i];
                    half[r][i] = kept + __shfl_xor_sync(FULL_WARP, away, 16);
                }
            }
#pragma unroll
            for (int i = 0; i < 8; i++) {
                own[i] = (odd ? half[1][i] : half[0][i]) + __shfl_xor_sync(FULL_WARP, odd ? half[0][i] : half[1][i], 8);
            }
        } else {
            const bool upper = lane & 16;
#pragma unroll
            for (int i = 0; i < 8; i++) {
                own[i] = (upper ? scores[1][i] : scores[0][i]) + __shfl_xor_sync(FULL_WARP, upper ? scores[0][i] : scores[1][i], 16);
                own[i] += __shfl_xor_sync(FULL_WARP, own[i], 8);
            }
        }
        float largest = -INFINITY;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            own[i] += __shfl_xor_sync(FULL_WARP, own[i], 4);
            own[i] += __shfl_xor_sync(FULL_WARP, own[i], 2);
            const u32 t = side * 8 + i;
            if (TYPE == CACHE_INT8) own[i] *= key_scales[warp * QUARTER + t];
            // What stands behind the last token may be anything.
            own[i] = t < held ? own[i] : -INFINITY;
            largest = larger(largest, own[i]);
        }
        largest = larger(largest, __shfl_xor_sync(FULL_WARP, largest, 1));
        const float before = most;
        most = larger(before, largest);
        const float fade = exp2f(before - most);
        float added = 0.f;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            own[i] = exp2f(own[i] - most);
            added += own[i];
        }
        total = total * fade + added + __shfl_xor_sync(FULL_WARP, added, 1);
        if ((lane & 6) == 0) {
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const u32 t = side * 8 + i;
                float w = own[i];
                if (TYPE == CACHE_INT8 && t < held) w *= value_scales[warp * QUARTER + t];
                space.weights(warp)[t][row] = w;
            }
        }
#pragma unroll
        for (int r = 0; r < R; r++) {
            const float of_row = __shfl_sync(FULL_WARP, fade, r * OF_ROW);
#pragma unroll
            for (int i = 0; i < 8; i++) sum[r][i] *= of_row;
        }
        __syncwarp();
#pragma unroll
        for (int run = RUNS; run < 2 * RUNS; run++) {
#pragma unroll
            for (int i = 0; i < SOME; i++) {
                const u32 t = (run % RUNS * SOME + i) * TOGETHER + vector;
                if (t < held) {
                    float v[8];
                    ahead[run % 2][i].values(v);
#pragma unroll
                    for (int r = 0; r < R; r++) {
                        const float w = space.weights(warp)[t][r];
#pragma unroll
                        for (int i = 0; i < 8; i++) sum[r][i] = fmaf(w, v[i], sum[r][i]);
                    }
                }
            }
            fetch_behind(run);
        }
        __syncwarp();
    }
    // Queries are read.
    sync();
    // Lanes that have read other tokens of the same dimensions, then the warps.
#pragma unroll
    for (int r = 0; r < R; r++) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
#pragma unroll
            for (int step = LANES; step < 32; step *= 2) sum[r][i] += __shfl_xor_sync(FULL_WARP, sum[r][i], step);
        }
        if (lane < LANES) {
            float4 *to = (float4 *)&space.merged[warp][r][lane * 8];
            to[0] = make_float4(sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
            to[1] = make_float4(sum[r][4], sum[r][5], sum[r][6], sum[r][7]);
        }
    }
    if (lane % OF_ROW == 0) {
        space.tops[warp][row][0] = most;
        space.tops[warp][row][1] = total;
    }
    sync();
    const u32 number = token * (p.heads / p.group * parts) + across;
    // Of each split: rows of sums, then of largest scores and totals.
    const u32 length_of_part = R * (DIM + 2);
    float *partial = p.partial + (size_t)number * p.splits * length_of_part;
    const auto finish = [&](u32 r, u32 d, float4 y) {
        if (p.gate) {
            const float4 g = *(const float4 *)(p.gate + (size_t)token * p.token_stride + (head + r) * p.head_stride + d);
            y.x *= sigmoid(g.x); y.y *= sigmoid(g.y); y.z *= sigmoid(g.z); y.w *= sigmoid(g.w);
        }
        *(float4 *)(p.out + ((size_t)token * p.heads + head + r) * DIM + d) = y;
    };
    for (u32 i = thread; i < R * DIM / 4; i += FEW_WARPS * 32) {
        const u32 r = i / (DIM / 4), d = i % (DIM / 4) * 4;
        float highest = -INFINITY, weight = 0.f;
        float4 value = make_float4(0.f, 0.f, 0.f, 0.f);
#pragma unroll
        for (int w = 0; w < FEW_WARPS; w++) highest = larger(highest, space.tops[w][r][0]);
#pragma unroll
        for (int w = 0; w < FEW_WARPS; w++) {
            const float factor = space.tops[w][r][0] == -INFINITY ? 0.f : exp2f(space.tops[w][r][0] - highest);
            const float4 v = *(const float4 *)&space.merged[w][r][d];
            weight += factor * space.tops[w][r][1];
            value.x += factor * v.x; value.y += factor * v.y; value.z += factor * v.z; value.w += factor * v.w;
        }
        if (p.splits == 1) {
            value.x /= weight; value.y /= weight; value.z /= weight; value.w /= weight;
            if (r < rows) finish(r, d, value);
        } else {
            float *to = partial + split * length_of_part;
            *(float4 *)(to + r * DIM + d) = value;
            if (d == 0) {
                to[R * DIM + r] = highest;
                to[R * DIM + R + r] = weight;
            }
        }
    }
}

// Puts together what teams have of 32 neighbouring values of a head of a token: by a warp, `number` counts [token, head, part]. As
// many splits as 64.
INLINE void attend_merge(const Attend &p, u32 number) {
    const u32 lane = thread_index() % 32, dim = p.dim, wide = dim / 32;
    const u32 part = number % wide, head = number / wide % p.heads, token = number / wide / p.heads;
    const u32 parts = (p.group + p.rows - 1) / p.rows, in_group = head % p.group;
    const u32 across = head / p.group * parts + in_group / p.rows, r = in_group % p.rows, d = part * 32 + lane;
    const u32 length = p.rows * (dim + 2);
    const float *from = p.partial + ((size_t)token * (p.heads / p.group * parts) + across) * p.splits * length;
    // Those that have tokens.
    const u32 splits = min(p.splits, (*p.first + token) / BLOCK + 1);
    const int SOME = 16;
    float gate = 0.f, tops[2], totals[2], factors[2], ahead[SOME];
    const auto fetch = [&](u32 base) {
#pragma unroll
        for (u32 i = 0; i < SOME; i++) ahead[i] = base + i < splits ? from[(size_t)(base + i) * length + r * dim + d] : 0.f;
    };
    fetch(0);
    if (p.gate) gate = p.gate[(size_t)token * p.token_stride + head * p.head_stride + d];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const u32 split = i * 32 + lane;
        const float *own = from + (size_t)split * length + p.rows * dim + r;
        tops[i] = split < splits ? own[0] : -INFINITY;
        totals[i] = split < splits ? own[p.rows] : 0.f;
    }
    float highest = larger(tops[0], tops[1]);
#pragma unroll
    for (int step = 1; step < 32; step *= 2) highest = larger(highest, __shfl_xor_sync(FULL_WARP, highest, step));
#pragma unroll
    for (int i = 0; i < 2; i++) factors[i] = tops[i] == -INFINITY ? 0.f : exp2f(tops[i] - highest);
    const float weight = warp_sum(factors[0] * totals[0] + factors[1] * totals[1]);
    float value = 0.f;
    for (u32 base = 0; base < splits; base += SOME) {
        float v[SOME];
#pragma unroll
        for (u32 i = 0; i < SOME; i++) v[i] = ahead[i];
        fetch(base + SOME);
#pragma unroll
        for (u32 i = 0; i < SOME; i++) {
            const float factor = __shfl_sync(FULL_WARP, base < 32 ? factors[0] : factors[1], (base + i) % 32);
            value = base + i < splits ? fmaf(factor, v[i], value) : value;
        }
    }
    value /= weight;
    if (p.gate) value *= sigmoid(gate);
    p.out[((size_t)token * p.heads + head) * dim + d] = value;
}
