// The gated delta rule token by token, by teams of four warps.

struct Recurrence {
    // [tokens, 2 key_heads key_dim + value_heads value_dim].
    const float *qkv;
    // [tokens, value_heads].
    const float *decay;
    const float *beta;
    // [value_heads, key_dim, value_dim].
    float *state;
    // Null, or [tokens, key_heads key_dim + value_heads value_dim + value_heads]: then the state stays.
    float *log;
    // [tokens, value_heads, value_dim].
    float *out;
    u32 tokens;
    u32 key_heads;
    u32 value_heads;
    u32 key_dim;
    u32 value_dim;
    // A kernel of its own: whether the state may be read before the kernel in front has ended, because none of this pass writes it.
    u32 early;
};

const int MOST_KEYS = 128;
const int PARTS = 4;
const int KEYS_A_PART = MOST_KEYS / PARTS;

// exp of a log decay; what would only make subnormal numbers is 0.
INLINE float decay_of(float g) {
    const float decay = expf(g);
    return decay < 1.f / 4611686018427387904.f ? 0.f : decay;
}

// Shared memory of a team.
struct RecurrenceSpace {
    float keys[MOST_KEYS];
    float queries[MOST_KEYS];
    float dots[PARTS][3];
    float sums[PARTS][32][2];
};

// A team has 32 columns of one head's state in registers: lane = column, warp = a quarter of the keys. `early`: the state may be read
// before `wait`, which waits for what is in front. `sync` waits for the team.
template <class Wait, class Sync>
INLINE void recur(const Recurrence &p, u32 head, u32 part_of_columns, bool early, RecurrenceSpace &space, Wait wait, Sync sync) {
    const u32 thread = thread_index() % (PARTS * 32), warp = thread / 32, lane = thread % 32;
    const u32 column = part_of_columns * 32 + lane;
    const u32 key_head = head / (p.value_heads / p.key_heads);
    const u32 row = 2 * p.key_heads * p.key_dim + p.value_heads * p.value_dim;
    const u32 log_row = p.key_heads * p.key_dim + p.value_heads * p.value_dim + p.value_heads;
    const bool inside = column < p.value_dim;
    const u32 part = (p.key_dim + PARTS - 1) / PARTS, first = warp * part;
    // Keys of this warp.
    const u32 held = first < p.key_dim ? min(part, p.key_dim - first) : 0;
    float *state = p.state + (size_t)head * p.key_dim * p.value_dim + column;
    if (!early) wait();
    float s[KEYS_A_PART];
#pragma unroll
    for (int i = 0; i < KEYS_A_PART; i++) {
        s[i] = inside && i < held ? state[(first + i) * p.value_dim] : 0.f;
    }
    if (early) wait();
    const float root = rsqrtf((float)p.key_dim);
    for (u32 t = 0; t < p.tokens; t++) {
        const float *qkv = p.qkv + (size_t)t * row;
        // All that a token brings is asked for at once.
        float q = 0.f, k = 0.f;
        if (thread < p.key_dim) {
            q = qkv[key_head * p.key_dim + thread];
            k = qkv[(p.key_heads + key_head) * p.key_dim + thread];
        }
        const float v = inside ? qkv[2 * p.key_heads * p.key_dim + head * p.value_dim + column] : 0.f;
        const float log_decay = p.decay[t * p.value_heads + head], beta = p.beta[t * p.value_heads + head];
        space.queries[thread] = q;
        space.keys[thread] = k;
        const float kk = warp_sum(k * k), qq = warp_sum(q * q), kq = warp_sum(k * q);
        if (lane == 0) {
            space.dots[warp][0] = kk;
            space.dots[warp][1] = qq;
            space.dots[warp][2] = kq;
        }
        sync();
        float known = 0.f, read = 0.f;
#pragma unroll
        for (int i = 0; i < KEYS_A_PART; i++) {
            if (i < held) {
                known = fmaf(s[i], space.keys[first + i], known);
                read = fmaf(s[i], space.queries[first + i], read);
            }
        }
        space.sums[warp][lane][0] = known;
        space.sums[warp][lane][1] = read;
        sync();
        known = read = 0.f;
        float dot[3] = {};
#pragma unroll
        for (int w = 0; w < PARTS; w++) {
            known += space.sums[w][lane][0];
            read += space.sums[w][lane][1];
#pragma unroll
            for (int i = 0; i < 3; i++) dot[i] += space.dots[w][i];
        }
        const float key = rsqrtf(dot[0] + 1e-6f), query = rsqrtf(dot[1] + 1e-6f) * root;
        const float decay = decay_of(log_decay);
        const float d = (v - decay * key * known) * beta;
        const float delta = d * key;
        if (warp == 0 && inside) {
            p.out[((size_t)t * p.value_heads + head) * p.value_dim + column] =
                read * (decay * query) + d * (dot[2] * key * query);
        }
        if (p.log) {
            float *log = p.log + (size_t)t * log_row;
            if (warp == 0 && inside) log[p.key_heads * p.key_dim + head * p.value_dim + column] = delta;
            if (part_of_columns == 0) {
                if (thread == 0) log[p.key_heads * p.key_dim + p.value_heads * p.value_dim + head] = decay;
                if (head % (p.value_heads / p.key_heads) == 0 && thread < p.key_dim) {
                    log[key_head * p.key_dim + thread] = k;
                }
            }
        }
#pragma unroll
        for (int i = 0; i < KEYS_A_PART; i++) {
            if (i < held) s[i] = fmaf(space.keys[first + i], delta, s[i] * decay);
        }
        // Keys and sums are read above and written by the next token.
        sync();
    }
    if (p.log) return;
#pragma unroll
    for (int i = 0; i < KEYS_A_PART; i++) {
        if (inside && i < held) state[(first + i) * p.value_dim] = s[i];
    }
}
