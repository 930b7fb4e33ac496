// The gated delta rule: token by token for few tokens, in chunks of 64 on the matrix units for many.

struct Gates {
    float *a;
    float *b;
    const float *negated_decay;
    const float *dt_bias;
    u32 heads;
    u32 count;
};

// a becomes the log decay, b the write strength.
KERNEL __launch_bounds__(256) delta_gates(const __grid_constant__ Gates p) {
    let_next_start();
    wait_for_previous();
    const u32 i = blockIdx.x * 256 + threadIdx.x;
    if (i >= p.count) return;
    p.a[i] = p.negated_decay[i % p.heads] * softplus(p.a[i] + p.dt_bias[i % p.heads]);
    p.b[i] = sigmoid(p.b[i]);
}

// --- token by token

// Blocks are [heads, parts of 32 columns].
KERNEL __launch_bounds__(PARTS * 32) delta_recurrent(const __grid_constant__ Recurrence p) {
    __shared__ RecurrenceSpace space;
    let_next_start();
    recur(p, blockIdx.x, blockIdx.y, p.early, space, [] { wait_for_previous(); }, [] { __syncthreads(); });
}

// The state moves on by the first `tokens` rows of the log: in the operations of delta_recurrent.
KERNEL __launch_bounds__(PARTS * 32) commit_delta_rule(const __grid_constant__ Recurrence p) {
    let_next_start();
    wait_for_previous();
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 head = blockIdx.x, column = blockIdx.y * 32 + lane;
    const u32 key_head = head / (p.value_heads / p.key_heads);
    const u32 log_row = p.key_heads * p.key_dim + p.value_heads * p.value_dim + p.value_heads;
    if (column >= p.value_dim) return;
    float *state = p.state + (size_t)head * p.key_dim * p.value_dim + column;
    const u32 part = (p.key_dim + PARTS - 1) / PARTS;
    for (u32 i = warp * part; i < (warp + 1) * part && i < p.key_dim; i++) {
        float s = state[(size_t)i * p.value_dim];
        for (u32 t = 0; t < p.tokens; t++) {
            const float *log = p.log + (size_t)t * log_row;
            const float delta = log[p.key_heads * p.key_dim + head * p.value_dim + column];
            const float decay = log[p.key_heads * p.key_dim + p.value_heads * p.value_dim + head];
            s = fmaf(log[key_head * p.key_dim + i], delta, s * decay);
        }
        state[(size_t)i * p.value_dim] = s;
    }
}

// --- chunks of 64 tokens, heads of 128
//
// For each chunk, with G the sums of the log decays in it, A_ij = beta_i (k_i . k_j) exp(G_i - G_j) below the diagonal and
// T = (I + A)^-1:
//
//     W = T diag(beta exp(G)) K     U = T diag(beta) V     M_ij = (q_i . k_j) exp(G_i - G_j) up to the diagonal
//
// all of which need no state: delta_prepare makes them for every chunk at once. Then, chunk after chunk, delta_scan does
//
//     D = U - W S     O = diag(exp(G)) Q S + M D     S = exp(G_C) S + K^T diag(exp(G_C - G)) D

const int CHUNK = 64;
const int HEAD = 128;

struct Chunks {
    // [tokens, key_heads, HEAD] f16, normed.
    const u16 *queries;
    const u16 *keys;
    // [tokens, value_heads, HEAD] f16.
    const u16 *values;
    // [tokens, value_heads].
    const float *decay;
    const float *beta;
    // [chunks, value_heads, CHUNK, HEAD] f16: W and U.
    u16 *w;
    u16 *u;
    // [chunks, value_heads, CHUNK, CHUNK] f16: M.
    u16 *m;
    // [chunks, value_heads, CHUNK]: G.
    float *sums;
    float *state;
    // [tokens, value_heads, HEAD].
    float *out;
    u32 tokens;
    u32 key_heads;
    u32 value_heads;
    u32 padding;
};

extern __shared__ uint4 shared[];

// Where 16 bytes stand in rows of 256 bytes (HEAD halves) and of 128 (CHUNK halves).
INLINE u32 wide_place(u32 row, u32 unit) { return row * 256 + ((unit & 8) | ((unit ^ row) & 7)) * 16; }
INLINE u32 narrow_place(u32 row, u32 unit) { return row * 128 + ((unit ^ row) & 7) * 16; }

// Rows of 128 halves, `stride` halves apart, into shared memory by a block of 128 threads; zeros from `valid` on.
INLINE void fetch_rows(u32 to, const u16 *from, size_t stride, u32 rows, u32 valid) {
    for (u32 place = threadIdx.x; place < rows * 16; place += 128) {
        const u32 row = place / 16, unit = place % 16;
        const bool is_valid = row < valid;
        copy_async(to + wide_place(row, unit), from + (is_valid ? row * stride + unit * 8 : 0), is_valid);
    }
}

const u32 PREPARE_K = 0;
const u32 PREPARE_Q = CHUNK * 256;
const u32 PREPARE_V = 2 * CHUNK * 256;
const u32 PREPARE_A = 3 * CHUNK * 256;
const u32 ROW_OF_A = CHUNK + 1;
const u32 PREPARE_T = PREPARE_A + CHUNK * ROW_OF_A * 4;
const u32 PREPARE_G = PREPARE_T + CHUNK * ROW_OF_A * 4;
const u32 PREPARE_BYTES = PREPARE_G + 2 * CHUNK * 4;

KERNEL __launch_bounds__(128) delta_prepare(const __grid_constant__ Chunks p) {
    const u32 base = shared_address(shared);
    char *space = (char *)shared;
    float *a = (float *)(space + PREPARE_A), *inverse = (float *)(space + PREPARE_T);
    float *sums = (float *)(space + PREPARE_G), *betas = sums + CHUNK;
    const u32 thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    const u32 chunk = blockIdx.x, head = blockIdx.y, key_head = head / (p.value_heads / p.key_heads);
    const u32 start = chunk * CHUNK, valid = min((u32)CHUNK, p.tokens - start);
    let_next_start();
    wait_for_previous();
    const size_t keys_row = (size_t)p.key_heads * HEAD, values_row = (size_t)p.value_heads * HEAD;
    fetch_rows(base + PREPARE_K, p.keys + start * keys_row + key_head * HEAD, keys_row, CHUNK, valid);
    fetch_rows(base + PREPARE_Q, p.queries + start * keys_row + key_head * HEAD, keys_row, CHUNK, valid);
    fetch_rows(base + PREPARE_V, p.values + start * values_row + head * HEAD, values_row, CHUNK, valid);
    close_copies();
    if (warp == 0) {
        // Tokens behind the last decay nothing and write nothing.
        float g[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const u32 t = lane * 2 + i;
            g[i] = t < valid ? p.decay[(size_t)(start + t) * p.value_heads + head] : 0.f;
            betas[t] = t < valid ? p.beta[(size_t)(start + t) * p.value_heads + head] : 0.f;
        }
        float total = g[0] + g[1];
        for (int step = 1; step < 32; step *= 2) {
            const float before = __shfl_up_sync(FULL_WARP, total, step);
            if (lane >= step) total += before;
        }
        sums[lane * 2] = total - g[1];
        sums[lane * 2 + 1] = total;
    }
    wait_for_copies<0>();
    __syncthreads();
    const size_t block = (size_t)chunk * p.value_heads + head;
    if (thread < CHUNK) p.sums[block * CHUNK + thread] = sums[thread];

    // K K^T and Q K^T: a warp has 16 rows.
    const u32 row = warp * 16 + lane / 4, quad = lane % 4;
#pragma unroll
    for (int which = 0; which < 2; which++) {
        float acc[8][4] = {};
#pragma unroll
        for (int k = 0; k < HEAD / 16; k++) {
            u32 rows[4];
            load_matrices(rows, base + (which ? PREPARE_Q : PREPARE_K) + wide_place(warp * 16 + lane % 16, k * 2 + lane / 16));
#pragma unroll
            for (int n = 0; n < 4; n++) {
                u32 b[4];
                load_matrices(b, base + PREPARE_K + wide_place(n * 16 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
                multiply_add(acc[2 * n], rows, b[0], b[1]);
                multiply_add(acc[2 * n + 1], rows, b[2], b[3]);
            }
        }
#pragma unroll
        for (int n = 0; n < 8; n++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const u32 i = row + h * 8, j = n * 8 + quad * 2;
                float y[2];
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const bool below = which ? i >= j + e : i > j + e;
                    y[e] = below ? acc[n][h * 2 + e] * expf(sums[i] - sums[j + e]) : 0.f;
                }
                if (which) {
                    *(u32 *)(p.m + (block * CHUNK + i) * CHUNK + j) = to_half2(y[0], y[1]);
                } else {
                    a[i * ROW_OF_A + j] = y[0] * betas[i];
                    a[i * ROW_OF_A + j + 1] = y[1] * betas[i];
                }
            }
        }
    }
    __syncthreads();

    // T in blocks of 16: those on the diagonal column by column, T_ic = [i = c] - sum over j < i of A_ij T_jc, and below it
    // T_rc = -T_rr sum over c <= k < r of A_rk T_kc.
    if (thread < CHUNK) {
        const u32 at = thread / 16 * 16, c = thread % 16;
        float column[16];
#pragma unroll
        for (int i = 0; i < 16; i++) {
            float sum = i == c ? 1.f : 0.f;
#pragma unroll
            for (int j = 0; j < i; j++) sum = fmaf(-a[(at + i) * ROW_OF_A + at + j], column[j], sum);
            column[i] = sum;
            inverse[(at + i) * ROW_OF_A + at + c] = sum;
        }
    }
    for (u32 place = thread; place < CHUNK * CHUNK; place += 128) {
        const u32 i = place / CHUNK, c = place % CHUNK;
        if (c / 16 > i / 16) inverse[i * ROW_OF_A + c] = 0.f;
    }
    __syncthreads();
    for (u32 distance = 1; distance < CHUNK / 16; distance++) {
        // Blocks at this distance below the diagonal, 256 values each; first the sums, into the upper triangle of A, which is free.
        const u32 blocks = CHUNK / 16 - distance;
        for (u32 place = thread; place < blocks * 256; place += 128) {
            const u32 left = place / 256, i = place / 16 % 16, c = place % 16, r = left + distance;
            float sum = 0.f;
            for (u32 k = left * 16; k < r * 16; k++) {
                sum = fmaf(a[(r * 16 + i) * ROW_OF_A + k], inverse[k * ROW_OF_A + left * 16 + c], sum);
            }
            a[(left * 16 + i) * ROW_OF_A + r * 16 + c] = sum;
        }
        __syncthreads();
        for (u32 place = thread; place < blocks * 256; place += 128) {
            const u32 left = place / 256, i = place / 16 % 16, c = place % 16, r = left + distance;
            float sum = 0.f;
#pragma unroll
            for (u32 k = 0; k < 16; k++) {
                sum = fmaf(inverse[(r * 16 + i) * ROW_OF_A + r * 16 + k], a[(left * 16 + k) * ROW_OF_A + r * 16 + c], sum);
            }
            inverse[(r * 16 + i) * ROW_OF_A + left * 16 + c] = -sum;
        }
        __syncthreads();
    }

    // W and U: a warp has 16 rows.
#pragma unroll
    for (int which = 0; which < 2; which++) {
        float acc[16][4] = {};
#pragma unroll
        for (int k = 0; k < CHUNK / 16; k++) {
            const u32 j = k * 16 + quad * 2;
            float factor[4];
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const u32 at = j + e / 2 * 8 + e % 2;
                factor[e] = betas[at] * (which ? 1.f : expf(sums[at]));
            }
            const float *t = inverse + row * ROW_OF_A + j, *below = t + 8 * ROW_OF_A;
            u32 rows[4];
            rows[0] = to_half2(t[0] * factor[0], t[1] * factor[1]);
            rows[1] = to_half2(below[0] * factor[0], below[1] * factor[1]);
            rows[2] = to_half2(t[8] * factor[2], t[9] * factor[3]);
            rows[3] = to_half2(below[8] * factor[2], below[9] * factor[3]);
#pragma unroll
            for (int n = 0; n < 8; n++) {
                u32 b[4];
                load_matrices_transposed(b, base + (which ? PREPARE_V : PREPARE_K) + wide_place(k * 16 + lane / 8 % 2 * 8 + lane % 8, n * 2 + lane / 16));
                multiply_add(acc[2 * n], rows, b[0], b[1]);
                multiply_add(acc[2 * n + 1], rows, b[2], b[3]);
            }
        }
        u16 *out = (which ? p.u : p.w) + block * CHUNK * HEAD;
#pragma unroll
        for (int n = 0; n < 16; n++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                *(u32 *)(out + (row + h * 8) * HEAD + n * 8 + quad * 2) = to_half2(acc[n][h * 2], acc[n][h * 2 + 1]);
            }
        }
    }
}

// A stage of delta_scan holds W, Q, K, M, a slice of U, and G.
const u32 SLICE = 32;
const u32 SCAN_W = 0;
const u32 SCAN_Q = CHUNK * 256;
const u32 SCAN_K = 2 * CHUNK * 256;
const u32 SCAN_M = 3 * CHUNK * 256;
const u32 SCAN_U = SCAN_M + CHUNK * 128;
const u32 SCAN_G = SCAN_U + CHUNK * 64;
const u32 SCAN_STAGE = SCAN_G + CHUNK * 4;
const u32 SCAN_S = 2 * SCAN_STAGE;
const u32 SCAN_D = SCAN_S + HEAD * 64;
const u32 SCAN_E = SCAN_D + CHUNK * 64;
const u32 SCAN_BYTES = SCAN_E + CHUNK * 64;

// Where 16 bytes stand in rows of 64 bytes (SLICE halves).
INLINE u32 slice_place(u32 row, u32 unit) { return row * 64 + ((unit ^ (row / 2)) & 3) * 16; }

KERNEL __launch_bounds__(128) delta_scan(const __grid_constant__ Chunks p) {
    const u32 base = shared_address(shared);
    char *space = (char *)shared;
    const u32 thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    const u32 head = blockIdx.x, slice = blockIdx.y, key_head = head / (p.value_heads / p.key_heads);
    const u32 chunks = (p.tokens + CHUNK - 1) / CHUNK;
    const size_t keys_row = (size_t)p.key_heads * HEAD;
    const u32 quad = lane % 4, row = lane / 4;
    let_next_start();
    wait_for_previous();

    const auto fetch = [&](u32 chunk) {
        if (chunk < chunks) {
            const u32 to = base + chunk % 2 * SCAN_STAGE, start = chunk * CHUNK;
            const u32 valid = min((u32)CHUNK, p.tokens - start);
            const size_t block = (size_t)chunk * p.value_heads + head;
            fetch_rows(to + SCAN_W, p.w + block * CHUNK * HEAD, HEAD, CHUNK, CHUNK);
            fetch_rows(to + SCAN_Q, p.queries + start * keys_row + key_head * HEAD, keys_row, CHUNK, valid);
            fetch_rows(to + SCAN_K, p.keys + start * keys_row + key_head * HEAD, keys_row, CHUNK, valid);
            for (u32 place = thread; place < CHUNK * 8; place += 128) {
                copy_async(to + SCAN_M + narrow_place(place / 8, place % 8), p.m + block * CHUNK * CHUNK + place * 8, true);
            }
            for (u32 place = thread; place < CHUNK * 4; place += 128) {
                const u16 *from = p.u + (block * CHUNK + place / 4) * HEAD + slice * SLICE + place % 4 * 8;
                copy_async(to + SCAN_U + slice_place(place / 4, place % 4), from, true);
            }
            if (thread < CHUNK / 4) copy_async(to + SCAN_G + thread * 16, p.sums + block * CHUNK + thread * 4, true);
        }
        close_copies();
    };
    fetch(0);

    // The state of 32 columns: warp w has keys 32 w .. 32 w + 31, as results of multiplications.
    float *state = p.state + (size_t)head * HEAD * HEAD + slice * SLICE;
    float s[2][4][4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int n = 0; n < 4; n++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const float2 v = *(const float2 *)(state + (size_t)(warp * 32 + i * 16 + h * 8 + row) * HEAD + n * 8 + quad * 2);
                s[i][n][h * 2] = v.x;
                s[i][n][h * 2 + 1] = v.y;
            }
        }
    }
    for (u32 chunk = 0; chunk < chunks; chunk++) {
        const u32 stage = base + chunk % 2 * SCAN_STAGE;
        const float *sums = (const float *)(space + chunk % 2 * SCAN_STAGE + SCAN_G);
        fetch(chunk + 1);
        // The state in halves, for everyone.
#pragma unroll
        for (int i = 0; i < 2; i++) {
#pragma unroll
            for (int n = 0; n < 4; n++) {
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    const u32 key = warp * 32 + i * 16 + h * 8 + row;
                    *(u32 *)(space + SCAN_S + slice_place(key, n) + quad * 4) = to_half2(s[i][n][h * 2], s[i][n][h * 2 + 1]);
                }
            }
        }
        wait_for_copies<1>();
        __syncthreads();
        // W S and Q S for 16 tokens a warp.
        float ws[4][4] = {}, qs[4][4] = {};
#pragma unroll
        for (int k = 0; k < HEAD / 16; k++) {
            u32 w[4], q[4];
            load_matrices(w, stage + SCAN_W + wide_place(warp * 16 + lane % 16, k * 2 + lane / 16));
            load_matrices(q, stage + SCAN_Q + wide_place(warp * 16 + lane % 16, k * 2 + lane / 16));
#pragma unroll
            for (int n = 0; n < 2; n++) {
                u32 b[4];
                load_matrices_transposed(b, base + SCAN_S + slice_place(k * 16 + lane / 8 % 2 * 8 + lane % 8, n * 2 + lane / 16));
                multiply_add(ws[2 * n], w, b[0], b[1]);
                multiply_add(ws[2 * n + 1], w, b[2], b[3]);
                multiply_add(qs[2 * n], q, b[0], b[1]);
                multiply_add(qs[2 * n + 1], q, b[2], b[3]);
            }
        }
        const float last = sums[CHUNK - 1];
#pragma unroll
        for (int n = 0; n < 4; n++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const u32 t = warp * 16 + h * 8 + row;
                const u32 place = slice_place(t, n) + quad * 4;
                const u32 u = *(const u32 *)(space + chunk % 2 * SCAN_STAGE + SCAN_U + place);
                const float d0 = low_half(u) - ws[n][h * 2], d1 = high_half(u) - ws[n][h * 2 + 1];
                const float fade = expf(last - sums[t]), grown = expf(sums[t]);
                *(u32 *)(space + SCAN_D + place) = to_half2(d0, d1);
                *(u32 *)(space + SCAN_E + place) = to_half2(d0 * fade, d1 * fade);
                qs[n][h * 2] *= grown;
                qs[n][h * 2 + 1] *= grown;
            }
        }
        __syncthreads();
        // + M D, and out.
#pragma unroll
        for (int k = 0; k < CHUNK / 16; k++) {
            u32 m[4];
            load_matrices(m, stage + SCAN_M + narrow_place(warp * 16 + lane % 16, k * 2 + lane / 16));
#pragma unroll
            for (int n = 0; n < 2; n++) {
                u32 b[4];
                load_matrices_transposed(b, base + SCAN_D + slice_place(k * 16 + lane / 8 % 2 * 8 + lane % 8, n * 2 + lane / 16));
                multiply_add(qs[2 * n], m, b[0], b[1]);
                multiply_add(qs[2 * n + 1], m, b[2], b[3]);
            }
        }
#pragma unroll
        for (int n = 0; n < 4; n++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const u32 t = chunk * CHUNK + warp * 16 + h * 8 + row;
                if (t < p.tokens) {
                    float *out = p.out + ((size_t)t * p.value_heads + head) * HEAD + slice * SLICE + n * 8 + quad * 2;
                    *(float2 *)out = make_float2(qs[n][h * 2], qs[n][h * 2 + 1]);
                }
            }
        }
        // The state moves on.
        const float decay = expf(last);
#pragma unroll
        for (int i = 0; i < 2; i++) {
#pragma unroll
            for (int n = 0; n < 4; n++) {
#pragma unroll
                for (int e = 0; e < 4; e++) s[i][n][e] *= decay;
            }
        }
#pragma unroll
        for (int k = 0; k < CHUNK / 16; k++) {
            u32 e[2][4];
#pragma unroll
            for (int n = 0; n < 2; n++) {
                load_matrices_transposed(e[n], base + SCAN_E + slice_place(k * 16 + lane / 8 % 2 * 8 + lane % 8, n * 2 + lane / 16));
            }
#pragma unroll
            for (int i = 0; i < 2; i++) {
                // Rows of the operand are keys, and K has them as columns: matrices come transposed.
                u32 keys[4];
                load_matrices_transposed(keys, stage + SCAN_K + wide_place(k * 16 + lane / 16 * 8 + lane % 8, warp * 4 + i * 2 + lane / 8 % 2));
#pragma unroll
                for (int n = 0; n < 2; n++) {
                    multiply_add(s[i][2 * n], keys, e[n][0], e[n][1]);
                    multiply_add(s[i][2 * n + 1], keys, e[n][2], e[n][3]);
                }
            }
        }
        __syncthreads();
    }
    wait_for_copies<0>();
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int n = 0; n < 4; n++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float *to = state + (size_t)(warp * 32 + i * 16 + h * 8 + row) * HEAD + n * 8 + quad * 2;
                *(float2 *)to = make_float2(s[i][n][h * 2], s[i][n][h * 2 + 1]);
            }
        }
    }
}
