// One block a position, one thread a frequency; see angle.cuh.
KERNEL rope_angles(const __grid_constant__ Angles p) {
    let_next_start();
    wait_for_previous();
    if (threadIdx.x < p.rotary / 2) rope_angle(p, blockIdx.x, threadIdx.x);
}
