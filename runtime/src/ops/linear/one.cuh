// y = x Wᵀ for one token, by a grid that stays: see backend/cuda/kernels/persistent.cu.
//
// A block has its share of the tiles, and its warps take the units of those in even parts: a unit is a tile of 16 rows by 128, 64 or
// 32 columns with its scales and zero points. Units come through a ring of the warp's own in shared memory, some of them together. x is
// made in every block, norm included.

// Warps that multiply, and their threads.
const u32 CREW_WARPS = 12;
const u32 CREW = CREW_WARPS * 32;
// A place of a ring: values of some units, their scales, their zero points from a multiple of 16 bytes on, and what the supplier
// says of them: how many they are, times 16, and where in their first 16 bytes zero points begin.
const u32 SLOT_UNITS = SHARED < (200 << 10) ? 2 : 4;
const u32 SLOT_VALUES = SLOT_UNITS * 1024, SLOT_SCALES = SLOT_VALUES, SLOT_ZEROS = SLOT_SCALES + SLOT_UNITS * 32;
const u32 SLOT_SAYS = SLOT_ZEROS + (SLOT_UNITS * 8 + 31) / 16 * 16, SLOT = SLOT_SAYS + 16;
// What warps have of grains that several of them have parts of: [warp][not from its beginning, or from it][matrix of a pair][row].
const u32 PARTS_OF_GRAINS = CREW_WARPS * 2 * 2 * 16;

// Waits for all threads of the crew.
INLINE void crew_sync() { asm volatile("bar.sync 3, %0;" ::"n"(CREW) : "memory"); }

// Units of a tile.
INLINE u32 groups_of(const Linear &p) { return p.columns / 32 >> p.unit / 2; }

// Bytes of a unit's values.
INLINE u32 unit_bytes(const Linear &p) { return p.unit * (p.matrices[0].format == INT8 ? 512 : 256); }

INLINE void read8(float (&v)[8], const float *from) {
    const float4 a = ((const float4 *)from)[0], b = ((const float4 *)from)[1];
    v[0] = a.x; v[1] = a.y; v[2] = a.z; v[3] = a.w;
    v[4] = b.x; v[5] = b.y; v[6] = b.z; v[7] = b.w;
}

INLINE float squares_of(const float (&v)[8]) {
    float sum = 0.f;
#pragma unroll
    for (int i = 0; i < 8; i++) sum = fmaf(v[i], v[i], sum);
    return sum;
}

// The part of a product that a block and a warp of it have.
struct Share {
    // Grains: a tile, or the two tiles of a pair. A block's are neighbours.
    u32 first_grain;
    // Units of a grain, and of all grains of the block.
    u32 of_grain;
    u32 units;
    // Of those, the units of this warp.
    u32 first;
    u32 end;

    METHOD Share(const Linear &p, u32 warp) {
        const u32 groups = groups_of(p);
        of_grain = p.matrices[0].ending == SWIGLU ? 2 * groups : groups;
        u32 block = blockIdx.x + p.rotation;
        if (block >= gridDim.x) block -= gridDim.x;
        first_grain = block * p.tiles + min(block, p.more);
        units = (p.tiles + (block < p.more ? 1 : 0)) * of_grain;
        first = units * warp / CREW_WARPS;
        end = units * (warp + 1) / CREW_WARPS;
    }
};

// The place in its matrix of the tile `number` of a call whose tiles do not alternate; `index` becomes that of the matrix.
INLINE u32 tile_of(const Linear &p, u32 number, u32 &index) {
    index = 0;
    while (index + 1 < p.count && p.matrices[index + 1].format < F16 && number >= p.matrices[index + 1].block) index++;
    return number - p.matrices[index].block;
}

// Eight columns that a thread of the crew has of a row of a dense matrix.
struct DenseUnit {
    uint4 words[2];

    METHOD void load(const Matrix &m, u32 row, u32 columns, u32 unit) {
        const size_t place = (size_t)row * columns + unit * 8;
        if (m.format == F32) {
            words[0] = stream_load4((const float *)m.values + place);
            words[1] = stream_load4((const float *)m.values + place + 4);
        } else {
            words[0] = stream_load4((const u16 *)m.values + place);
        }
    }

    // Times the same columns of x.
    METHOD float times(const Matrix &m, const float (&v)[8]) const {
        float sum = 0.f;
        if (m.format == F32) {
            const u32 w[8] = {words[0].x, words[0].y, words[0].z, words[0].w, words[1].x, words[1].y, words[1].z, words[1].w};
#pragma unroll
            for (int i = 0; i < 8; i++) sum = fmaf(__uint_as_float(w[i]), v[i], sum);
        } else {
            const u32 w[4] = {words[0].x, words[0].y, words[0].z, words[0].w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const u16 low = (u16)w[i], high = (u16)(w[i] >> 16);
                sum = fmaf(m.format == BF16 ? from_bf16(low) : from_half(low), v[2 * i], sum);
                sum = fmaf(m.format == BF16 ? from_bf16(high) : from_half(high), v[2 * i + 1], sum);
            }
        }
        return sum;
    }
};

// Rows of dense matrices are dealt to blocks from the last one on, those of all matrices in one row.
struct DenseRows {
    u32 index;
    u32 row;

    METHOD DenseRows(const Linear &p) : index(0), row(0) { settle(p); }

    METHOD bool is_end(const Linear &p) const { return index == p.count; }

    METHOD void next(const Linear &p) {
        row += gridDim.x;
        if (row >= p.matrices[index].rows) {
            index++;
            settle(p);
        }
    }

  private:
    // To the first row of this block in a matrix from `index` on.
    METHOD void settle(const Linear &p) {
        for (; index < p.count; index++) {
            const Matrix &m = p.matrices[index];
            if (m.format < F16) continue;
            row = (gridDim.x - 1 - blockIdx.x + gridDim.x - m.block % gridDim.x) % gridDim.x;
            if (row < m.rows) return;
        }
    }
};

// x of a product in shared memory: a number of 16 bits for each column, that times the scale of its group, which is as wide as a unit.
// Weights are whole numbers as well, so a unit is multiplied without rounding. For every eight columns stand the upper bytes of their
// numbers and then the lower ones, both with a sign: columns of one operand of the matrix units, which has eight.
struct Digits {
    uint4 *numbers;
    // The scale of each group, and the sum of its numbers.
    float2 *sides;

    METHOD Digits(char *work, u32 columns) : numbers((uint4 *)work), sides((float2 *)(work + columns * 2)) {}

    // Keeps columns 8 * unit to 8 * unit + 7 of N units that are CREW apart, of a whole warp: those below `units`. Lanes whose columns
    // are of a group are neighbours, four times `chunks` of them.
    template <int N> METHOD void keep(u32 first, u32 units, const float (*v)[8], u32 chunks) const {
        float largest[N] = {};
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int i = 0; i < 8; i++) largest[n] = max_or_nan(largest[n], fabsf(v[n][i]));
        }
#pragma unroll
        for (u32 lane = 1; lane < 16; lane *= 2) {
            if (lane >= 4 * chunks) break;
#pragma unroll
            for (int n = 0; n < N; n++) largest[n] = max_or_nan(largest[n], __shfl_xor_sync(FULL_WARP, largest[n], lane));
        }
        // The upper byte of a larger number could be 128.
        const float most = 32512.f;
        // Added to that, a number up to 2²² is rounded, and stands in the lower bits with its sign.
        const float round = 12582912.f;
        u32 sum[N];
#pragma unroll
        for (int n = 0; n < N; n++) {
            const float inverse = largest[n] > 1e-30f ? __fdividef(most, largest[n]) : 0.f;
            u32 of[8];
            sum[n] = 0u - 8 * __float_as_uint(round);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                of[i] = __float_as_uint(fmaf(v[n][i], inverse, round));
                sum[n] += of[i];
            }
            u32 upper[2], lower[2];
#pragma unroll
            for (int i = 0; i < 8; i += 4) {
                lower[i / 4] = __byte_perm(__byte_perm(of[i], of[i + 1], 0x0040), __byte_perm(of[i + 2], of[i + 3], 0x0040), 0x5410);
                // The lower byte counts from -128 on.
                upper[i / 4] = __byte_perm(__byte_perm(of[i] + 128, of[i + 1] + 128, 0x0051),
                                           __byte_perm(of[i + 2] + 128, of[i + 3] + 128, 0x0051), 0x5410);
            }
            if (first + n * CREW < units) numbers[first + n * CREW] = make_uint4(upper[0], upper[1], lower[0], lower[1]);
        }
#pragma unroll
        for (u32 lane = 1; lane < 16; lane *= 2) {
            if (lane >= 4 * chunks) break;
#pragma unroll
            for (int n = 0; n < N; n++) sum[n] += __shfl_xor_sync(FULL_WARP, sum[n], lane);
        }
#pragma unroll
        for (int n = 0; n < N; n++) {
            const u32 unit = first + n * CREW;
            if (unit < units && unit % (4 * chunks) == 0) {
                sides[unit / 4 >> chunks / 2] = make_float2(largest[n] * (1.f / most), __uint_as_float(sum[n]));
            }
        }
    }

    // As above, N or fewer of them: only as many as the warp has.
    template <int N> METHOD void keep_some(u32 first, u32 units, const float (*v)[8], u32 chunks) const {
        if (N == 1 || (first + (N - 1) * CREW) / 32 * 32 < units) keep<N>(first, units, v, chunks);
        else keep_some<N == 1 ? 1 : N - 1>(first, units, v, chunks);
    }

    // What has been kept of eight columns.
    METHOD void read(float (&v)[8], u32 unit, u32 chunks) const {
        const uint4 digits = numbers[unit];
        const float scale = sides[unit / 4 >> chunks / 2].x;
        const u32 upper[2] = {digits.x, digits.y}, lower[2] = {digits.z, digits.w};
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int number = (signed char)(upper[i / 4] >> i % 4 * 8) * 256 + (signed char)(lower[i / 4] >> i % 4 * 8);
            v[i] = (float)number * scale;
        }
    }
};

// x in shared memory, after the opening. `wait` waits for the step in front. A thread asks for all of its columns at once, as far as
// it has room for them, and so waits once. Returns what the product is still to be multiplied by: the norm of a whole row, for which
// nobody has waited.
template <class Wait> INLINE float open_one(const Linear &p, const Digits &x, float *space, Wait wait) {
    const float *from = (const float *)p.x;
    const u32 units = p.columns / 8, thread = thread_index(), opening = p.opening;
    // A head's width is a power of two.
    const u32 own = opening == GATED_NORM ? p.width - 1 : ~0u;
    float w[8] = {};
    if (opening != PLAIN && opening != PACKED && thread < units) read8(w, p.weight + (thread * 8 & own));
    wait();
    if (opening == GATED_NORM) {
        const u32 TOGETHER = 2;
        for (u32 base = thread; base / 32 * 32 < units; base += TOGETHER * CREW) {
            float v[TOGETHER][8] = {}, z[TOGETHER][8] = {};
#pragma unroll
            for (u32 j = 0; j < TOGETHER; j++) {
                const u32 unit = base + j * CREW;
                if (unit >= units) continue;
                read8(v[j], from + unit * 8);
                read8(z[j], p.gate + unit * 8);
            }
#pragma unroll
            for (u32 j = 0; j < TOGETHER; j++) {
                const u32 unit = base + j * CREW;
                // Of a whole warp.
                if (unit / 32 * 32 >= units) continue;
                if (unit < units && unit != thread) read8(w, p.weight + (unit * 8 & own));
                // A head is some neighbouring lanes: width / 8 of them, a power of two up to 32.
                float squares = squares_of(v[j]);
                for (u32 lane = p.width / 16; lane > 0; lane /= 2) squares += __shfl_xor_sync(FULL_WARP, squares, lane);
                const float of_head = rsqrtf(squares / (float)p.width + p.eps);
#pragma unroll
                for (int i = 0; i < 8; i++) v[j][i] = v[j][i] * of_head * w[i] * quick_silu(z[j][i]);
            }
            x.keep_some<TOGETHER>(base, units, v, p.unit);
        }
        crew_sync();
        return 1.f;
    }
    if (opening == PACKED) {
        const u32 TOGETHER = 4;
        for (u32 base = thread; base / 32 * 32 < units; base += TOGETHER * CREW) {
            uint4 packed[TOGETHER] = {};
#pragma unroll
            for (u32 j = 0; j < TOGETHER; j++) {
                if (base + j * CREW < units) packed[j] = ((const uint4 *)p.x)[base + j * CREW];
            }
#pragma unroll
            for (u32 j = 0; j < TOGETHER; j += 2) {
                if ((base + j * CREW) / 32 * 32 >= units) break;
                float v[2][8];
#pragma unroll
                for (u32 k = 0; k < 2; k++) {
                    const uint4 of = packed[j + k];
                    const u32 pairs[4] = {of.x, of.y, of.z, of.w};
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        v[k][i / 2 * 4 + i % 2] = low_half(pairs[i]);
                        v[k][i / 2 * 4 + i % 2 + 2] = high_half(pairs[i]);
                    }
                }
                x.keep_some<2>(base + j * CREW, units, v, p.unit);
            }
        }
        crew_sync();
        return 1.f;
    }
    const u32 TOGETHER = 3;
    const bool norm = opening == NORM;
    float squares = 0.f;
    // Every block keeps some columns of the normed row.
    const u32 some = (p.columns + gridDim.x - 1) / gridDim.x, own_column = blockIdx.x * some + thread;
    float normed = 0.f;
    const bool keeps = norm && p.extra && thread < some && own_column < p.columns;
    if (keeps) normed = from[own_column] * p.weight[own_column];
    for (u32 base = thread; base / 32 * 32 < units; base += TOGETHER * CREW) {
        float v[TOGETHER][8] = {};
#pragma unroll
        for (u32 j = 0; j < TOGETHER; j++) {
            const u32 unit = base + j * CREW;
            if (unit < units) read8(v[j], from + unit * 8);
        }
#pragma unroll
        for (u32 j = 0; j < TOGETHER; j++) {
            const u32 unit = base + j * CREW;
            if (!norm || unit >= units) continue;
            squares += squares_of(v[j]);
            if (unit != thread) read8(w, p.weight + unit * 8);
#pragma unroll
            for (int i = 0; i < 8; i++) v[j][i] *= w[i];
        }
        x.keep_some<TOGETHER>(base, units, v, p.unit);
    }
    if (!norm) {
        crew_sync();
        return 1.f;
    }
    squares = warp_sum(squares);
    if (thread % 32 == 0) space[thread / 32] = squares;
    crew_sync();
    squares = 0.f;
#pragma unroll
    for (u32 warp = 0; warp < CREW_WARPS; warp++) squares += space[warp];
    const float factor = rsqrtf(squares / (float)p.columns + p.eps);
    if (keeps) ((float *)p.extra)[own_column] = normed * factor;
    return factor;
}

// The rows of a grain are done, by the sums of its tiles.
INLINE void finish_row(const Linear &p, u32 number, u32 in_tile, float one, float other) {
    const bool paired = p.matrices[0].ending == SWIGLU;
    u32 index = 0;
    const u32 r = (paired ? number : tile_of(p, number, index)) * 16 + in_tile;
    const Matrix &m = p.matrices[index];
    if (r >= m.rows) return;
    if (paired) {
        // In the order and the type in which the next product reads it.
        ((u16 *)m.out)[r / 8 * 8 + packed_place(r % 8)] = to_half(quick_silu(one) * other);
    } else {
        finish(m, 0, r, one);
    }
}

// Adds what `N` neighbouring units of a tile make to this lane's two rows. Pointers are to what this lane reads of the first: its words
// of the values, its columns of x and of their groups, its rows' scales and zero points. Sums are those of lanes whose quad is 0.
template <int CHUNKS, bool EIGHT, int N>
INLINE void of_units(const char *words, const uint2 *x, const float2 *sides, const char *scales, const char *zeros, bool has_zeros,
                     bool bf16, float (&y)[2]) {
    const u32 CHUNK = EIGHT ? 512 : 256, LOW = 0x0f0f0f0f, HIGH = 0xf0f0f0f0;
    // Two sums of each that do not wait for each other, of 4-bit values those of low nibbles, and of high ones, which are 16 times too
    // large. Column 0 of the operand are the upper bytes of x, column 1 the lower ones.
    int acc[N][2][4] = {};
#pragma unroll
    for (int c = 0; c < CHUNKS; c += 2) {
#pragma unroll
        for (int n = 0; n < N; n++) {
            const int chunk = n * CHUNKS + c;
            const char *const of_chunk = words + chunk * CHUNK;
            const uint2 x0 = x[chunk * 8], x1 = CHUNKS > 1 ? x[chunk * 8 + 8] : make_uint2(0, 0);
            const uint2 w0 = *(const uint2 *)of_chunk, w1 = CHUNKS > 1 ? *(const uint2 *)(of_chunk + CHUNK) : make_uint2(0, 0);
            if (EIGHT) {
                const uint2 v0 = *(const uint2 *)(of_chunk + 64), v1 = CHUNKS > 1 ? *(const uint2 *)(of_chunk + CHUNK + 64) : w1;
                multiply_add(acc[n][0], {w0.x, w0.y, v0.x, v0.y}, x0.x, x0.y);
                if (CHUNKS > 1) multiply_add(acc[n][1], {w1.x, w1.y, v1.x, v1.y}, x1.x, x1.y);
            } else {
                multiply_add(acc[n][0], {w0.x & LOW, w0.y & LOW, w1.x & LOW, w1.y & LOW}, x0.x, x1.x);
                multiply_add(acc[n][1], {w0.x & HIGH, w0.y & HIGH, w1.x & HIGH, w1.y & HIGH}, x0.y, x1.y);
            }
        }
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
        const float2 side = sides[n];
        const int sum = __float_as_int(side.y);
        const u32 pair = *(const u32 *)(scales + n * 32), points = has_zeros ? *(const u8 *)(zeros + n * 8) : 0x88;
        const int bias[2] = {EIGHT ? 128 : (int)(points & 15) * 16, EIGHT ? 128 : (int)(points & 0xf0)};
        const float scale[2] = {scale_of((u16)pair, bf16), scale_of((u16)(pair >> 16), bf16)}, of_x = EIGHT ? side.x : side.x / 16;
        const int first = EIGHT ? 1 : 16;
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int upper = acc[n][0][2 * i] * first + acc[n][1][2 * i], lower = acc[n][0][2 * i + 1] * first + acc[n][1][2 * i + 1];
            y[i] = fmaf(scale[i] * of_x, (float)(upper * 256 + lower - bias[i] * sum), y[i]);
        }
    }
}

// A warp's units, from its ring. What it does not finish alone goes to `parts`.
template <int CHUNKS, bool EIGHT, class Units>
INLINE void multiply_units(const Linear &p, const Share &share, Units &units, const Digits &x, float factor, float *parts) {
    const u32 VALUES = CHUNKS * (EIGHT ? 512 : 256);
    const u32 warp = thread_index() / 32;
    const int lane = thread_index() % 32, row = lane / 4, quad = lane % 4;
    const bool paired = p.matrices[0].ending == SWIGLU, bf16 = p.matrices[0].bf16_scales;
    const bool has_zeros = !EIGHT && p.matrices[0].zeros;
    const u32 tiles = paired ? 2 : 1, groups = groups_of(p);
    // The grain in hand, the tile in it, and the group in that.
    u32 grain = quotient(share.first, share.of_grain), group = share.first - grain * share.of_grain, which = 0;
    // Whether the warp has the grain in hand from its beginning.
    bool from_beginning = group == 0;
    if (group >= groups) {
        group -= groups;
        which = 1;
    }
    // Where this lane reads: its words of a unit, its columns of x.
    const u32 words = (EIGHT ? 2 * quad : quad) * 64 + row * 8;
    const uint2 *const from_x = (const uint2 *)(x.numbers + quad) + (row == 0 ? 0 : 1);
    const uint2 *of_x = from_x + group * CHUNKS * 8;
    // Of the first tile and, in a pair, of the second.
    float y[2] = {}, second[2] = {};
    u32 left = share.end - share.first, here = 0;
    const char *values = nullptr, *scales = nullptr, *zeros = nullptr;
    while (left > 0) {
        if (here == 0) {
            values = units.wait();
            scales = values + SLOT_SCALES + row * 4;
            const u32 says = *(const u32 *)(values + SLOT_SAYS);
            here = says / 16;
            zeros = values + SLOT_ZEROS + says % 16 + row;
        }
        const u32 of_tile = min(here, groups - group);
        here -= of_tile;
        left -= of_tile;
        u32 rest = of_tile;
        const auto advance = [&](u32 units_done) {
            values += units_done * VALUES;
            scales += units_done * 32;
            zeros += units_done * 8;
            of_x += units_done * CHUNKS * 8;
            group += units_done;
            rest -= units_done;
        };
        // Two at once, so that their sums need not wait for each other.
#pragma unroll 1
        while (rest > 1) {
            of_units<CHUNKS, EIGHT, 2>(values + words, of_x, x.sides + group, scales, zeros, has_zeros, bf16, y);
            advance(2);
        }
        if (rest > 0) {
            of_units<CHUNKS, EIGHT, 1>(values + words, of_x, x.sides + group, scales, zeros, has_zeros, bf16, y);
            advance(1);
        }
        if (here == 0) units.release();
        if (group < groups && left > 0) continue;
        // Its part of a tile is done; of a pair the first tile's is kept beside.
        const bool tile_ends = group == groups;
        if (tile_ends) {
            group = 0;
            of_x = from_x;
        }
        if (paired && which == 0 && left > 0) {
            second[0] = y[0];
            second[1] = y[1];
            y[0] = y[1] = 0.f;
            which = 1;
            continue;
        }
        if (!paired || which == 0) {
            second[0] = y[0];
            second[1] = y[1];
            y[0] = y[1] = 0.f;
        }
        // `second` is what it has of the first tile, y of the other.
#pragma unroll
        for (int i = 0; i < 2; i++) {
            second[i] *= factor;
            y[i] *= factor;
        }
        if (quad == 0) {
            if (from_beginning && tile_ends && which == tiles - 1) {
#pragma unroll 1
                for (u32 i = 0; i < 2; i++) {
                    finish_row(p, share.first_grain + grain, row * 2 + i, i ? second[1] : second[0], i ? y[1] : y[0]);
                }
            } else {
                float *to = parts + (warp * 2 + (from_beginning ? 1 : 0)) * 32 + row * 2;
                *(float2 *)to = make_float2(second[0], second[1]);
                *(float2 *)(to + 16) = make_float2(y[0], y[1]);
            }
        }
        y[0] = y[1] = second[0] = second[1] = 0.f;
        which = 0;
        grain++;
        from_beginning = true;
    }
}

// A product. `units` are this warp's in order. `early`: what only this step writes may be read before the step in front has ended.
// `work` holds x, `small` 32 numbers, `parts` PARTS_OF_GRAINS.
template <class Units, class Wait>
INLINE void multiply(const Linear &p, bool early, Units &units, char *work, float *small, float *parts, Wait wait) {
    const Digits x(work, p.columns);
    const u32 thread = thread_index(), warp = thread / 32;
    const bool paired = p.matrices[0].ending == SWIGLU;
    const Share share(p, warp);
    const u32 all = share.units, of_grain = share.of_grain;

    // The row that this thread finishes first, if several warps have parts of its grain.
    const u32 own_grain = thread / 16, in_tile = thread % 16;
    const bool finishes = !paired && own_grain * of_grain < all;
    u32 own_index = 0;
    const u32 own_row = finishes ? tile_of(p, share.first_grain + own_grain, own_index) * 16 + in_tile : 0;
    const Matrix &own = p.matrices[own_index];
    const bool expects = finishes && own_row < own.rows;
    // The first and the last of those warps.
    const auto warp_of = [&](u32 unit) { return quotient(CREW_WARPS * (unit + 1) - 1, all); };
    const u32 own_from = own_grain * of_grain < all ? warp_of(own_grain * of_grain) : 0;
    const u32 own_to = own_grain * of_grain < all ? warp_of(own_grain * of_grain + of_grain - 1) : 0;
    Operands operands = {};
    if (expects && early) operands.load_early(own, own_row);
    DenseRows dense(p);
    DenseUnit dense_unit = {};
    // What the last warp finishes the first of them with.
    const u32 dense_thread = CREW - 32;
    Operands of_dense = {};
    const bool has_dense = !dense.is_end(p);
    if (has_dense) {
        const Matrix &m = p.matrices[dense.index];
        if (thread < p.columns / 8) dense_unit.load(m, dense.row, p.columns, thread);
        if (thread == dense_thread) of_dense.load_early(m, dense.row);
    }

    const float factor = open_one(p, x, small, [&]() {
        wait();
        if (expects) {
            if (!early) operands.load_early(own, own_row);
            operands.load(own, 0, own_row);
        }
        // A warp without units, or with fewer parts than it has places for, leaves zeros.
        for (u32 i = thread; i < PARTS_OF_GRAINS; i += CREW) parts[i] = 0.f;
    });

    // Of the first dense row this warp's part; the others' turn comes at the end.
    float *const dense_parts = small + 16;
    const auto dense_row = [&](bool is_first) {
        const Matrix &m = p.matrices[dense.index];
        float part = 0.f;
        for (u32 unit = thread; unit < p.columns / 8; unit += CREW) {
            if (!is_first || unit != thread) dense_unit.load(m, dense.row, p.columns, unit);
            float of_x[8];
            x.read(of_x, unit, p.unit);
            part += dense_unit.times(m, of_x);
        }
        part = warp_sum(part);
        if (thread % 32 == 0) dense_parts[warp] = part;
    };
    const auto dense_sum = [&] {
        float y = 0.f;
#pragma unroll
        for (u32 w = 0; w < CREW_WARPS; w++) y += dense_parts[w];
        return y * factor;
    };
    if (has_dense) dense_row(true);

    const bool eight = p.matrices[0].format == INT8;
    switch (p.unit) {
    case 4:
        if (eight) multiply_units<4, true>(p, share, units, x, factor, parts);
        else multiply_units<4, false>(p, share, units, x, factor, parts);
        break;
    case 2:
        if (eight) multiply_units<2, true>(p, share, units, x, factor, parts);
        else multiply_units<2, false>(p, share, units, x, factor, parts);
        break;
    default:
        if (eight) multiply_units<1, true>(p, share, units, x, factor, parts);
        else multiply_units<1, false>(p, share, units, x, factor, parts);
    }
    crew_sync();

    // Grains that several warps have parts of.
    for (u32 g = own_grain; g * of_grain < all; g += CREW / 16) {
        const bool is_own = g == own_grain;
        const u32 from = is_own ? own_from : warp_of(g * of_grain), to = is_own ? own_to : warp_of(g * of_grain + of_grain - 1);
        if (from == to) continue;
        // The first of them has the grain's beginning.
        const float *part = parts + (from * 2 + 1) * 32 + in_tile;
        float sum[2] = {part[0], paired ? part[16] : 0.f};
        part += 32;
        for (u32 w = from; w < to; w++, part += 64) {
            sum[0] += part[0];
            if (paired) sum[1] += part[16];
        }
        if (is_own && !paired) {
            if (expects) operands.finish(own, 0, own_row, sum[0]);
        } else {
            finish_row(p, share.first_grain + g, in_tile, sum[0], sum[1]);
        }
    }
    if (!has_dense) return;
    if (thread == dense_thread) {
        const Matrix &m = p.matrices[dense.index];
        of_dense.load(m, 0, dense.row);
        of_dense.finish(m, 0, dense.row, dense_sum());
    }
    for (dense.next(p); !dense.is_end(p); dense.next(p)) {
        crew_sync();
        dense_row(false);
        crew_sync();
        if (thread == dense_thread) finish(p.matrices[dense.index], 0, dense.row, dense_sum());
    }
}
