// The backward walk: each CTA multiplies the gradients of its own gates with its rows of the weights for all units, and
// scatters partial sums to their owners (float32, or bfloat16 where the operands are). Two fp16 parts hold 22 bits of a number near their largest: gradients of a
// row are scaled by a power of two, from their peak in the CTA, and the partial sums scaled back. ``Cell`` holds what one item carries from frame to frame:
//
//   Cell::Args                              at least weights, spill, scale, lengths, batch, frames
//   void start(args, row, unit)             what holds for all frames
//   void fetch(args, at, n)                 begin to load the numbers of frame n, which lie ``at`` row * frames + n
//   void factors(args)                      make of them what does not depend on a gradient; they are free afterwards
//   void step(args, fed, gates[GATES])      gradients of the gates, from that fed back
//   void keep(args, at, gates[GATES])       store the frame's results
constexpr int DEPTH = (GATES * UNITS + 15) / 16, OUT_TILES = ((CLUSTER * UNITS + 15) / 16 + WARPS - 1) / WARPS;
constexpr int SLOTS = OUT_TILES * DEPTH * PARTS, CHUNKS = UNITS / 8;
constexpr int PITCH = DEPTH * 8 + (DEPTH % 2 ? 0 : 8);  // 32-bit words of a row of gradients: 8 or 24 modulo 32
constexpr bool SCALED = PARTS == 2;
constexpr int PEAKS_AT = 16, PART = ROWS * PITCH * 4, SUMS_AT = 128, SUM = SCALED ? 4 : 2;
constexpr int GATES_AT = SUMS_AT + aligned(2 * CLUSTER * ITEMS * SUM);
constexpr int SLOTS_AT = GATES_AT + aligned(2 * PARTS * PART);
static_assert(SLOTS_AT + KEPT * WARPS * 512 == SHARED && HELD + KEPT <= SLOTS, "shared memory of a backward");
static_assert(HELD <= SLOTS && HELD > 0 && UNITS % 8 == 0 && CLUSTER * UNITS >= SIZE, "shape of a backward");

__device__ __forceinline__ uint4 backward_slot(const float* weights, float scale, int tile, int depth, int part, int first) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  u32 found[4];
#pragma unroll
  for (int h = 0; h < 2; ++h)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int to = tile * 16 + g + 8 * half;
      u32 word = 0;
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int k = 16 * depth + 4 * t + 2 * h + e, gate = k / UNITS, unit = first + k % UNITS;
        const bool there = gate < GATES && unit < SIZE && to < SIZE;
        word |= narrow<SCALED>(there ? weights[(size_t)(gate * SIZE + unit) * SIZE + to] * scale : 0.f, part) << (16 * e);
      }
      found[h * 2 + half] = word;
    }
  return make_uint4(found[0], found[1], found[2], found[3]);
}

__device__ __forceinline__ float partial_sum(const unsigned char* at) {
  if constexpr (SCALED) return *reinterpret_cast<const float*>(at);
  else return widened<false>(*reinterpret_cast<const u16*>(at));
}

// The power of two that brings a peak (its bits) to between 2^13 and 2^14; peaks below 2^-90 stay small.
__device__ __forceinline__ float scale_up(u32 peak) { return __uint_as_float((267u - max(peak >> 23, 37u)) << 23); }

// The largest magnitude of this thread's row among the CTA's gates, as bits. All threads meet here.
__device__ __forceinline__ u32 row_peak(const float (&gates)[MOST_ITEMS][GATES], u32* peaks) {
  float largest = 0.f;
#pragma unroll
  for (int it = 0; it < MOST_ITEMS; ++it)
#pragma unroll
    for (int gate = 0; gate < GATES; ++gate) largest = fmaxf(largest, fabsf(gates[it][gate]));
  largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 8));
  largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 16));
  if (threadIdx.x % 32 < ROWS) atomicMax(peaks + threadIdx.x % 32, __float_as_uint(largest));
  __syncthreads();
  return peaks[threadIdx.x % ROWS];
}

__device__ __forceinline__ void walk_backward(const Cell::Args& a) {
  extern __shared__ __align__(128) unsigned char memory[];
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;
  const int rank = cta_rank(), first = rank * UNITS, row0 = cluster_number() * ROWS;
  uint4* slots = reinterpret_cast<uint4*>(memory + SLOTS_AT);
  u32* peaks = reinterpret_cast<u32*>(memory + PEAKS_AT);  // of two frames, 8 rows each: bits of the largest magnitude
  const float scale = *a.scale;

  auto slot = [&](int i) {  // i = (depth * OUT_TILES + tile) * PARTS + part
    const int part = i % PARTS, tile = warp + WARPS * (i / PARTS % OUT_TILES), depth = i / PARTS / OUT_TILES;
    return backward_slot(a.weights, scale, tile, depth, part, first);
  };
  uint4 held[HELD];
#pragma unroll
  for (int i = 0; i < HELD; ++i) held[i] = slot(i);
  uint4* spill = a.spill + (size_t)(rank * (SLOTS - HELD - KEPT)) * WARPS * 32;
  for (int i = HELD; i < SLOTS; ++i)
    (i < HELD + KEPT ? slots + ((i - HELD) * WARPS + warp) * 32 : spill + ((i - HELD - KEPT) * WARPS + warp) * 32)[lane] =
        slot(i);
  for (int i = thread; i < 2 * PARTS * PART / 4; i += THREADS) reinterpret_cast<u32*>(memory + GATES_AT)[i] = 0;
  if (thread < 2 * ROWS) peaks[thread] = 0;
  const u32 base = shared_address(memory);
  start_barriers(base, thread);
  __syncthreads();
  cluster_meets();

  const int longest = longest_of(a.lengths, row0, a.batch);
  Cell cell[MOST_ITEMS];
  u32 at[MOST_ITEMS];
  int length[MOST_ITEMS], place[MOST_ITEMS];  // length -1: no such item; place of its gates among the operands
#pragma unroll
  for (int it = 0; it < MOST_ITEMS; ++it) {
    const int i = thread + it * THREADS, j = i / 8, row = row0 + i % 8;
    const bool there = i < ITEMS && row < a.batch && first + j < SIZE;
    length[it] = there ? (int)a.lengths[row] : -1;
    at[it] = there ? (u32)row * a.frames + a.frames - 1 : 0;
    place[it] = i % 8 * PITCH * 4 + j * 2;
    cell[it].start(a, there ? row : 0, there ? first + j : 0);
  }
  const float nothing[GATES] = {};
  for (int n = a.frames - 1; n >= longest; --n)
#pragma unroll
    for (int it = 0; it < MOST_ITEMS; ++it)
      if (length[it] >= 0) cell[it].keep(a, at[it]--, nothing);
#pragma unroll
  for (int it = 0; it < MOST_ITEMS; ++it) {
    if (longest - 1 < length[it]) cell[it].fetch(a, at[it], longest - 1);
    cell[it].factors(a);
    if (longest - 2 < length[it] && longest > 1) cell[it].fetch(a, at[it] - 1, longest - 2);
  }

  for (int s = 0; s < longest; ++s) {
    const int n = longest - 1 - s, buffer = s & 1;
    if (thread == 0 && n > 0) expect(base + 8 * buffer, CLUSTER * ITEMS * SUM);
    float fed[MOST_ITEMS] = {};
    if (s > 0) {
      await(base + 8 * (buffer ^ 1), ((s - 1) >> 1) & 1);
      const unsigned char* from = memory + SUMS_AT + ((buffer ^ 1) * CLUSTER * ITEMS + thread) * SUM;
#pragma unroll
      for (int it = 0; it < MOST_ITEMS; ++it)
        if (thread + it * THREADS < ITEMS) {
          float part[2] = {0.f, 0.f};
#pragma unroll
          for (int source = 0; source < CLUSTER; ++source) part[source & 1] += partial_sum(from + (source * ITEMS + it * THREADS) * SUM);
          fed[it] = part[0] + part[1];
        }
    }
    float gates[MOST_ITEMS][GATES];
    unsigned char* operands = memory + GATES_AT + buffer * PARTS * PART;
#pragma unroll
    for (int it = 0; it < MOST_ITEMS; ++it) {
#pragma unroll
      for (int gate = 0; gate < GATES; ++gate) gates[it][gate] = 0.f;
      if (n < length[it]) cell[it].step(a, fed[it], gates[it]);
    }
    float up = 1.f;
    if (SCALED) {
      up = scale_up(row_peak(gates, peaks + buffer * ROWS));
      if (thread < ROWS) peaks[(buffer ^ 1) * ROWS + thread] = 0;  // read by all before this frame's barrier
    }
#pragma unroll
    for (int it = 0; it < MOST_ITEMS; ++it) {
      if (thread + it * THREADS < ITEMS) {
#pragma unroll
        for (int part = 0; part < PARTS; ++part)
#pragma unroll
          for (int gate = 0; gate < GATES; ++gate)
            *reinterpret_cast<u16*>(operands + part * PART + place[it] + gate * 2 * UNITS) =
                narrow<SCALED>(gates[it][gate] * up, part);
      }
    }
    __syncthreads();
    if (n > 0) {
      float total[OUT_TILES][4] = {};
#pragma unroll
      for (int q = 0; q < DEPTH; ++q) {
        uint2 b[PARTS];
#pragma unroll
        for (int part = 0; part < PARTS; ++part)
          b[part] = *reinterpret_cast<const uint2*>(operands + part * PART + g * PITCH * 4 + q * 32 + t * 8);
#pragma unroll
        for (int part = 0; part < PARTS; ++part)
#pragma unroll
          for (int m = 0; m < OUT_TILES; ++m) {
            const int i = (q * OUT_TILES + m) * PARTS + part;
            const uint4 w = i < HELD ? held[i < HELD ? i : 0]
                : i < HELD + KEPT ? slots[((i - HELD) * WARPS + warp) * 32 + lane]
                                  : __ldcg(spill + ((i - HELD - KEPT) * WARPS + warp) * 32 + lane);
            multiply<SCALED>(total[m], w, b[0].x, b[0].y);
            if (PARTS == 2 && part == 0) multiply<SCALED>(total[m], w, b[PARTS - 1].x, b[PARTS - 1].y);
          }
      }
      float down[2] = {1.f, 1.f};
      if (SCALED)
        for (int e = 0; e < 2; ++e) down[e] = 1.f / (scale_up(peaks[buffer * ROWS + 2 * t + e]) * scale);
#pragma unroll
      for (int m = 0; m < OUT_TILES; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int eight = (warp + WARPS * m) * 2 + h, owner = eight / CHUNKS;
          if (owner < CLUSTER) {
            const u32 there = address_in(base, owner);
            const int item = ((eight % CHUNKS) * 8 + g) * 8 + 2 * t;
            const u32 to = there + SUMS_AT + ((buffer * CLUSTER + rank) * ITEMS + item) * SUM, counted = there + 8 * buffer;
            if constexpr (SCALED) send8(to, total[m][2 * h] * down[0], total[m][2 * h + 1] * down[1], counted);
            else send4(to, narrow<false>(total[m][2 * h], 0) | narrow<false>(total[m][2 * h + 1], 0) << 16, counted);
          }
        }
    }
#pragma unroll
    for (int it = 0; it < MOST_ITEMS; ++it) {
      if (length[it] >= 0) cell[it].keep(a, at[it], gates[it]);
      --at[it];
      cell[it].factors(a);
      if (n >= 2 && n - 2 < length[it]) cell[it].fetch(a, at[it] - 1, n - 2);
    }
  }
  cluster_meets();
}
