// Kernels with known habits, for the tests of the reader of cubins. The cubins beside this file were made of it by NVRTC 12.6 and
// 13.0 with --std=c++17 -default-device --ptxas-options=-v; the .log files are what ptxas said.

// Takes nothing.
extern "C" __global__ void plain(float *x, unsigned count) {
    unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < count) x[index] += 1.0f;
}

// Shared memory: 300 floats.
extern "C" __global__ void with_shared(float *x) {
    __shared__ float part[300];
    part[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = part[299 - threadIdx.x];
}

// Shared memory whose size is decided at the launch: nothing that a cubin could know.
extern __shared__ float at_launch[];
extern "C" __global__ void with_shared_at_launch(float *x) {
    at_launch[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = at_launch[blockDim.x - 1 - threadIdx.x];
}

// An array that is indexed at run time: local memory without a spill.
extern "C" __global__ void with_array(float *x, const unsigned *at, unsigned count) {
    float values[16];
    for (unsigned i = 0; i < 16; i++) values[i] = x[i];
#pragma unroll 1
    for (unsigned i = 0; i < count; i++) values[at[i] % 16] += x[i];
    float sum = 0.0f;
    for (unsigned i = 0; i < 16; i++) sum += values[i];
    x[0] = sum;
}

// More values at once than registers.
extern "C" __global__ void __launch_bounds__(1024, 2) with_spills(float *x, unsigned count) {
    float values[40];
#pragma unroll
    for (unsigned i = 0; i < 40; i++) values[i] = x[i * count];
#pragma unroll 1
    for (unsigned k = 0; k < count; k++) {
#pragma unroll
        for (unsigned i = 0; i < 40; i++) values[i] = values[i] * values[(i + 7) % 40] + x[k];
    }
#pragma unroll
    for (unsigned i = 0; i < 40; i++) x[i * count] = values[i];
}
