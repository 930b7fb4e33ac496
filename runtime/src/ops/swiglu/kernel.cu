// The gate of the MLP: gate = silu(gate) * up, one thread an element.

extern "C" __global__ void swiglu(float *gate, const float *up, unsigned count) {
    unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    float value = gate[index];
    gate[index] = value / (1.0f + expf(-value)) * up[index];
}
