// Root-mean-square norms of rows and of heads, the latter with the rotation that follows.

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

struct View {
    float *x;
    // Null: no norm.
    const float *weight;
    u32 heads;
    u32 token_stride;
    u32 head_stride;
    u32 padding;
};

struct Heads {
    View views[2];
    // [tokens, rotary / 2], or rotary is 0.
    const float *cos;
    const float *sin;
    u32 count;
    u32 tokens;
    u32 width;
    u32 rotary;
    float eps;
    u32 padding;
};

const int HEADS_A_BLOCK = 4;
const int WIDEST_HEAD = 512;

// One warp a head, in place.
KERNEL __launch_bounds__(HEADS_A_BLOCK * 32) heads(const __grid_constant__ Heads p) {
    __shared__ float space[HEADS_A_BLOCK][WIDEST_HEAD];
    let_next_start();
    wait_for_previous();
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    u32 index = blockIdx.x * HEADS_A_BLOCK + warp;
    const u32 of_first = p.tokens * p.views[0].heads;
    const View &view = p.views[index < of_first ? 0 : 1];
    if (index >= of_first) {
        index -= of_first;
        if (p.count < 2 || index >= p.tokens * view.heads) return;
    }
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
    const u32 half = p.rotary / 2;
    for (u32 i = lane; i < p.width; i += 32) {
        float y = row[i];
        if (i < p.rotary) {
            const u32 j = i < half ? i : i - half;
            const float c = p.cos[(size_t)token * half + j], s = p.sin[(size_t)token * half + j];
            y = i < half ? row[i] * c - row[i + half] * s : row[i] * c + row[i - half] * s;
        }
        x[i] = y;
    }
}
