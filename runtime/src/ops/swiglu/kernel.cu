// gate becomes silu(gate) up.

KERNEL __launch_bounds__(256) swiglu(float *gate, const float *up, u64 count) {
    let_next_start();
    wait_for_previous();
    const u64 i = (u64)blockIdx.x * 256 + threadIdx.x;
    if (i < count) gate[i] = silu(gate[i]) * up[i];
}
