// Attention by kernels of their own; see few.cuh.
//
// - heads: norm and rotation of queries and keys, and new keys and values into the cache.
// - attend_few_*: up to eight tokens, each by itself. attend_merge puts the parts of their contexts together.
// - attend_many_*: 64 rows (tokens times heads of a group) a block, on the matrix units.

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

// --- few tokens: blocks are [parts of the context, row groups, tokens]

template <int TYPE, int DIM, int R> INLINE void attend_few(const Attend &p) {
    __shared__ __align__(16) TeamSpace<DIM, R> space;
    let_next_start();
    attend_few<TYPE, DIM, R>(
        p, blockIdx.x, blockIdx.y, blockIdx.z, true, space, [] { wait_for_previous(); }, [] { __syncthreads(); });
}

#define FEW(TYPE, NAME, DIM, R) \
    KERNEL __launch_bounds__(FEW_WARPS * 32, DIM * R > 256 || TYPE == CACHE_F32 ? 2 : 3) attend_few_##NAME##_##DIM##_##R(const __grid_constant__ Attend p) { \
        attend_few<TYPE, DIM, R>(p);                                                                             \
    }
#define FEW_OF(TYPE, NAME) \
    FEW(TYPE, NAME, 64, 2) \
    FEW(TYPE, NAME, 64, 4) FEW(TYPE, NAME, 128, 2) FEW(TYPE, NAME, 128, 4) FEW(TYPE, NAME, 256, 2) FEW(TYPE, NAME, 256, 4)
FEW_OF(CACHE_F16, f16)
FEW_OF(CACHE_F32, f32)
FEW_OF(CACHE_INT8, int8)

KERNEL __launch_bounds__(FEW_WARPS * 32) attend_merge(const __grid_constant__ Attend p) {
    let_next_start();
    wait_for_previous();
    const u32 number = blockIdx.x * FEW_WARPS + threadIdx.x / 32;
    if (number < p.tokens * p.heads * (p.dim / 32)) attend_merge(p, number);
}

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
