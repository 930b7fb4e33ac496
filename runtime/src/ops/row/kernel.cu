// Rows by kernels of their own; see row.cuh.

// Blocks are [rows, parts of 256 columns].
KERNEL __launch_bounds__(256) embed(const __grid_constant__ Table p) {
    let_next_start();
    wait_for_previous();
    const u32 c = blockIdx.y * 256 + threadIdx.x;
    if (c < p.columns) embed_column(p, blockIdx.x, c);
}

// `count` values that do not overlap their destination.
KERNEL __launch_bounds__(256) copy_rows(const float *from, float *to, u64 count) {
    let_next_start();
    wait_for_previous();
    const u64 i = (u64)blockIdx.x * 256 + threadIdx.x;
    if (i < count) to[i] = from[i];
}

// Rows of x, in ascending order, become its first ones. One thread a column, so that a row is read before it is overwritten.
KERNEL __launch_bounds__(256) gather_rows(float *x, const u32 *rows, u32 count, u32 width) {
    let_next_start();
    wait_for_previous();
    const u32 column = blockIdx.x * 256 + threadIdx.x;
    if (column >= width) return;
    for (u32 to = 0; to < count; to++) x[(size_t)to * width + column] = x[(size_t)rows[to] * width + column];
}

// Rows of `left` and `right` side by side: one block a row.
KERNEL __launch_bounds__(256) concat_rows(const float *left, const float *right, float *out, u32 width) {
    let_next_start();
    wait_for_previous();
    const size_t row = blockIdx.x;
    for (u32 i = threadIdx.x; i < width; i += 256) {
        out[row * 2 * width + i] = left[row * width + i];
        out[row * 2 * width + width + i] = right[row * width + i];
    }
}

// Blocks are [parts, rows].
KERNEL __launch_bounds__(256) argmax_parts(const __grid_constant__ Search p) {
    __shared__ u64 space[8];
    let_next_start();
    wait_for_previous();
    u64 value = warp_max(largest_of_part(p, blockIdx.y, blockIdx.x, threadIdx.x, 256));
    if (threadIdx.x % 32 == 0) space[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (u32 warp = 1; warp < 8; warp++) value = value > space[warp] ? value : space[warp];
    p.largest[(size_t)blockIdx.y * p.parts + blockIdx.x] = value;
}

// A warp a row.
KERNEL __launch_bounds__(32) argmax_rows(const __grid_constant__ Search p) {
    let_next_start();
    wait_for_previous();
    keep_place(p, blockIdx.x);
}

// Reads `count` times 16 bytes and keeps what nobody can foresee of them: what memory gives at most.
KERNEL __launch_bounds__(512) read_all(const uint4 *from, u64 count, u32 *out) {
    let_next_start();
    wait_for_previous();
    u32 mixed = 0;
    const u64 step = (u64)gridDim.x * 512;
    u64 i = (u64)blockIdx.x * 512 + threadIdx.x;
    for (; i + 3 * step < count; i += 4 * step) {
        uint4 v[4];
#pragma unroll
        for (int k = 0; k < 4; k++) v[k] = stream_load4(from + i + k * step);
#pragma unroll
        for (int k = 0; k < 4; k++) mixed ^= v[k].x ^ v[k].y ^ v[k].z ^ v[k].w;
    }
    for (; i < count; i += step) {
        const uint4 v = stream_load4(from + i);
        mixed ^= v.x ^ v.y ^ v.z ^ v.w;
    }
    if (mixed == 0x9e3779b9u) *out = mixed;
}
