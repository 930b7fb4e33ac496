// Activations in 16 bits, in the order in which the kernels of ops/linear read them, with a norm on the way where one is due.
// One block a token.

enum Order { FEW = 0, MANY = 1 };
enum Opening { PLAIN = 0, NORM = 1, GATED_NORM = 2 };

struct Pack {
    // [tokens, columns], the first row of the call.
    const float *x;
    // NORM: [columns]. GATED_NORM: [width].
    const float *weight;
    // GATED_NORM: z, as x.
    const float *gate;
    u16 *out;
    // [tokens, columns / 32], or null: sums of what was packed.
    float *sums;
    // NORM: the normed rows in f32, or null.
    float *normed;
    u32 columns;
    u32 order;
    u32 opening;
    u32 width;
    float eps;
    u32 padding;
};

INLINE void read8(float (&v)[8], const float *from) {
    const float4 a = ((const float4 *)from)[0], b = ((const float4 *)from)[1];
    v[0] = a.x; v[1] = a.y; v[2] = a.z; v[3] = a.w;
    v[4] = b.x; v[5] = b.y; v[6] = b.z; v[7] = b.w;
}

KERNEL __launch_bounds__(256) pack_activations(const __grid_constant__ Pack p) {
    __shared__ float space[32];
    let_next_start();
    wait_for_previous();
    const u32 token = blockIdx.x, units = p.columns / 8, whole = (units + 31) / 32 * 32;
    const float *x = p.x + (size_t)token * p.columns;
    float factor = 1.f;
    if (p.opening == NORM) {
        float squares = 0.f;
        for (u32 unit = threadIdx.x; unit < units; unit += 256) {
            float v[8];
            read8(v, x + unit * 8);
#pragma unroll
            for (int i = 0; i < 8; i++) squares += v[i] * v[i];
        }
        factor = rsqrtf(block_sum(squares, space) / (float)p.columns + p.eps);
    }
    for (u32 unit = threadIdx.x; unit < whole; unit += 256) {
        const bool valid = unit < units;
        float v[8] = {};
        if (valid) read8(v, x + unit * 8);
        if (p.opening == NORM && valid) {
            float w[8];
            read8(w, p.weight + unit * 8);
#pragma unroll
            for (int i = 0; i < 8; i++) v[i] = v[i] * factor * w[i];
            if (p.normed) {
                float4 *to = (float4 *)(p.normed + (size_t)token * p.columns) + unit * 2;
                to[0] = make_float4(v[0], v[1], v[2], v[3]);
                to[1] = make_float4(v[4], v[5], v[6], v[7]);
            }
        }
        if (p.opening == GATED_NORM) {
            float squares = 0.f;
#pragma unroll
            for (int i = 0; i < 8; i++) squares += v[i] * v[i];
            for (u32 lane = p.width / 16; lane > 0; lane /= 2) squares += __shfl_xor_sync(FULL_WARP, squares, lane);
            const float of_head = rsqrtf(squares / (float)p.width + p.eps);
            if (valid) {
                float w[8], z[8];
                read8(w, p.weight + unit * 8 % p.width);
                read8(z, p.gate + (size_t)token * p.columns + unit * 8);
#pragma unroll
                for (int i = 0; i < 8; i++) v[i] = v[i] * of_head * w[i] * silu(z[i]);
            }
        }
        const u32 pairs[4] = {to_half2(v[0], v[2]), to_half2(v[1], v[3]), to_half2(v[4], v[6]), to_half2(v[5], v[7])};
        float sum = 0.f;
#pragma unroll
        for (int i = 0; i < 4; i++) sum += low_half(pairs[i]) + high_half(pairs[i]);
        sum = valid ? sum : 0.f;
        sum += __shfl_xor_sync(FULL_WARP, sum, 1);
        sum += __shfl_xor_sync(FULL_WARP, sum, 2);
        if (!valid) continue;
        u16 *out = p.out + (size_t)token * p.columns;
        if (p.order == FEW) {
            *(uint4 *)(out + unit * 8) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
        } else {
            u16 *chunk = out + unit / 4 * 32;
#pragma unroll
            for (int i = 0; i < 4; i++) *(u32 *)(chunk + i * 8 + unit % 4 * 2) = pairs[i];
        }
        if (p.sums && unit % 4 == 0) p.sums[(size_t)token * (p.columns / 32) + unit / 4] = sum;
    }
}
