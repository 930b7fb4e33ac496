// Rows that are looked up, and searched for their largest value.

struct Table {
    const u8 *values;
    const u16 *scales;
    const u8 *zeros;
    const u32 *ids;
    float *out;
    u32 columns;
    // As in ops/linear/format.cuh.
    u32 format;
    u32 group;
    u32 bf16_scales;
};

// Column `c` of the row that `number` asks for, as f32.
INLINE void embed_column(const Table &p, u32 number, u32 c) {
    const u32 row = p.ids[number], tile = row / 16, lane = row % 16;
    const u32 groups = p.format <= 1 ? p.columns / 32 / p.group : 1;
    float y;
    if (p.format <= 1) {
        const size_t place = (size_t)tile * groups + c / 32 / p.group;
        const u16 bits = p.scales[place * 16 + lane];
        const float scale = p.bf16_scales ? from_bf16(bits) : from_half(bits);
        if (p.format == 0) {
            const u8 pair = p.values[((size_t)tile * (p.columns / 8) + c / 8) * 64 + lane * 4 + c % 4];
            const u32 q = c % 8 < 4 ? pair & 15 : pair >> 4;
            const u8 zeros = p.zeros ? p.zeros[place * 8 + lane / 2] : 0x88;
            const u32 z = lane % 2 ? zeros >> 4 : zeros & 15;
            y = ((float)q - (float)z) * scale;
        } else {
            const u8 u = p.values[((size_t)tile * (p.columns / 4) + c / 4) * 64 + lane * 4 + c % 4];
            y = ((float)u - 128.f) * scale;
        }
    } else {
        const size_t at = (size_t)row * p.columns + c;
        y = p.format == 4 ? ((const float *)p.values)[at]
            : p.format == 3 ? from_bf16(((const u16 *)p.values)[at])
                            : from_half(((const u16 *)p.values)[at]);
    }
    p.out[(size_t)number * p.columns + c] = y;
}

// What no row has: some score is no number or infinite, or all are minus infinity.
const u32 NO_ROW = 0xffffffffu;

// A value and its place as a number that is larger for a larger value, and for an earlier place among equals; all ones for NaN and
// infinity.
INLINE u64 ranked(float value, u32 place) {
    if (isnan(value) || value == INFINITY) return ~0ull;
    u32 bits = __float_as_uint(value == 0.f ? 0.f : value);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (u64)bits << 32 | (u32)~place;
}

// A search for the largest value of each row: first in parts, then among those.
struct Search {
    // [rows, width].
    const float *x;
    // [rows, parts].
    u64 *largest;
    // [rows].
    u32 *places;
    u32 width;
    u32 parts;
    u32 rows;
    u32 padding;
};

INLINE u64 warp_max(u64 value) {
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) {
        const u64 other = __shfl_xor_sync(FULL_WARP, value, lane);
        value = value > other ? value : other;
    }
    return value;
}

// The largest of the values of a row that a thread sees, of those of part `part`: one of `threads`.
INLINE u64 largest_of_part(const Search &p, u32 row, u32 part, u32 thread, u32 threads) {
    const float *x = p.x + (size_t)row * p.width;
    u64 value = 0;
    for (u32 i = part * threads + thread; i < p.width; i += p.parts * threads) {
        const u64 own = ranked(x[i], i);
        value = value > own ? value : own;
    }
    return value;
}

// Where the largest of a row stands, by a warp.
INLINE void keep_place(const Search &p, u32 row) {
    u64 value = 0;
    for (u32 i = thread_index() % 32; i < p.parts; i += 32) {
        const u64 own = p.largest[(size_t)row * p.parts + i];
        value = value > own ? value : own;
    }
    value = warp_max(value);
    // Nothing is above minus infinity, whose bits are turned around.
    const bool none = value == ~0ull || (u32)(value >> 32) <= ~0xff800000u;
    if (thread_index() % 32 == 0) p.places[row] = none ? NO_ROW : ~(u32)value;
}
