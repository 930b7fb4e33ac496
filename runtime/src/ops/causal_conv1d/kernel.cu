// Depthwise causal convolution over time, then SiLU.

const u32 MOST_TAPS = 8;

struct Convolution {
    // [tokens, channels], in place.
    float *x;
    // [taps, channels].
    const float *weights;
    // [taps - 1, channels]; with `undecided`, the inputs of x follow in it and the first rows stay.
    float *window;
    u32 channels;
    u32 tokens;
    u32 taps;
    u32 undecided;
};

// One thread a channel; tokens one after the other.
KERNEL __launch_bounds__(128) causal_conv1d(const __grid_constant__ Convolution p) {
    let_next_start();
    wait_for_previous();
    const u32 channel = blockIdx.x * 128 + threadIdx.x, kept = p.taps - 1;
    if (channel >= p.channels) return;
    float taps[MOST_TAPS], before[MOST_TAPS];
    for (u32 j = 0; j < MOST_TAPS; j++) {
        taps[j] = j < p.taps ? p.weights[(size_t)j * p.channels + channel] : 0.f;
        before[j] = j < kept ? p.window[(size_t)j * p.channels + channel] : 0.f;
    }
    for (u32 t = 0; t < p.tokens; t++) {
        float *x = p.x + (size_t)t * p.channels + channel;
        const float input = *x;
        float sum = 0.f;
#pragma unroll
        for (u32 j = 0; j < MOST_TAPS; j++) {
            const float in = j < kept ? before[j] : input;
            if (j <= kept) sum = fmaf(in, taps[j], sum);
        }
#pragma unroll
        for (u32 j = 0; j + 1 < MOST_TAPS; j++) before[j] = j + 1 < kept ? before[j + 1] : input;
        *x = silu(sum);
        if (p.undecided) p.window[(size_t)(kept + t) * p.channels + channel] = input;
    }
    if (p.undecided) return;
#pragma unroll
    for (u32 j = 0; j < MOST_TAPS; j++) {
        if (j < kept) p.window[(size_t)j * p.channels + channel] = before[j];
    }
}

// The window moves on by `tokens` of the inputs behind its first `kept` rows.
KERNEL __launch_bounds__(128) commit_conv1d(float *window, u32 channels, u32 kept, u32 tokens) {
    let_next_start();
    wait_for_previous();
    const u32 channel = blockIdx.x * 128 + threadIdx.x;
    if (channel >= channels) return;
    for (u32 j = 0; j < kept; j++) {
        window[(size_t)j * channels + channel] = window[(size_t)(j + tokens) * channels + channel];
    }
}

const u32 HEAD = 128;
const u32 TOKENS_A_BLOCK = 16;

struct Split {
    // [tokens, channels]: queries, keys and values of HEAD channels each.
    const float *x;
    // [4, channels].
    const float *weights;
    // [3, channels].
    const float *window;
    // [tokens, key_heads, HEAD], normed, queries divided by the root of HEAD, too.
    u16 *queries;
    u16 *keys;
    // [tokens, value_heads, HEAD].
    u16 *values;
    u32 key_heads;
    u32 value_heads;
    u32 tokens;
    float eps;
};

// The convolution of a prompt, in the form that the chunked gated delta rule reads. Neither x nor the window moves.
KERNEL __launch_bounds__(HEAD) convolve_and_split(const __grid_constant__ Split p) {
    __shared__ float sums[TOKENS_A_BLOCK][4];
    let_next_start();
    wait_for_previous();
    const u32 head = blockIdx.y, first = blockIdx.x * TOKENS_A_BLOCK, lane = threadIdx.x;
    const u32 channels = (2 * p.key_heads + p.value_heads) * HEAD, channel = head * HEAD + lane;
    float taps[4], in[TOKENS_A_BLOCK + 3];
#pragma unroll
    for (u32 j = 0; j < 4; j++) taps[j] = p.weights[(size_t)j * channels + channel];
#pragma unroll
    for (u32 t = 0; t < TOKENS_A_BLOCK + 3; t++) {
        const int at = (int)(first + t) - 3;
        in[t] = at < 0                 ? p.window[(size_t)(at + 3) * channels + channel]
                : at < (int)p.tokens ? p.x[(size_t)at * channels + channel]
                                       : 0.f;
    }
    float y[TOKENS_A_BLOCK];
#pragma unroll
    for (u32 t = 0; t < TOKENS_A_BLOCK; t++) {
        float sum = in[t] * taps[0];
        sum = fmaf(in[t + 1], taps[1], sum);
        sum = fmaf(in[t + 2], taps[2], sum);
        y[t] = silu(fmaf(in[t + 3], taps[3], sum));
    }
    const bool is_value = head >= 2 * p.key_heads;
    if (!is_value) {
#pragma unroll
        for (u32 t = 0; t < TOKENS_A_BLOCK; t++) {
            const float squares = warp_sum(y[t] * y[t]);
            if (lane % 32 == 0) sums[t][lane / 32] = squares;
        }
        __syncthreads();
        const float scale = head < p.key_heads ? rsqrtf((float)HEAD) : 1.f;
#pragma unroll
        for (u32 t = 0; t < TOKENS_A_BLOCK; t++) {
            y[t] *= rsqrtf(sums[t][0] + sums[t][1] + sums[t][2] + sums[t][3] + p.eps) * scale;
        }
    }
    const u32 heads = is_value ? p.value_heads : p.key_heads;
    const u32 own = is_value ? head - 2 * p.key_heads : head % p.key_heads;
    u16 *out = is_value ? p.values : head < p.key_heads ? p.queries : p.keys;
#pragma unroll
    for (u32 t = 0; t < TOKENS_A_BLOCK; t++) {
        if (first + t < p.tokens) out[((size_t)(first + t) * heads + own) * HEAD + lane] = to_half(y[t]);
    }
}

// The window behind `tokens` inputs of x: one thread a channel.
KERNEL __launch_bounds__(128) keep_window(const float *x, float *window, u32 channels, u32 kept, u32 tokens) {
    let_next_start();
    wait_for_previous();
    const u32 channel = blockIdx.x * 128 + threadIdx.x;
    if (channel >= channels) return;
    for (u32 j = 0; j < kept; j++) {
        // Ascending: a row of the window is read before it is written.
        const u32 at = j + tokens;
        window[(size_t)j * channels + channel] =
            at < kept ? window[(size_t)at * channels + channel] : x[(size_t)(at - kept) * channels + channel];
    }
}
