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
    float s, c;
    sincosf(angle, &s, &c);
    p.cos[(size_t)blockIdx.x * half + j] = c;
    p.sin[(size_t)blockIdx.x * half + j] = s;
}
