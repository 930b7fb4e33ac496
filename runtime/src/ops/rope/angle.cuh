// The table of rotary angles.

struct Angles {
    const u32 *first;
    float *cos;
    float *sin;
    u32 rotary;
    float theta;
};

// Frequency `j` of the position `row`.
INLINE void rope_angle(const Angles &p, u32 row, u32 j) {
    const u32 half = p.rotary / 2;
    const float frequency = 1.f / powf(p.theta, (float)(2 * j) / (float)p.rotary);
    const float angle = (float)(*p.first + row) * frequency;
    // Into one turn in double precision: the units' own sine is exact to 2^-21 there, and needs no table for large angles.
    const double turns = (double)angle * 0.15915494309189535;
    const float within = (float)((turns - rint(turns)) * 6.283185307179586);
    p.cos[(size_t)row * half + j] = __cosf(within);
    p.sin[(size_t)row * half + j] = __sinf(within);
}
