// What every kernel file may use; it is put in front of each of them. No headers: NVRTC needs none.

// Threads of a block of the row-wise kernels.
constexpr unsigned ROW_THREADS = 256;
constexpr unsigned WARP = 32;

// The sum over the 32 lanes of a warp, the same in each of them.
__device__ inline float warp_sum(float value) {
    for (unsigned lane = WARP / 2; lane > 0; lane /= 2) value += __shfl_xor_sync(0xffffffffu, value, lane);
    return value;
}
