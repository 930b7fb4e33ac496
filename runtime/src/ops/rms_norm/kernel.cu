// Root-mean-square normalisation: out = weight * x / sqrt(mean(x^2) + eps), one block of ROW_THREADS threads a row.

extern "C" __global__ void __launch_bounds__(ROW_THREADS)
rms_norm(const float *x, const float *weight, float eps, float *out, unsigned width) {
    __shared__ float partial[ROW_THREADS / WARP];
    size_t row = (size_t)blockIdx.x * width;
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < width; i += ROW_THREADS) sum += x[row + i] * x[row + i];
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = sum;
    __syncthreads();
    float total = 0.0f;
    for (unsigned i = 0; i < ROW_THREADS / WARP; i++) total += partial[i];
    float factor = 1.0f / sqrtf(total / width + eps);
    for (unsigned i = threadIdx.x; i < width; i += ROW_THREADS) out[row + i] = weight[i] * (x[row + i] * factor);
}
