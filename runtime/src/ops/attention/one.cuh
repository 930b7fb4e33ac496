// Attention of a single token on the matrix units, by a team of four warps: up to eight query rows that share a KV head.
//
// Scores of 64 tokens: a warp has 16 of them and all dimensions. What they weigh: a warp has all of them and a quarter of the dimensions.
// Queries and probabilities are sums of two halves, so that nothing but the cache is rounded. Both halves of the cache lie across what
// the matrix units want, and are turned on the way. Tokens are taken in an order that loads allow: of 16, the k-th is
// 4 (k % 8 / 2) + k % 2 + k / 8 * 2.

const int MOST_ROWS = 8;

// The transpose of eight rows of eight halves, of which each lane has two.
INLINE u32 transposed(u32 pair) {
    u32 result;
    asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pair));
    return result;
}

// Two neighbouring bytes of a cache as halves.
INLINE u32 halves_of(u32 bytes) {
    // Bytes with their sign turned around, on 1024: the bias of 1024 + 128 goes.
    const u32 biased = __byte_perm(bytes ^ 0x8080u, 0x64646464u, 0x4140);
    return sub_half2(biased, 0x64806480u);
}

// Eight values of a cache, as they are stored, as four pairs of halves.
template <int TYPE> INLINE void pairs_of(u32 (&pairs)[4], uint4 stored) {
    pairs[0] = TYPE == CACHE_F16 ? stored.x : halves_of(stored.x);
    pairs[1] = TYPE == CACHE_F16 ? stored.y : halves_of(stored.x >> 16);
    pairs[2] = TYPE == CACHE_F16 ? stored.z : halves_of(stored.y);
    pairs[3] = TYPE == CACHE_F16 ? stored.w : halves_of(stored.y >> 16);
}

// Shared memory of a team.
template <int DIM> struct OneSpace {
    // Queries and what rounding them has left; probabilities likewise. Rows are apart so that lanes read other banks.
    u16 queries[2][MOST_ROWS][DIM + 8];
    u16 weights[2][MOST_ROWS][BLOCK + 8];
    float vectors[FEW_WARPS][DIM];
    float tops[FEW_WARPS][MOST_ROWS];
    float totals[FEW_WARPS][MOST_ROWS];
    // What the team has in hand: a part of the context and rows that share a KV head, [row groups, splits].
    u32 item;
};

// A number as the sum of two halves.
INLINE void keep_halves(u16 &high, u16 &low, float value) {
    high = to_half(value);
    low = to_half(value - from_half(high));
}

// As attend_few, of one token.
template <int TYPE, int DIM, class Wait, class Sync>
INLINE void attend_one(const Attend &p, bool early, OneSpace<DIM> &space, Wait wait, Sync sync) {
    const u32 across = space.item / p.splits, split = space.item % p.splits;
    const u32 warp = warp_index() % FEW_WARPS, lane = thread_index() % 32, row = lane / 4, quad = lane % 4;
    const u32 parts = (p.group + p.rows - 1) / p.rows, kv_head = across / parts;
    const u32 head = kv_head * p.group + across % parts * p.rows;
    const u32 rows = min(p.rows, (kv_head + 1) * p.group - head);
    const size_t head_block = head_block_bytes(TYPE, DIM);
    const u32 WIDTH = TYPE == CACHE_F16 ? 2 : 1;
    const int STEPS = DIM / 8, SOME = 8, RUNS = STEPS / SOME;
    // Of narrow heads, all keys of the next block and all values of this one are on their way at a time; of wide ones, a part of each:
    // there are no registers for more.
#if __CUDA_ARCH__ >= 900
    const bool WHOLE = DIM == 128;
#else
    const bool WHOLE = false;
#endif
    // Loads of 16 tokens' values that are held.
    const int HELD = WHOLE ? 4 : 2;
    // Four neighbouring tokens of a dimension as two pairs.
    uint2 ahead[2][SOME] = {};
    const auto fetch = [&](int run, u32 block) {
        const u8 *from = p.keys + (size_t)block * p.block_stride + kv_head * head_block + (warp * QUARTER + quad * 4) * WIDTH;
#pragma unroll
        for (int i = 0; i < SOME; i++) {
            const u8 *at = from + (u32)((run * SOME + i) * 8 + row) * (BLOCK * WIDTH);
            if (TYPE == CACHE_F16) ahead[run % 2][i] = *(const uint2 *)at;
            else ahead[run % 2][i].x = *(const u32 *)at;
        }
    };
    // Positions are sent before the pass, and only the last block of the context is written in it: by this step.
    const u32 length = *p.first + 1, blocks = (length + BLOCK - 1) / BLOCK;
    const bool is_ahead = early && p.query_norm && split + 1 < blocks;
    const auto fetch_first = [&](u32 block) {
        fetch(0, block);
        if (WHOLE) fetch(1, block);
    };
    if (is_ahead) fetch_first(split);
    wait();

    const float scale = rsqrtf((float)DIM) * LOG2_E;
    float *vector = space.vectors[warp];
    // Whoever has the last block of the context brings the new key and value into it.
    const bool brings = p.query_norm && split == (blocks - 1) % p.splits && warp >= FEW_WARPS - 2;
    const bool is_key = warp == FEW_WARPS - 1;
    Head<DIM> query = {}, other = {};
    if (brings && is_key) other.load(p.new_keys + kv_head * DIM, p.key_norm, p);
    if (brings && !is_key) other.load(p.new_values + kv_head * DIM);
#pragma unroll 1
    for (u32 r = warp; r < MOST_ROWS; r += FEW_WARPS) {
        const bool valid = r < rows;
        if (valid) {
            const float *from = p.queries + (head + r) * p.head_stride;
            if (p.query_norm) {
                query.load(from, p.query_norm, p);
                query.prepare(vector, 1, scale, p);
            } else {
                for (u32 d = lane; d < DIM; d += 32) vector[d] = from[d] * scale;
                __syncwarp();
            }
        }
#pragma unroll 2
        for (u32 d = lane; d < DIM; d += 32) keep_halves(space.queries[0][r][d], space.queries[1][r][d], valid ? vector[d] : 0.f);
        __syncwarp();
    }
    if (brings) {
        if (is_key) {
            other.prepare(vector, 1, 1.f, p);
        } else {
            other.keep(vector, 1);
        }
        keep((u8 *)(is_key ? p.keys : p.values), TYPE, p.block_stride, kv_head, DIM, length - 1, is_key, vector, lane);
    }
    sync();
    if (!is_ahead && split < blocks) fetch_first(split);

    // Rows 2 quad and 2 quad + 1 of this lane: the largest score so far, and what its own tokens weigh.
    float most[2] = {-INFINITY, -INFINITY}, total[2] = {};
    // [16 dimensions][rows] of the warp's quarter, as the matrix units give them.
    const int TILES = DIM / 64;
    float sum[TILES][4] = {};
#pragma unroll 1
    for (u32 block = split; block < blocks; block += p.splits) {
        const size_t at = (size_t)block * p.block_stride + kv_head * head_block;
        // Values: the first are on their way while scores are weighed, or made.
        uint4 values[HELD][TILES / 2][2] = {};
        const auto fetch_values = [&](int sixteen) {
            const u32 token = sixteen * 16 + row / 2 * 4 + row % 2;
#pragma unroll
            for (int group = 0; group < TILES / 2; group++) {
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    const u8 *from = p.values + at + ((token + h * 2) * DIM + warp * (DIM / 4) + group * 32 + quad * 8) * WIDTH;
                    // Eight neighbouring dimensions of a token, as they are stored.
                    uint4 &to = values[sixteen % HELD][group][h];
                    if (TYPE == CACHE_F16) {
                        to = *(const uint4 *)from;
                    } else {
                        const uint2 w = *(const uint2 *)from;
                        to = make_uint4(w.x, w.y, 0, 0);
                    }
                    // What stands behind the last token may be anything, and nothing times that is not nothing.
                    if (block * BLOCK + token + h * 2 >= length) to = make_uint4(0, 0, 0, 0);
                }
            }
        };
        const auto fetch_next = [&] {
            if (block + p.splits < blocks) fetch_first(block + p.splits);
        };
        if (WHOLE) {
            fetch_values(0);
            fetch_values(1);
        }
        float scores[4] = {};
#pragma unroll
        for (int run = 0; run < RUNS; run++) {
            if (!WHOLE && run + 1 < RUNS) fetch(run + 1, block);
#pragma unroll
            for (int i = 0; i < SOME; i += 2) {
                u32 a[4];
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    const uint2 w = ahead[run % 2][i + h];
                    a[2 * h] = transposed(TYPE == CACHE_F16 ? w.x : halves_of(w.x));
                    a[2 * h + 1] = transposed(TYPE == CACHE_F16 ? w.y : halves_of(w.x >> 16));
                }
                const u32 d = (run * SOME + i) * 8 + quad * 2;
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    const u16 *q = &space.queries[h][row][d];
                    multiply_add(scores, a, *(const u32 *)q, *(const u32 *)(q + 8));
                }
            }
        }
        if (WHOLE) {
            fetch_values(2);
            fetch_values(3);
        } else {
            fetch_values(0);
        }
        // Tokens of this lane: row and row + 8 in the order of the loads.
        const u32 first = warp * QUARTER + row / 2 * 4 + row % 2;
        float largest[2] = {-INFINITY, -INFINITY}, of_values[2] = {1.f, 1.f};
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const u32 token = first + h * 2;
            const bool held = block * BLOCK + token < length;
            const float of_keys = TYPE == CACHE_INT8 ? ((const float *)(p.keys + at + BLOCK * DIM))[token] : 1.f;
            if (TYPE == CACHE_INT8 && held) of_values[h] = ((const float *)(p.values + at + BLOCK * DIM))[token];
#pragma unroll
            for (int r = 0; r < 2; r++) {
                float &s = scores[h * 2 + r];
                s = held ? s * of_keys : -INFINITY;
                largest[r] = larger(largest[r], s);
            }
        }
#pragma unroll
        for (int r = 0; r < 2; r++) {
#pragma unroll
            for (int step = 4; step < 32; step *= 2) largest[r] = larger(largest[r], __shfl_xor_sync(FULL_WARP, largest[r], step));
            if (row == 0) space.tops[warp][quad * 2 + r] = largest[r];
        }
        sync();
        if (WHOLE) fetch_next();
        float fade[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float top = most[r];
#pragma unroll
            for (int w = 0; w < FEW_WARPS; w++) top = larger(top, space.tops[w][quad * 2 + r]);
            fade[r] = exp2f(most[r] - top);
            most[r] = top;
            total[r] *= fade[r];
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const float w = exp2f(scores[h * 2 + r] - top);
                total[r] += w;
                const u32 place = warp * QUARTER + h * 8 + row;
                keep_halves(space.weights[0][quad * 2 + r][place], space.weights[1][quad * 2 + r][place], w * of_values[h]);
            }
        }
#pragma unroll
        for (int t = 0; t < TILES; t++) {
#pragma unroll
            for (int i = 0; i < 4; i++) sum[t][i] *= fade[i % 2];
        }
        sync();
        if (!WHOLE) fetch_next();
#pragma unroll (HELD)
        for (int sixteen = 0; sixteen < 4; sixteen++) {
            if (!WHOLE && sixteen < 3) fetch_values(sixteen + 1);
            u32 b[2][2];
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const u16 *w = &space.weights[h][row][sixteen * 16 + quad * 2];
                b[h][0] = *(const u32 *)w;
                b[h][1] = *(const u32 *)(w + 8);
            }
#pragma unroll
            for (int group = 0; group < TILES / 2; group++) {
                u32 ones[4], others[4];
                pairs_of<TYPE>(ones, values[sixteen % HELD][group][0]);
                pairs_of<TYPE>(others, values[sixteen % HELD][group][1]);
#pragma unroll
                for (int t = 0; t < 2; t++) {
                    u32 a[4];
                    a[0] = transposed(ones[2 * t]);
                    a[1] = transposed(ones[2 * t + 1]);
                    a[2] = transposed(others[2 * t]);
                    a[3] = transposed(others[2 * t + 1]);
                    multiply_add(sum[group * 2 + t], a, b[0][0], b[0][1]);
                    multiply_add(sum[group * 2 + t], a, b[1][0], b[1][1]);
                }
            }
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
#pragma unroll
        for (int step = 4; step < 32; step *= 2) total[r] += __shfl_xor_sync(FULL_WARP, total[r], step);
        if (row == 0) space.totals[warp][quad * 2 + r] = total[r];
    }
    sync();
    const u32 length_of_part = p.rows * (DIM + 2);
    float *part = p.partial + (size_t)space.item * length_of_part;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const u32 of_rows = quad * 2 + r;
        if (of_rows >= rows) continue;
        float weight = 0.f;
#pragma unroll
        for (int w = 0; w < FEW_WARPS; w++) weight += space.totals[w][of_rows];
        const float *gate = p.gate ? p.gate + (head + of_rows) * p.head_stride : nullptr;
        float *out = p.out + (size_t)(head + of_rows) * DIM;
#pragma unroll
        for (int t = 0; t < TILES; t++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const u32 d = warp * (DIM / 4) + t / 2 * 32 + row / 2 * 8 + (t % 2 * 2 + h) * 2 + row % 2;
                const float value = sum[t][h * 2 + r];
                if (p.splits > 1) {
                    part[of_rows * DIM + d] = value;
                } else {
                    out[d] = gate ? value / weight * sigmoid(gate[d]) : value / weight;
                }
            }
        }
        if (p.splits > 1 && warp == 0 && row == 0) {
            part[p.rows * DIM + of_rows] = most[r];
            part[p.rows * DIM + p.rows + of_rows] = weight;
        }
    }
}
