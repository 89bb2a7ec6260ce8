// The backward walk: each CTA multiplies the gradients of its own gates with its rows of the weights for all units, and
// scatters float32 partial sums to their owners. ``Cell`` holds what one item carries from frame to frame:
//
//   Cell::Args                              at least weights, lengths, batch, frames
//   void start(args, row, unit)             what holds for all frames
//   void fetch(args, at, n)                 begin to load the numbers of frame n, which lie ``at`` row * frames + n
//   void factors(args)                      make of them what does not depend on a gradient; they are free afterwards
//   void step(args, fed, gates[GATES])      gradients of the gates, from that fed back
//   void keep(args, at, gates[GATES])       store the frame's results
constexpr int DEPTH = (GATES * UNITS + 15) / 16, OUT_TILES = ((CLUSTER * UNITS + 15) / 16 + WARPS - 1) / WARPS;
constexpr int SLOTS = OUT_TILES * DEPTH * PARTS, CHUNKS = UNITS / 8;
constexpr int PITCH = DEPTH * 8 + (DEPTH % 2 ? 0 : 8);  // 32-bit words of a row of gradients: 8 or 24 modulo 32
constexpr int PART = ROWS * PITCH * 4, SUMS_AT = 128, GATES_AT = SUMS_AT + 2 * CLUSTER * ITEMS * 4;
constexpr int SLOTS_AT = GATES_AT + aligned(2 * PARTS * PART);
static_assert(SLOTS_AT + (SLOTS - HELD) * WARPS * 512 == SHARED, "shared memory of a backward");
static_assert(HELD <= SLOTS && HELD > 0 && UNITS % 8 == 0 && CLUSTER * UNITS >= SIZE, "shape of a backward");

__device__ __forceinline__ uint4 backward_slot(const float* weights, int tile, int depth, int part, int first) {
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
        word |= narrow<false>(there ? weights[(size_t)(gate * SIZE + unit) * SIZE + to] : 0.f, part) << (16 * e);
      }
      found[h * 2 + half] = word;
    }
  return make_uint4(found[0], found[1], found[2], found[3]);
}

__device__ __forceinline__ void walk_backward(const Cell::Args& a) {
  extern __shared__ __align__(128) unsigned char memory[];
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;
  const int rank = cta_rank(), first = rank * UNITS, row0 = cluster_number() * ROWS;
  uint4* slots = reinterpret_cast<uint4*>(memory + SLOTS_AT);

  auto slot = [&](int i) {  // i = (depth * OUT_TILES + tile) * PARTS + part
    const int part = i % PARTS, tile = warp + WARPS * (i / PARTS % OUT_TILES), depth = i / PARTS / OUT_TILES;
    return backward_slot(a.weights, tile, depth, part, first);
  };
  uint4 held[HELD];
#pragma unroll
  for (int i = 0; i < HELD; ++i) held[i] = slot(i);
  for (int i = HELD; i < SLOTS; ++i) slots[((i - HELD) * WARPS + warp) * 32 + lane] = slot(i);
  for (int i = thread; i < 2 * PARTS * PART / 4; i += THREADS) reinterpret_cast<u32*>(memory + GATES_AT)[i] = 0;
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
    if (thread == 0 && n > 0) expect(base + 8 * buffer, CLUSTER * ITEMS * 4);
    float fed[MOST_ITEMS] = {};
    if (s > 0) {
      await(base + 8 * (buffer ^ 1), ((s - 1) >> 1) & 1);
      const float* from = reinterpret_cast<const float*>(memory + SUMS_AT) + (buffer ^ 1) * CLUSTER * ITEMS + thread;
#pragma unroll
      for (int it = 0; it < MOST_ITEMS; ++it)
        if (thread + it * THREADS < ITEMS) {
          float part[2] = {0.f, 0.f};
#pragma unroll
          for (int source = 0; source < CLUSTER; ++source) part[source & 1] += from[source * ITEMS + it * THREADS];
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
      if (thread + it * THREADS < ITEMS) {
#pragma unroll
        for (int part = 0; part < PARTS; ++part)
#pragma unroll
          for (int gate = 0; gate < GATES; ++gate)
            *reinterpret_cast<u16*>(operands + part * PART + place[it] + gate * 2 * UNITS) =
                narrow<false>(gates[it][gate], part);
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
            const uint4 w = i < HELD ? held[i < HELD ? i : 0] : slots[((i - HELD) * WARPS + warp) * 32 + lane];
            multiply<false>(total[m], w, b[0].x, b[0].y);
            if (PARTS == 2 && part == 0) multiply<false>(total[m], w, b[PARTS - 1].x, b[PARTS - 1].y);
          }
      }
#pragma unroll
      for (int m = 0; m < OUT_TILES; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int eight = (warp + WARPS * m) * 2 + h, owner = eight / CHUNKS;
          if (owner < CLUSTER) {
            const u32 there = address_in(base, owner);
            const int item = ((eight % CHUNKS) * 8 + g) * 8 + 2 * t;
            send8(there + SUMS_AT + ((buffer * CLUSTER + rank) * ITEMS + item) * 4, total[m][2 * h], total[m][2 * h + 1],
                  there + 8 * buffer);
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
