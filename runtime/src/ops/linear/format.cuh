// y = x Wᵀ on the matrix units, W in 4 or 8 bits as the engine file holds it: tiles of 16 rows, see ops/tiles.
//
// A product does not depend on the order of its columns, so each lane takes eight neighbouring columns of a row, which is one
// word of 4-bit values, and the activations are laid out to match: in every eight columns 0 2 1 3 4 6 5 7.
//
// one.cuh multiplies one token, kernel.cu several. This is what both know of matrices.

enum Format { INT4 = 0, INT8 = 1, F16 = 2, BF16 = 3, F32 = 4 };
enum Ending { STORE = 0, ADD = 1, CONVOLVE = 2, DECAY = 3, BETA = 4, SWIGLU = 5 };
enum Opening { PLAIN = 0, NORM = 1, GATED_NORM = 2, PACKED = 3 };

struct Matrix {
    const u8 *values;
    const u16 *scales;
    // Null where every zero point is 8.
    const u8 *zeros;
    // [tokens, stride]: where the first row's outputs go.
    float *out;
    // CONVOLVE: taps [4, rows]. DECAY: -exp(A_log). Else unused.
    const float *first;
    // DECAY: dt_bias.
    const float *second;
    // CONVOLVE: the window [3, rows].
    float *window;
    u32 rows;
    u32 stride;
    u32 format;
    // Group size in chunks of 32 columns.
    u32 group;
    u32 bf16_scales;
    u32 ending;
    // The first block that works on it. One token: its first tile among all, or its first row among those of dense ones.
    u32 block;
    u32 padding;
};

struct Linear {
    Matrix matrices[4];
    u32 count;
    u32 columns;
    u32 tokens;
    // linear_few: tiles that a block works on: 1, 2, 4 or 8; SWIGLU: 2, one of each matrix. One token: grains of every block.
    u32 tiles;
    u32 opening;
    float eps;
    // Width of a head in GATED_NORM.
    u32 width;
    // One token: blocks that have one more.
    u32 more;
    // One token: which block comes first, so that those that have one more are others in every product.
    u32 rotation;
    // One token: chunks of 32 columns that are multiplied before a scale is applied.
    u32 unit;
    // One token: [columns] f32; PACKED: f16 in the packed order. linear_few, linear_many: packed f16 [tokens, columns].
    const void *x;
    // NORM, GATED_NORM.
    const float *weight;
    // GATED_NORM: z.
    const float *gate;
    // NORM: where the normed row goes, or null. SWIGLU in linear_many: packed f16.
    void *extra;
    // linear_few: [tokens, columns / 32] sums of the packed values.
    const float *sums;
};

extern __shared__ uint4 shared[];

const u32 NIBBLES = 0x000f000fu;
// 1024 in both halves: a number below 1024 in its low bits adds itself.
const u32 BIAS = 0x64006400u;

INLINE float scale_of(u16 bits, u32 bf16) { return bf16 ? from_bf16(bits) : from_half(bits); }

// The place of column `c` of eight in the packed order.
INLINE int packed_place(int c) { return (c & 4) | ((c & 1) << 1) | ((c >> 1) & 1); }

// Four bits out of each half of `w`, with the bias: one instruction, which the compiler would make two of.
INLINE u32 biased(u32 w) {
    u32 result;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(w), "n"(NIBBLES), "r"(BIAS));
    return result;
}

// Two rows of eight columns as operands of two multiplications: with the bias of 1024 still in them.
INLINE void nibbles(u32 (&a)[2][4], uint2 w) {
    a[0][0] = biased(w.x);
    a[0][1] = biased(w.y);
    a[0][2] = biased(w.x >> 8);
    a[0][3] = biased(w.y >> 8);
    a[1][0] = biased(w.x >> 4);
    a[1][1] = biased(w.y >> 4);
    a[1][2] = biased(w.x >> 12);
    a[1][3] = biased(w.y >> 12);
}

INLINE void bytes(u32 (&a)[4], uint2 w) {
    a[0] = __byte_perm(w.x, BIAS, 0x5250);
    a[1] = __byte_perm(w.y, BIAS, 0x5250);
    a[2] = __byte_perm(w.x, BIAS, 0x5351);
    a[3] = __byte_perm(w.y, BIAS, 0x5351);
}

// What a row is finished with. It may be asked for before the row's sum is there.
struct Operands {
    float v[7];

    // Before the step in front has ended: what only this step writes, and weights.
    METHOD void load_early(const Matrix &m, u32 row) {
        const size_t rows = m.rows;
        if (m.ending == CONVOLVE) {
#pragma unroll
            for (int i = 0; i < 3; i++) v[i] = m.window[i * rows + row];
#pragma unroll
            for (int i = 0; i < 4; i++) v[3 + i] = m.first[i * rows + row];
        } else if (m.ending == DECAY) {
            v[0] = m.first[row];
            v[1] = m.second[row];
        }
    }

    METHOD void load(const Matrix &m, u32 token, u32 row) {
        if (m.ending == ADD) v[0] = m.out[(size_t)token * m.stride + row];
    }

    // `token` is 0 for the endings that move a state on.
    METHOD void finish(const Matrix &m, u32 token, u32 row, float y) const {
        float &out = m.out[(size_t)token * m.stride + row];
        switch (m.ending) {
        case ADD: out = v[0] + y; return;
        case DECAY: out = v[0] * softplus(y + v[1]); return;
        case BETA: out = sigmoid(y); return;
        case CONVOLVE: {
            const size_t rows = m.rows;
            m.window[row] = v[1];
            m.window[rows + row] = v[2];
            m.window[2 * rows + row] = y;
            out = quick_silu(fmaf(y, v[6], fmaf(v[2], v[5], fmaf(v[1], v[4], v[0] * v[3]))));
            return;
        }
        default: out = y; return;
        }
    }
};

// A row's product goes where it belongs.
INLINE void finish(const Matrix &m, u32 token, u32 row, float y) {
    Operands operands = {};
    operands.load_early(m, row);
    operands.load(m, token, row);
    operands.finish(m, token, row, y);
}
