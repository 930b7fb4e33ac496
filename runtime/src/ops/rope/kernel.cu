// The table of rotary angles: one block a position, one thread a frequency.

struct Angles {
    const u32 *first;
    float *cos;
    float *sin;
    u32 rotary;
    float theta;
};

KERNEL rope_angles(const __grid_constant__ Angles p) {
    let_next_start();
    wait_for_previous();
    const u32 half = p.rotary / 2, j = threadIdx.x;
    if (j >= half) return;
    const float frequency = 1.f / powf(p.theta, (float)(2 * j) / (float)p.rotary);
    const float angle = (float)(*p.first + blockIdx.x) * frequency;
    // Into one turn in double precision: the units' own sine is exact to 2^-21 there, and needs no table for large angles.
    const double turns = (double)angle * 0.15915494309189535;
    const float within = (float)((turns - rint(turns)) * 6.283185307179586);
    p.cos[(size_t)blockIdx.x * half + j] = __cosf(within);
    p.sin[(size_t)blockIdx.x * half + j] = __sinf(within);
}
