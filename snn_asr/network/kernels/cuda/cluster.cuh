// What the walks of all cells share: the constants of a compilation, clusters and their barriers, tensor products.
//
// A cluster of CTAs owns 8 rows of the batch for all frames; each CTA owns UNITS units with all their gates. The
// recurrent weights never leave the chip: a warp holds HELD of its operands' slots in registers (a slot is 16 bytes a
// lane, one operand of mma.m16n8k16), the rest of them lie in shared memory. CTAs send what the others need with
// st.async into the others' shared memory, where an mbarrier counts the bytes: no barrier of the cluster in the loop.
//
// The weights that neither registers nor shared memory hold lie in global memory, where the L2 cache keeps them.
// Given on the command line (plan.py): SIZE units of the layer, CLUSTER CTAs of WARPS warps, UNITS, PARTS in which a
// float32 operand passes the tensor cores (1: it is narrow), HELD, KEPT slots in shared memory, and of a forward HALF (fp16, or bf16), SPREAD_M
// tiles of 16 gate rows and SPREAD_K tiles of 16 inputs a warp, GROUPS of warps that share the inputs. No header of
// CUDA's is needed.

typedef unsigned int u32;
typedef unsigned short u16;

constexpr int THREADS = 32 * WARPS, ROWS = 8;
constexpr int ITEMS = ROWS * UNITS, MOST_ITEMS = (ITEMS + THREADS - 1) / THREADS;  // items: a row and a unit
constexpr int LEVEL_BIAS = 64;  // a level travels as a byte, shifted so that it is not negative

__host__ __device__ constexpr int aligned(int bytes) { return (bytes + 127) / 128 * 128; }

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
__device__ __forceinline__ u32 cta_rank() { u32 r; asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r)); return r; }
__device__ __forceinline__ u32 cluster_number() { u32 r; asm volatile("mov.u32 %0, %%clusterid.x;" : "=r"(r)); return r; }
__device__ __forceinline__ void cluster_meets() {
  asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
__device__ __forceinline__ u32 address_in(u32 address, u32 rank) {
  u32 r; asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(r) : "r"(address), "r"(rank)); return r;
}
__device__ __forceinline__ void start_barriers(u32 base, int thread) {
  if (thread == 0) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(base) : "memory");
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(base + 8) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
}
__device__ __forceinline__ void expect(u32 barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(barrier), "r"(bytes) : "memory");
}
// Waits for the bytes of a phase; a hang of seconds stops the kernel, so that no fault can spin for ever.
__device__ __forceinline__ void await(u32 barrier, u32 parity) {
  for (u32 spins = 0; spins < (1u << 17); ++spins) {
    u32 done;
    asm volatile("{\n\t.reg .pred p;\n\tmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2, %3;\n\t"
                 "selp.u32 %0, 1, 0, p;\n\t}" : "=r"(done) : "r"(barrier), "r"(parity), "r"(20000u) : "memory");
    if (done) return;
  }
  __trap();
}
__device__ __forceinline__ void send16(u32 to, uint4 v, u32 barrier) {
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1,%2,%3,%4}, [%5];"
               :: "r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w), "r"(barrier) : "memory");
}
__device__ __forceinline__ void send8(u32 to, float x, float y, u32 barrier) {
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%0], {%1,%2}, [%3];"
               :: "r"(to), "r"(__float_as_uint(x)), "r"(__float_as_uint(y)), "r"(barrier) : "memory");
}
__device__ __forceinline__ void send4(u32 to, u32 v, u32 barrier) {
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];"
               :: "r"(to), "r"(v), "r"(barrier) : "memory");
}
constexpr int AHEAD = 5;  // frames: numbers come to the L2 cache before they are loaded
__device__ __forceinline__ void prefetch(const void* p) { asm volatile("prefetch.global.L2 [%0];" :: "l"(p)); }

template <bool FP16>
__device__ __forceinline__ void multiply(float (&c)[4], const uint4& a, u32 b0, u32 b1) {
  if constexpr (FP16)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
  else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

// One number in 16 bits, and back.
template <bool FP16>
__device__ __forceinline__ u16 rounded(float x) {
  u16 r;
  if constexpr (FP16) asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x));
  else asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x));
  return r;
}
template <bool FP16>
__device__ __forceinline__ float widened(u16 bits) {
  if constexpr (FP16) { float r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(bits)); return r; }
  else return __uint_as_float((u32)bits << 16);
}

// The bits of a number's high part (part 0), or of what the high part leaves (part 1).
template <bool FP16>
__device__ __forceinline__ u32 narrow(float x, int part) {
  const u16 high = rounded<FP16>(x);
  return part ? rounded<FP16>(x - widened<FP16>(high)) : high;
}

// Four shifted bytes as four 16-bit floats, exact: the byte becomes the mantissa of a large number, which is subtracted.
template <bool FP16>
__device__ __forceinline__ void levels(u32 bytes, u32& b0, u32& b1) {
  constexpr u32 large = FP16 ? 0x64646464u : 0x43434343u;
  const u32 x = __byte_perm(bytes, large, 0x4140), y = __byte_perm(bytes, large, 0x4342);
  if constexpr (FP16) {
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(b0) : "r"(x), "r"(0x64406440u));  // 1024 + 64
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(b1) : "r"(y), "r"(0x64406440u));
  } else {
    asm("sub.rn.bf16x2 %0, %1, %2;" : "=r"(b0) : "r"(x), "r"(0x43404340u));  // 128 + 64
    asm("sub.rn.bf16x2 %0, %1, %2;" : "=r"(b1) : "r"(y), "r"(0x43404340u));
  }
}

// The surrogate derivatives of surrogates.py at u, the distance from the threshold; KIND is the place in
// triton/slopes.py, from where scale and height come.
template <int KIND>
__device__ __forceinline__ float slope_at(float u, float scale, float height) {
  if constexpr (KIND == 1) return height * expf(-(u * u) * scale);
  else if constexpr (KIND == 2) return fabsf(u) <= scale ? 1.f : 0.f;
  else if constexpr (KIND == 3) return height / (1.f + (u * scale) * (u * scale));
  else if constexpr (KIND == 4) { const float near = 1.f / (1.f + fabsf(u) * scale); return near * near; }
  else return 1.f;
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// Frames that some row of the cluster has.
__device__ __forceinline__ int longest_of(const long long* lengths, int first, int batch) {
  int longest = 0;
  for (int row = first; row < min(first + ROWS, batch); ++row) longest = max(longest, (int)lengths[row]);
  return longest;
}
