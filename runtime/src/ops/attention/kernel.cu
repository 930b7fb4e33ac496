// Causal attention with grouped queries over the blocked KV cache: keys [block, kv head, dim, 64], values
// [block, kv head, 64, dim], in int8 with the scales of a head's 64 tokens behind its values. Between the blocks of a layer stand those of
// other layers: `block_stride` bytes from one to the next.
//
// - heads: norm and rotation of queries and keys, and new keys and values into the cache.
// - attend_few_*: one token a block, the context divided between blocks and its tokens between warps, f32 arithmetic.
// - attend_many_*: 64 rows (tokens times heads of a group) a block, on the matrix units.

enum CacheType { CACHE_F16 = 0, CACHE_F32 = 1, CACHE_INT8 = 2 };

const u32 BLOCK = 64;

INLINE u32 cache_width(u32 type) { return type == CACHE_F16 ? 2 : type == CACHE_F32 ? 4 : 1; }

// Bytes of one KV head in a block.
INLINE size_t head_block_bytes(u32 type, u32 dim) {
    return (size_t)BLOCK * dim * cache_width(type) + (type == CACHE_INT8 ? BLOCK * 4 : 0);
}

struct View {
    // Strided heads, in place.
    float *x;
    // Null: no norm.
    const float *weight;
    // Null, or where the heads go, too, once they are turned: a cache of keys.
    u8 *cache;
    u32 heads;
    u32 token_stride;
    u32 head_stride;
    u32 keys;
};

struct Heads {
    View views[3];
    // [tokens, rotary / 2].
    const float *cos;
    const float *sin;
    // Position of the first token, for the caches.
    const u32 *first;
    u32 count;
    u32 tokens;
    u32 width;
    // Of the first two views; the third, values on their way to their cache, is not turned.
    u32 rotary;
    u32 block_stride;
    u32 type;
    float eps;
    u32 padding;
};

const int HEADS_A_BLOCK = 4;
const int WIDEST_HEAD = 512;

// A vector of a head into its place in a block of the cache, by a warp.
INLINE void keep(u8 *cache, u32 type, u32 block_stride, u32 head, u32 dim, u32 position, bool keys, const float *vector, u32 lane) {
    const u32 slot = position % BLOCK;
    u8 *block = cache + (size_t)(position / BLOCK) * block_stride + head * head_block_bytes(type, dim);
    float scale = 0.f, steps = 0.f;
    if (type == CACHE_INT8) {
        // Magnitudes order as their bits do, NaN above all: a vector with a NaN gets a NaN for its scale.
        u32 bits = 0;
        for (u32 i = lane; i < dim; i += 32) bits = max(bits, __float_as_uint(vector[i]) & 0x7fffffffu);
        const float top = __uint_as_float(__reduce_max_sync(FULL_WARP, bits));
        scale = top < 1e-30f ? 0.f : top / 127.f;
        steps = scale > 0.f ? 1.f / scale : 0.f;
        if (lane == 0) ((float *)(block + (size_t)BLOCK * dim))[slot] = scale;
    }
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

// Norm and rotation of heads in place, and new keys and values into their caches: one warp a head.
KERNEL __launch_bounds__(HEADS_A_BLOCK * 32) heads(const __grid_constant__ Heads p) {
    __shared__ float space[HEADS_A_BLOCK][WIDEST_HEAD];
    let_next_start();
    wait_for_previous();
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    u32 index = blockIdx.x * HEADS_A_BLOCK + warp, which = 0;
    while (index >= p.tokens * p.views[which].heads) {
        index -= p.tokens * p.views[which].heads;
        if (++which == p.count) return;
    }
    const View &view = p.views[which];
    const u32 token = index / view.heads, head = index % view.heads;
    float *x = view.x + (size_t)token * view.token_stride + head * view.head_stride;
    float *row = space[warp];
    float squares = 0.f;
    for (u32 i = lane; i < p.width; i += 32) {
        const float v = x[i];
        row[i] = v;
        squares += v * v;
    }
    if (view.weight) {
        const float factor = rsqrtf(warp_sum(squares) / (float)p.width + p.eps);
        for (u32 i = lane; i < p.width; i += 32) row[i] = row[i] * factor * view.weight[i];
    }
    __syncwarp();
    if (which < 2) {
        const u32 half = p.rotary / 2;
        for (u32 j = lane; j < half; j += 32) {
            const float c = p.cos[(size_t)token * half + j], s = p.sin[(size_t)token * half + j];
            const float a = row[j], b = row[j + half];
            row[j] = a * c - b * s;
            row[j + half] = b * c + a * s;
        }
        __syncwarp();
        for (u32 i = lane; i < p.width; i += 32) x[i] = row[i];
    }
    if (view.cache) keep(view.cache, p.type, p.block_stride, head, p.width, *p.first + token, view.keys, row, lane);
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
    // Counters, zero between calls, and what blocks leave for the last one.
    u32 *counters;
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
    // Blocks along the context.
    u32 splits;
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
const u32 MOST_SPLITS = 32;
const float LOG2_E = 1.4426950408889634f;

// The larger of two, NaN if one is.
INLINE float larger(float a, float b) { return b < a ? a : b; }

// A head in shared memory, `step` values apart, normed and turned by a warp.
INLINE void prepare(float *vector, u32 step, u32 dim, const float *from, const float *weight, const Attend &p) {
    const u32 lane = threadIdx.x % 32, half = p.rotary / 2;
    float squares = 0.f;
    for (u32 i = lane; i < dim; i += 32) {
        const float v = from[i];
        vector[i * step] = v;
        squares += v * v;
    }
    const float factor = rsqrtf(warp_sum(squares) / (float)dim + p.eps);
    for (u32 i = lane; i < dim; i += 32) vector[i * step] *= factor * weight[i];
    __syncwarp();
    for (u32 j = lane; j < half; j += 32) {
        const float a = vector[j * step], b = vector[(j + half) * step];
        vector[j * step] = a * p.cos[j] - b * p.sin[j];
        vector[(j + half) * step] = b * p.cos[j] + a * p.sin[j];
    }
    __syncwarp();
}

// Query rows R of one token and KV head; a warp has 16 tokens of a block of the cache at a time. Exponents are powers of two.
template <int TYPE, int DIM, int R> INLINE void attend_few(const Attend &p) {
    const int LANES = DIM / 8;       // lanes that hold one vector
    const int TOGETHER = 32 / LANES; // tokens whose values a warp reads at once
    const int OF_ROW = 32 / R;       // lanes that know one row's scores
    // Whether a thread has room for what it reads of a block. Single precision is for comparisons.
    const bool AHEAD = TYPE != CACHE_F32;
    __shared__ __align__(16) float queries[DIM][R];
    __shared__ __align__(16) float weights[FEW_WARPS][QUARTER][R];
    __shared__ __align__(16) float merged[FEW_WARPS][R][DIM];
    __shared__ float tops[FEW_WARPS][R][2];
    __shared__ float factors[R][MOST_SPLITS];
    __shared__ float whole[R];
    __shared__ bool is_last;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 parts = (p.group + R - 1) / R;
    const u32 split = blockIdx.x, kv_head = blockIdx.y / parts, token = blockIdx.z;
    const u32 head = kv_head * p.group + blockIdx.y % parts * R;
    const u32 rows = min((u32)R, (kv_head + 1) * p.group - head);
    let_next_start();
    const size_t head_block = head_block_bytes(TYPE, DIM);
    const int vector = lane / LANES, place = lane % LANES;
    const int across = lane % 2, down = lane / 2, row = lane / OF_ROW;
    Eight<TYPE> of_keys[AHEAD ? DIM / 16 : 1], of_values[AHEAD ? QUARTER / TOGETHER : 1];
    const auto fetch = [&](u32 block) {
        if (!AHEAD) return;
        const size_t at = (size_t)block * p.block_stride + kv_head * head_block;
#pragma unroll
        for (int j = 0; j < DIM / 16; j++) {
            of_keys[AHEAD ? j : 0].load(p.keys + at, (down + 16 * j) * BLOCK + warp * QUARTER + across * 8);
        }
        // Values are on their way while keys are looked at.
#pragma unroll
        for (int j = 0; j < QUARTER / TOGETHER; j++) {
            of_values[AHEAD ? j : 0].load(p.values + at, (warp * QUARTER + j * TOGETHER + vector) * DIM + place * 8);
        }
    };
    // Positions are sent before the pass, and of a single token's context only the last block is written in it: by this kernel.
    const u32 length = *p.first + token + 1, blocks = (length + BLOCK - 1) / BLOCK;
    const bool is_ahead = AHEAD && p.query_norm && split + 1 < blocks;
    if (is_ahead) fetch(split);
    wait_for_previous();
    const float scale = rsqrtf((float)DIM) * LOG2_E;
    if (p.query_norm) {
        // Whoever has the last block of the context brings the new key and value into it.
        if (split == (blocks - 1) % p.splits && warp >= FEW_WARPS - 2) {
            const bool is_key = warp == FEW_WARPS - 1;
            float *vector = &merged[warp][0][0];
            if (is_key) {
                prepare(vector, 1, DIM, p.new_keys + kv_head * DIM, p.key_norm, p);
            } else {
                for (u32 i = lane; i < DIM; i += 32) vector[i] = p.new_values[kv_head * DIM + i];
                __syncwarp();
            }
            keep((u8 *)(is_key ? p.keys : p.values), TYPE, p.block_stride, kv_head, DIM, length - 1, is_key, vector, lane);
        }
        if (warp < R) {
            if (warp < rows) {
                prepare(&queries[0][warp], R, DIM, p.queries + (size_t)token * p.token_stride + (head + warp) * p.head_stride, p.query_norm, p);
            }
            for (u32 d = lane; d < DIM; d += 32) queries[d][warp] = warp < rows ? queries[d][warp] * scale : 0.f;
        }
    } else {
        for (u32 i = threadIdx.x; i < DIM * R; i += FEW_WARPS * 32) {
            const u32 r = i / DIM, d = i % DIM;
            const float q = r < rows ? p.queries[(size_t)token * p.token_stride + (head + r) * p.head_stride + d] : 0.f;
            queries[d][r] = q * scale;
        }
    }
    __syncthreads();
    // Of the row that this lane knows.
    float most = -INFINITY, total = 0.f;
    float sum[R][8] = {};
    for (u32 block = split; block < blocks; block += p.splits) {
        const u32 start = block * BLOCK + warp * QUARTER;
        if (start >= length) break;
        const u32 held = min(QUARTER, length - start);
        const size_t at = (size_t)block * p.block_stride + kv_head * head_block;
        const u8 *keys = p.keys + at, *values = p.values + at;
        if (!is_ahead || block != split) fetch(block);
        // Scores of tokens 8 across .. + 7 of the warp's 16, from a sixteenth of the dimensions.
        float scores[R][8] = {};
#pragma unroll
        for (int j = 0; j < DIM / 16; j++) {
            const int d = down + 16 * j;
            float k[8];
            if (!AHEAD) of_keys[0].load(keys, d * BLOCK + warp * QUARTER + across * 8);
            of_keys[AHEAD ? j : 0].values(k);
#pragma unroll
            for (int r = 0; r < R; r++) {
                const float q = queries[d][r];
#pragma unroll
                for (int i = 0; i < 8; i++) scores[r][i] = fmaf(q, k[i], scores[r][i]);
            }
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
            const u32 t = across * 8 + i;
            if (TYPE == CACHE_INT8) own[i] *= ((const float *)(keys + BLOCK * DIM))[warp * QUARTER + t];
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
                const u32 t = across * 8 + i;
                float w = own[i];
                if (TYPE == CACHE_INT8 && t < held) w *= ((const float *)(values + BLOCK * DIM))[warp * QUARTER + t];
                weights[warp][t][row] = w;
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
        for (int j = 0; j < QUARTER / TOGETHER; j++) {
            const u32 t = j * TOGETHER + vector;
            if (t < held) {
                float v[8];
                if (!AHEAD) of_values[0].load(values, (warp * QUARTER + t) * DIM + place * 8);
                of_values[AHEAD ? j : 0].values(v);
#pragma unroll
                for (int r = 0; r < R; r++) {
                    const float w = weights[warp][t][r];
#pragma unroll
                    for (int i = 0; i < 8; i++) sum[r][i] = fmaf(w, v[i], sum[r][i]);
                }
            }
        }
        __syncwarp();
    }
    // Lanes that have read other tokens of the same dimensions, then the warps.
#pragma unroll
    for (int r = 0; r < R; r++) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
#pragma unroll
            for (int step = LANES; step < 32; step *= 2) sum[r][i] += __shfl_xor_sync(FULL_WARP, sum[r][i], step);
        }
        if (lane < LANES) {
            float4 *to = (float4 *)&merged[warp][r][lane * 8];
            to[0] = make_float4(sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
            to[1] = make_float4(sum[r][4], sum[r][5], sum[r][6], sum[r][7]);
        }
    }
    if (lane % OF_ROW == 0) {
        tops[warp][row][0] = most;
        tops[warp][row][1] = total;
    }
    __syncthreads();
    const u32 number = token * gridDim.y + blockIdx.y;
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
    for (u32 i = threadIdx.x; i < R * DIM / 4; i += FEW_WARPS * 32) {
        const u32 r = i / (DIM / 4), d = i % (DIM / 4) * 4;
        float highest = -INFINITY, weight = 0.f;
        float4 value = make_float4(0.f, 0.f, 0.f, 0.f);
#pragma unroll
        for (int w = 0; w < FEW_WARPS; w++) highest = larger(highest, tops[w][r][0]);
#pragma unroll
        for (int w = 0; w < FEW_WARPS; w++) {
            const float factor = tops[w][r][0] == -INFINITY ? 0.f : exp2f(tops[w][r][0] - highest);
            const float4 v = *(const float4 *)&merged[w][r][d];
            weight += factor * tops[w][r][1];
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
    if (p.splits == 1) return;
    // Whoever comes last puts the parts together.
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        is_last = atomicAdd(&p.counters[number], 1u) == p.splits - 1;
        if (is_last) p.counters[number] = 0;
    }
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    if (warp < R) {
        // A warp a row.
        const float *from = partial + lane * length_of_part + R * DIM + warp;
        const float top = lane < p.splits ? __ldcg(from) : -INFINITY;
        const float own = lane < p.splits ? __ldcg(from + R) : 0.f;
        float highest = top;
#pragma unroll
        for (int step = 1; step < 32; step *= 2) highest = larger(highest, __shfl_xor_sync(FULL_WARP, highest, step));
        const float factor = top == -INFINITY ? 0.f : exp2f(top - highest);
        factors[warp][lane] = factor;
        const float weight = warp_sum(factor * own);
        if (lane == 0) whole[warp] = weight;
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < rows * DIM / 4; i += FEW_WARPS * 32) {
        const u32 r = i / (DIM / 4), d = i % (DIM / 4) * 4;
        float4 value = make_float4(0.f, 0.f, 0.f, 0.f);
#pragma unroll 16
        for (u32 s = 0; s < p.splits; s++) {
            const float4 v = __ldcg((const float4 *)(partial + s * length_of_part + r * DIM + d));
            const float factor = factors[r][s];
            value.x += factor * v.x; value.y += factor * v.y; value.z += factor * v.z; value.w += factor * v.w;
        }
        const float weight = whole[r];
        value.x /= weight; value.y /= weight; value.z /= weight; value.w /= weight;
        finish(r, d, value);
    }
}

#define FEW(TYPE, NAME, DIM, R) \
    KERNEL __launch_bounds__(FEW_WARPS * 32, DIM == 256 || TYPE == CACHE_F32 ? 2 : 3) attend_few_##NAME##_##DIM##_##R(const __grid_constant__ Attend p) { \
        attend_few<TYPE, DIM, R>(p);                                                                             \
    }
#define FEW_OF(TYPE, NAME) \
    FEW(TYPE, NAME, 64, 2) \
    FEW(TYPE, NAME, 64, 4) FEW(TYPE, NAME, 128, 2) FEW(TYPE, NAME, 128, 4) FEW(TYPE, NAME, 256, 2) FEW(TYPE, NAME, 256, 4)
FEW_OF(CACHE_F16, f16)
FEW_OF(CACHE_F32, f32)
FEW_OF(CACHE_INT8, int8)

// --- many tokens

extern __shared__ uint4 shared[];

const u32 ROWS = 64;

// Where 16 bytes stand in rows of `DIM` halves, and in rows of 64 halves.
template <int DIM> INLINE u32 row_place(u32 row, u32 unit) { return row * DIM * 2 + ((unit & ~7u) | ((unit ^ row) & 7)) * 16; }
INLINE u32 block_place(u32 row, u32 unit) { return row * 128 + ((unit ^ row) & 7) * 16; }

// `rows` of `width` halves from the cache into shared memory; zeros from row `valid` on, and nothing of the scales' head.
template <int WIDTH, bool KEYS>
INLINE void fetch_block(u32 to, char *space, const u8 *from, u32 type, u32 rows, u32 valid) {
    const u32 units = WIDTH / 8;
    for (u32 place = threadIdx.x; place < rows * units; place += 128) {
        const u32 row = place / units, unit = place % units;
        const u32 at = KEYS ? block_place(row, unit) : row_place<WIDTH>(row, unit);
        const bool is_valid = row < valid;
        if (type == CACHE_F16) {
            copy_async(to + at, from + (is_valid ? (size_t)place * 16 : 0), is_valid);
        } else {
            float v[8] = {};
            if (is_valid) {
                if (type == CACHE_F32) {
                    read_cache<CACHE_F32>(v, from, (size_t)place * 8);
                } else {
                    read_cache<CACHE_INT8>(v, from, (size_t)place * 8);
                    const float *scales = (const float *)(from + (size_t)rows * WIDTH);
#pragma unroll
                    for (int i = 0; i < 8; i++) v[i] *= scales[KEYS ? unit * 8 + i : row];
                }
            }
            *(uint4 *)(space + at) = make_uint4(to_half2(v[0], v[1]), to_half2(v[2], v[3]), to_half2(v[4], v[5]), to_half2(v[6], v[7]));
        }
    }
    close_copies();
}

template <int DIM> INLINE void attend_many(const Attend &p) {
    const u32 Q = 0, K = ROWS * DIM * 2, V = K + BLOCK * DIM * 2;
    char *space = (char *)shared;
    const u32 base = shared_address(shared);
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32, quad = lane % 4;
    const u32 kv_head = blockIdx.y, tile_tokens = ROWS / p.group;
    // The longest contexts first: they take longest.
    const u32 first_token = (gridDim.x - 1 - blockIdx.x) * tile_tokens;
    const u32 tokens = min(tile_tokens, p.tokens - first_token);
    let_next_start();
    wait_for_previous();
    const u32 start = *p.first + first_token, length = start + tokens, blocks = (length + BLOCK - 1) / BLOCK;
    const size_t head_block = head_block_bytes(p.type, DIM);
    const auto fetch_keys = [&](u32 block) {
        const u8 *from = p.keys + (size_t)block * p.block_stride + kv_head * head_block;
        fetch_block<BLOCK, true>(base + K, space + K, from, p.type, DIM, DIM);
    };
    const auto fetch_values = [&](u32 block) {
        const u8 *from = p.values + (size_t)block * p.block_stride + kv_head * head_block;
        fetch_block<DIM, false>(base + V, space + V, from, p.type, BLOCK, min(BLOCK, length - block * BLOCK));
    };
    fetch_keys(0);
    fetch_values(0);
    const float scale = rsqrtf((float)DIM) * LOG2_E;
    for (u32 place = threadIdx.x; place < ROWS * DIM / 8; place += 128) {
        const u32 row = place / (DIM / 8), unit = place % (DIM / 8), token = row / p.group;
        float v[8] = {};
        if (token < tokens) {
            const float *from = p.queries + (size_t)(first_token + token) * p.token_stride +
                                (kv_head * p.group + row % p.group) * p.head_stride + unit * 8;
            const float4 a = *(const float4 *)from, b = *(const float4 *)(from + 4);
            v[0] = a.x * scale; v[1] = a.y * scale; v[2] = a.z * scale; v[3] = a.w * scale;
            v[4] = b.x * scale; v[5] = b.y * scale; v[6] = b.z * scale; v[7] = b.w * scale;
        }
        *(uint4 *)(space + Q + row_place<DIM>(row, unit)) =
            make_uint4(to_half2(v[0], v[1]), to_half2(v[2], v[3]), to_half2(v[4], v[5]), to_half2(v[6], v[7]));
    }
    // Rows of this thread: 16 warp + lane / 4, and 8 below.
    u32 positions[2];
#pragma unroll
    for (int h = 0; h < 2; h++) positions[h] = start + min((warp * 16 + h * 8 + lane / 4) / p.group, tokens - 1);
    float out[DIM / 8][4] = {};
    float most[2] = {-INFINITY, -INFINITY}, total[2] = {};
    for (u32 block = 0; block < blocks; block++) {
        wait_for_copies<1>();
        __syncthreads();
        float scores[8][4] = {};
#pragma unroll
        for (int k = 0; k < DIM / 16; k++) {
            u32 q[4];
            load_matrices(q, base + Q + row_place<DIM>(warp * 16 + lane % 16, k * 2 + lane / 16));
#pragma unroll
            for (int n = 0; n < 4; n++) {
                u32 b[4];
                load_matrices_transposed(b, base + K + block_place(k * 16 + lane / 8 % 2 * 8 + lane % 8, n * 2 + lane / 16));
                multiply_add(scores[2 * n], q, b[0], b[1]);
                multiply_add(scores[2 * n + 1], q, b[2], b[3]);
            }
        }
        // Every warp is done with these keys.
        __syncthreads();
        if (block + 1 < blocks) fetch_keys(block + 1);
        else close_copies();
        if ((block + 1) * BLOCK > start + 1) {
#pragma unroll
            for (int n = 0; n < 8; n++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const u32 at = block * BLOCK + n * 8 + quad * 2 + e % 2;
                    scores[n][e] = at <= positions[e / 2] ? scores[n][e] : -INFINITY;
                }
            }
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float largest = most[h];
#pragma unroll
            for (int n = 0; n < 8; n++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const float s = scores[n][h * 2 + e];
                    largest = s < largest ? largest : s;
                }
            }
#pragma unroll
            for (int step = 1; step < 4; step *= 2) {
                const float other = __shfl_xor_sync(FULL_WARP, largest, step);
                largest = other < largest ? largest : other;
            }
            const float fade = exp2f(most[h] - largest);
            most[h] = largest;
            float own = 0.f;
#pragma unroll
            for (int n = 0; n < 8; n++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const float w = exp2f(scores[n][h * 2 + e] - largest);
                    own += w;
                    scores[n][h * 2 + e] = w;
                }
            }
            total[h] = total[h] * fade + own;
#pragma unroll
            for (int n = 0; n < DIM / 8; n++) {
                out[n][h * 2] *= fade;
                out[n][h * 2 + 1] *= fade;
            }
        }
        wait_for_copies<1>();
        __syncthreads();
#pragma unroll
        for (int k = 0; k < BLOCK / 16; k++) {
            u32 w[4];
            w[0] = to_half2(scores[2 * k][0], scores[2 * k][1]);
            w[1] = to_half2(scores[2 * k][2], scores[2 * k][3]);
            w[2] = to_half2(scores[2 * k + 1][0], scores[2 * k + 1][1]);
            w[3] = to_half2(scores[2 * k + 1][2], scores[2 * k + 1][3]);
#pragma unroll
            for (int n = 0; n < DIM / 16; n++) {
                u32 b[4];
                load_matrices_transposed(b, base + V + row_place<DIM>(k * 16 + lane / 8 % 2 * 8 + lane % 8, n * 2 + lane / 16));
                multiply_add(out[2 * n], w, b[0], b[1]);
                multiply_add(out[2 * n + 1], w, b[2], b[3]);
            }
        }
        __syncthreads();
        if (block + 1 < blocks) fetch_values(block + 1);
        else close_copies();
    }
    wait_for_copies<0>();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float sum = total[h];
#pragma unroll
        for (int step = 1; step < 4; step *= 2) sum += __shfl_xor_sync(FULL_WARP, sum, step);
        const u32 row = warp * 16 + h * 8 + lane / 4, token = row / p.group;
        if (token >= tokens) continue;
        const u32 head = kv_head * p.group + row % p.group;
        const float *gate = p.gate ? p.gate + (size_t)(first_token + token) * p.token_stride + head * p.head_stride : nullptr;
        float *to = p.out + ((size_t)(first_token + token) * p.heads + head) * DIM;
#pragma unroll
        for (int n = 0; n < DIM / 8; n++) {
            const u32 d = n * 8 + quad * 2;
            float a = out[n][h * 2] / sum, b = out[n][h * 2 + 1] / sum;
            if (gate) {
                a *= sigmoid(gate[d]);
                b *= sigmoid(gate[d + 1]);
            }
            *(float2 *)(to + d) = make_float2(a, b);
        }
    }
}

KERNEL __launch_bounds__(128) attend_many_64(const __grid_constant__ Attend p) { attend_many<64>(p); }
KERNEL __launch_bounds__(128) attend_many_128(const __grid_constant__ Attend p) { attend_many<128>(p); }
KERNEL __launch_bounds__(128) attend_many_256(const __grid_constant__ Attend p) { attend_many<256>(p); }

struct Gate {
    float *x;
    // Strided heads.
    const float *gate;
    u32 heads;
    u32 width;
    u32 token_stride;
    u32 head_stride;
};

// x times the sigmoid of its gate: one block a token and head.
KERNEL output_gate(const __grid_constant__ Gate p) {
    let_next_start();
    wait_for_previous();
    const u32 token = blockIdx.x, head = blockIdx.y;
    for (u32 i = threadIdx.x; i < p.width; i += blockDim.x) {
        p.x[((size_t)token * p.heads + head) * p.width + i] *=
            sigmoid(p.gate[(size_t)token * p.token_stride + head * p.head_stride + i]);
    }
}
