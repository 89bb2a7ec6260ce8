// The forward walk: levels of the frame before gathered from all CTAs, times this CTA's rows of the weights, into the
// cell's step. ``Cell`` holds what one item (a row and a unit) carries from frame to frame:
//
//   Cell::Args                       pointers and numbers; at least first, weights, spill, scale, unit, lengths, batch, frames
//                                    (first: the recurrent product of the first frame)
//   void start(args, row, unit)      the state before the first frame
//   void fetch(args, at, n)          begin to load the drive of frame n, which lies ``at`` row * frames + n
//   int step(args, fed[GATES])       the level that is sent; fed is the recurrent product
//   void keep(args, at, alive)       store what the backward needs; zeros where the row has ended
constexpr int GATE_TILES = (GATES * UNITS + 15) / 16, TILE_GROUPS = (GATE_TILES + SPREAD_M - 1) / SPREAD_M;
constexpr int SLOTS = SPREAD_M * SPREAD_K * PARTS, BLOCK = ROWS * UNITS, CHUNKS = UNITS / 8;
constexpr int BLOCKS = (GROUPS * SPREAD_K * 2 + CHUNKS - 1) / CHUNKS > CLUSTER
                           ? (GROUPS * SPREAD_K * 2 + CHUNKS - 1) / CHUNKS : CLUSTER;
constexpr int PITCH = GATE_TILES * 16 + 4;  // of a row of partial sums, in floats
constexpr int LEVELS_AT = 128, STAGE_AT = LEVELS_AT + aligned(2 * BLOCKS * BLOCK), SUMS_AT = STAGE_AT + aligned(BLOCK);
constexpr int SLOTS_AT = SUMS_AT + aligned(GROUPS * ROWS * PITCH * 4);
static_assert(TILE_GROUPS * GROUPS <= WARPS && SPREAD_K % 2 == 0 && HELD <= SLOTS && HELD > 0, "shape of a forward");
static_assert(SLOTS_AT + KEPT * WARPS * 512 == SHARED && HELD + KEPT <= SLOTS, "shared memory of a forward");
static_assert(UNITS % 8 == 0 && CLUSTER * UNITS >= SIZE && GROUPS * SPREAD_K * 16 >= SIZE, "units of a forward");

// One operand's slot: weights of 16 gate rows and 16 inputs, in the order in which the levels' bytes are read.
__device__ __forceinline__ uint4 forward_slot(const float* weights, float scale, int tile, int depth, int part, int first) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, k0 = 8 * (4 * (depth >> 1) + t) + 4 * (depth & 1);
  u32 found[4];
#pragma unroll
  for (int h = 0; h < 2; ++h)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int m = tile * 16 + g + 8 * half, gate = m / UNITS, unit = first + m % UNITS, k = k0 + 2 * h;
      const bool there = gate < GATES && unit < SIZE;
      const float* at = weights + (size_t)(gate * SIZE + unit) * SIZE + k;
      const float x0 = there && k < SIZE ? at[0] * scale : 0.f, x1 = there && k + 1 < SIZE ? at[1] * scale : 0.f;
      found[h * 2 + half] = narrow<HALF>(x0, part) | narrow<HALF>(x1, part) << 16;
    }
  return make_uint4(found[0], found[1], found[2], found[3]);
}

__device__ __forceinline__ void walk_forward(const Cell::Args& a) {
  extern __shared__ __align__(128) unsigned char memory[];
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;
  const int rank = cta_rank(), first = rank * UNITS, row0 = cluster_number() * ROWS;
  const int group = warp / TILE_GROUPS, tile0 = (warp % TILE_GROUPS) * SPREAD_M;
  const bool multiplies = group < GROUPS;
  uint4* slots = reinterpret_cast<uint4*>(memory + SLOTS_AT);
  const float scale = *a.scale, back = a.unit / scale;

  auto slot = [&](int i) {  // i = (depth * SPREAD_M + tile) * PARTS + part
    const int part = i % PARTS, tile = i / PARTS % SPREAD_M, depth = group * SPREAD_K + i / PARTS / SPREAD_M;
    return forward_slot(a.weights, scale, tile0 + tile, depth, part, first);
  };
  uint4 held[HELD];
#pragma unroll
  for (int i = 0; i < HELD; ++i) held[i] = multiplies ? slot(i) : make_uint4(0, 0, 0, 0);
  uint4* spill = a.spill + (size_t)(rank * (SLOTS - HELD - KEPT)) * WARPS * 32;
  if (multiplies)
    for (int i = HELD; i < SLOTS; ++i)
      (i < HELD + KEPT ? slots + ((i - HELD) * WARPS + warp) * 32 : spill + ((i - HELD - KEPT) * WARPS + warp) * 32)[lane] =
          slot(i);
  for (int i = thread; i < 2 * BLOCKS * BLOCK; i += THREADS) memory[LEVELS_AT + i] = LEVEL_BIAS;
  const u32 base = shared_address(memory);
  start_barriers(base, thread);
  __syncthreads();
  cluster_meets();

  const int longest = longest_of(a.lengths, row0, a.batch);
  Cell cell[MOST_ITEMS];
  u32 at[MOST_ITEMS];
  int length[MOST_ITEMS];  // -1: no such item
#pragma unroll
  for (int it = 0; it < MOST_ITEMS; ++it) {
    const int i = thread + it * THREADS, row = row0 + i / UNITS, unit = first + i % UNITS;
    const bool there = i < ITEMS && row < a.batch && unit < SIZE;
    length[it] = there ? (int)a.lengths[row] : -1;
    at[it] = there ? (u32)row * a.frames : 0;
    cell[it].start(a, there ? row : 0, there ? unit : 0);
    if (length[it] > 0) cell[it].fetch(a, at[it], 0);
  }
  float* sums = reinterpret_cast<float*>(memory + SUMS_AT);

  for (int n = 0; n < longest; ++n) {
    if (thread == 0) expect(base + 8 * (n & 1), CLUSTER * BLOCK);
    if (n > 0) await(base + 8 * ((n - 1) & 1), ((n - 1) >> 1) & 1);
    if (multiplies) {
      const unsigned char* sent = memory + LEVELS_AT + ((n + 1) & 1) * (BLOCKS * BLOCK);
      float total[SPREAD_M][2][4] = {};
#pragma unroll
      for (int p = 0; p < SPREAD_K / 2; ++p) {
        const int chunk = (group * (SPREAD_K / 2) + p) * 4 + t;
        const uint2 bytes = *reinterpret_cast<const uint2*>(
            sent + (chunk / CHUNKS) * BLOCK + g * UNITS + (chunk % CHUNKS) * 8);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          u32 b0, b1;
          levels<HALF>(h ? bytes.y : bytes.x, b0, b1);
#pragma unroll
          for (int m = 0; m < SPREAD_M; ++m)
#pragma unroll
            for (int part = 0; part < PARTS; ++part) {
              const int i = ((2 * p + h) * SPREAD_M + m) * PARTS + part;
              const uint4 w = i < HELD ? held[i < HELD ? i : 0]
                  : i < HELD + KEPT ? slots[((i - HELD) * WARPS + warp) * 32 + lane]
                                    : __ldcg(spill + ((i - HELD - KEPT) * WARPS + warp) * 32 + lane);
              multiply<HALF>(total[m][h], w, b0, b1);
            }
        }
      }
#pragma unroll
      for (int m = 0; m < SPREAD_M; ++m)
        if (tile0 + m < GATE_TILES) {
          float* to = sums + group * ROWS * PITCH + (tile0 + m) * 16 + g;
          to[(2 * t) * PITCH] = total[m][0][0] + total[m][1][0];
          to[(2 * t + 1) * PITCH] = total[m][0][1] + total[m][1][1];
          to[(2 * t) * PITCH + 8] = total[m][0][2] + total[m][1][2];
          to[(2 * t + 1) * PITCH + 8] = total[m][0][3] + total[m][1][3];
        }
    }
    __syncthreads();
#pragma unroll
    for (int it = 0; it < MOST_ITEMS; ++it) {
      const int i = thread + it * THREADS;
      if (i < ITEMS) {
        const float* from = sums + (i / UNITS) * PITCH + i % UNITS;
        float fed[GATES];
#pragma unroll
        for (int gate = 0; gate < GATES; ++gate) {
          fed[gate] = 0.f;
#pragma unroll
          for (int k = 0; k < GROUPS; ++k) fed[gate] += from[k * ROWS * PITCH + gate * UNITS];
          fed[gate] *= back;
          if (n == 0 && length[it] > 0)
            fed[gate] = a.first[(size_t)(row0 + i / UNITS) * (GATES * SIZE) + gate * SIZE + first + i % UNITS];
        }
        const int level = n < length[it] ? cell[it].step(a, fed) : 0;
        memory[STAGE_AT + i] = (unsigned char)(level + LEVEL_BIAS);
      }
    }
    __syncthreads();
    for (int target = warp; target < CLUSTER; target += WARPS) {
      const u32 remote = address_in(base, (target + rank) % CLUSTER);
      for (int o = lane * 16; o < BLOCK; o += 512)
        send16(remote + LEVELS_AT + (n & 1) * (BLOCKS * BLOCK) + rank * BLOCK + o,
               *reinterpret_cast<const uint4*>(memory + STAGE_AT + o), remote + 8 * (n & 1));
    }
#pragma unroll
    for (int it = 0; it < MOST_ITEMS; ++it) {
      if (length[it] >= 0) cell[it].keep(a, at[it], n < length[it]);
      ++at[it];
      if (n + 1 < length[it]) cell[it].fetch(a, at[it], n + 1);
    }
  }
  for (int n = longest; n < a.frames; ++n)
#pragma unroll
    for (int it = 0; it < MOST_ITEMS; ++it)
      if (length[it] >= 0) cell[it].keep(a, at[it]++, false);
  if (longest > 0) await(base + 8 * ((longest - 1) & 1), ((longest - 1) >> 1) & 1);
  cluster_meets();
}
