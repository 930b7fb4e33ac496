// What every kernel starts with: number types, conversions, matrix units, asynchronous copies. Baseline sm_80; no headers.

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define INLINE static __device__ __forceinline__
#define METHOD __device__ __forceinline__
#define KERNEL extern "C" __global__ void

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

// Bytes of shared memory, as architectures give them to one block.
#if __CUDA_ARCH__ == 860 || __CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1200
const u32 SHARED = 99 << 10;
#elif __CUDA_ARCH__ < 900
const u32 SHARED = 163 << 10;
#else
const u32 SHARED = 227 << 10;
#endif

const u32 FULL_WARP = 0xffffffffu;

// Waits until the kernel before this one has ended and its results can be seen. Where a kernel may start early (sm_90), all
// that it reads before must not depend on others, and it must write nothing.
INLINE void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next kernel start: it waits by itself before it reads what this one writes.
INLINE void let_next_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// --- numbers

INLINE float from_half(u16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

INLINE float from_bf16(u16 bits) { return __uint_as_float((u32)bits << 16); }

// Values beyond what a half can say become its largest; NaN stays NaN.
INLINE float in_half_range(float value) { return value > 65504.f ? 65504.f : value < -65504.f ? -65504.f : value; }

INLINE u16 to_half(float value) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(in_half_range(value)));
    return bits;
}

// Two halves, the first in the low bits.
INLINE u32 to_half2(float low, float high) {
    u32 pair;
    asm("{\n"
        "cvt.rn.f16x2.f32 %0, %1, %2;\n"
        "min.NaN.f16x2 %0, %0, %3;\n"
        "max.NaN.f16x2 %0, %0, %4;\n"
        "}"
        : "=&r"(pair) : "f"(high), "f"(low), "r"(0x7bff7bffu), "r"(0xfbfffbffu));
    return pair;
}

INLINE float low_half(u32 pair) { return from_half((u16)pair); }
INLINE float high_half(u32 pair) { return from_half((u16)(pair >> 16)); }

INLINE u32 sub_half2(u32 a, u32 b) {
    u32 c;
    asm("sub.f16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
    return c;
}

INLINE u32 mul_half2(u32 a, u32 b) {
    u32 c;
    asm("mul.f16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
    return c;
}

INLINE float silu(float x) { return x / (1.f + expf(-x)); }
// By the units' own exponential and division: some 1e-6 beside silu.
INLINE float quick_silu(float x) { return __fdividef(x, 1.f + __expf(-x)); }
INLINE float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }
INLINE float softplus(float x) { return fmaxf(x, 0.f) + log1pf(expf(-fabsf(x))); }

// --- warps

// This thread's number in its block, asked for anew: what follows from it is not kept in registers from one step of a pass to the next.
INLINE u32 thread_index() {
    u32 thread;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
    return thread;
}

// The number of this warp in its block, in a way that shows the compiler that it is the same in all lanes.
INLINE u32 warp_index() { return __shfl_sync(FULL_WARP, thread_index() / 32, 0); }

INLINE float warp_sum(float value) {
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) value += __shfl_xor_sync(FULL_WARP, value, lane);
    return value;
}

// The sum over all threads of a block, in every thread; `space` holds 32 values.
INLINE float block_sum(float value, float *space) {
    value = warp_sum(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) space[threadIdx.x / 32] = value;
    __syncthreads();
    float sum = 0.f;
    for (u32 warp = 0; warp < blockDim.x / 32; warp++) sum += space[warp];
    return sum;
}

// --- loads

INLINE uint2 stream_load2(const void *from) {
    uint2 v;
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
    return v;
}

INLINE uint4 stream_load4(const void *from) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    return v;
}

INLINE u32 shared_address(const void *pointer) { return (u32)__cvta_generic_to_shared(pointer); }

// 16 bytes from global to shared memory while the thread goes on; zeros unless `valid`.
INLINE void copy_async(u32 to, const void *from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0) : "memory");
}

INLINE void copy_async_8(u32 to, const void *from) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(to), "l"(from) : "memory");
}

INLINE void close_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int OPEN> INLINE void wait_for_copies() { asm volatile("cp.async.wait_group %0;" ::"n"(OPEN) : "memory"); }

// The larger one, or no number if one is none.
INLINE float max_or_nan(float a, float b) {
    float result;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
    return result;
}

// a / b in fewer steps than the compiler takes, for numbers below 2²¹.
INLINE u32 quotient(u32 a, u32 b) { return (u32)__fdividef((float)a + 0.5f, (float)b); }

// --- numbers in shared memory by which warps tell each other how far they are

// What has been written before `tell` is seen by whoever has seen its number.
INLINE void tell(u32 at, u32 number) { asm volatile("st.release.cta.shared.u32 [%0], %1;" ::"r"(at), "r"(number) : "memory"); }

// For whoever writes it alone.
INLINE void note(u32 at, u32 number) { asm volatile("st.volatile.shared.u32 [%0], %1;" ::"r"(at), "r"(number) : "memory"); }

INLINE u32 told(u32 at) {
    u32 number;
    asm volatile("ld.acquire.cta.shared.u32 %0, [%1];" : "=r"(number) : "r"(at) : "memory");
    return number;
}

// --- barriers in shared memory that copies arrive at; `parity` is that of the phase that is waited for

INLINE void barrier_init(u32 barrier, u32 arrivals) { asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory"); }

INLINE void barrier_arrive(u32 barrier) { asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(barrier) : "memory"); }

#define BARRIER_TEST(INSTRUCTION)                                                                   \
    u32 passed;                                                                                     \
    asm volatile("{\n.reg .pred p;\n" INSTRUCTION ".parity.shared.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}" \
                 : "=r"(passed) : "r"(barrier), "r"(parity) : "memory");                            \
    return passed;

INLINE bool barrier_passed(u32 barrier, u32 parity) { BARRIER_TEST("mbarrier.test_wait") }

// As above, after some time of waiting where the instruction can.
INLINE bool barrier_passes(u32 barrier, u32 parity) {
#if __CUDA_ARCH__ >= 900
    BARRIER_TEST("mbarrier.try_wait")
#else
    return barrier_passed(barrier, parity);
#endif
}

INLINE void barrier_wait(u32 barrier, u32 parity) {
    while (!barrier_passes(barrier, parity)) {}
}

#if __CUDA_ARCH__ >= 900
// Announces `bytes` that will arrive, and arrives.
INLINE void barrier_expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

// `bytes` from global to shared memory, both on 16 bytes, on their way to `barrier`: read once, so that they leave the cache first.
INLINE void copy_bulk(u32 to, const void *from, u32 bytes, u32 barrier, u64 policy) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;"
                 ::"r"(to), "l"(from), "r"(bytes), "r"(barrier), "l"(policy) : "memory");
}

INLINE u64 leaves_first() {
    u64 policy;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}
#else
// This thread's copies will arrive at `barrier` when they have ended: one of its arrivals.
INLINE void barrier_follow_copies(u32 barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier) : "memory");
}
#endif

// --- matrix units

INLINE void load_matrices(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

INLINE void load_matrices_transposed(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

// d += a b for a of [16, 16] and b of [16, 8], f16 in, f32 out.
INLINE void multiply_add(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// d += a b for a of [16, 32] and b of [32, 8], bytes without and with a sign in, whole numbers out.
INLINE void multiply_add(int (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
