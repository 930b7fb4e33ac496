// Root-mean-square norms of rows.

struct Rows {
    const float *x;
    const float *weight;
    // As x, or null: multiplied by silu of it.
    const float *gate;
    float *out;
    u32 width;
    float eps;
};

// One block a row; out may be x.
KERNEL __launch_bounds__(256) rms_norm(const __grid_constant__ Rows p) {
    __shared__ float space[32];
    let_next_start();
    wait_for_previous();
    const size_t start = (size_t)blockIdx.x * p.width;
    float squares = 0.f;
    for (u32 i = threadIdx.x; i < p.width; i += 256) squares += p.x[start + i] * p.x[start + i];
    const float factor = rsqrtf(block_sum(squares, space) / (float)p.width + p.eps);
    for (u32 i = threadIdx.x; i < p.width; i += 256) {
        float y = p.x[start + i] * factor * p.weight[i];
        if (p.gate) y *= silu(p.gate[start + i]);
        p.out[start + i] = y;
    }
}
