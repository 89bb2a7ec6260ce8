// The gated layer v2 (cells/gated.py): F = σ(f), I = F I + (1 - F) φ(c) m, V = V - Y + I, Y = Q(V).
// Given on the command line besides: FORWARD or BACKWARD, CLAMPED (φ is a clamp, else a ReLU), MASKED.
constexpr int GATES = 2;
#include "cluster.cuh"

__device__ __forceinline__ float candidate_of(float sum, float mask) {
  float value = fmaxf(sum, 0.f);
  if (CLAMPED) value = fminf(value, 1.f);
  return MASKED ? value * mask : value;
}

#ifdef FORWARD
struct Cell {
  struct Args {
    const float *drive, *first, *weights, *scale, *mask, *current0, *membrane0, *output0;
    float *sums, *currents, *membranes, *outputs;
    uint4* spill;
    const long long* lengths;
    int batch, frames;
    float range, levels, unit, threshold;
  };
  float current, membrane, output, mask, forget, candidate;
  int unit;
  __device__ __forceinline__ void start(const Args& a, int row, int which) {
    const int at = row * SIZE + which;
    unit = which;
    current = a.current0[at]; membrane = a.membrane0[at]; output = a.output0[at];
    mask = MASKED ? a.mask[at] : 1.f;
    forget = candidate = 0.f;
  }
  __device__ __forceinline__ void fetch(const Args& a, u32 at, int n) {
    const float* from = a.drive + (size_t)at * (2 * SIZE) + unit;
    forget = __ldg(from); candidate = __ldg(from + SIZE);
    if (n + AHEAD < a.frames) { prefetch(from + AHEAD * 2 * SIZE); prefetch(from + (AHEAD * 2 + 1) * SIZE); }
  }
  __device__ __forceinline__ int step(const Args& a, const float (&fed)[GATES]) {
    forget += fed[0]; candidate += fed[1];
    const float keep = sigmoid(forget);
    current = keep * current + (1.f - keep) * candidate_of(candidate, mask);
    membrane = (membrane - output) + current;
    float level = truncf(fminf(fmaxf(membrane, -a.range), a.range) * a.levels);
    if (fabsf(level) <= a.threshold) level = 0.f;
    output = level * a.unit;
    return (int)level;
  }
  __device__ __forceinline__ void keep(const Args& a, u32 at, bool alive) {
    const size_t to = (size_t)at * SIZE + unit, gates = (size_t)at * (2 * SIZE) + unit;
    a.sums[gates] = alive ? forget : 0.f; a.sums[gates + SIZE] = alive ? candidate : 0.f;
    a.currents[to] = alive ? current : 0.f; a.membranes[to] = alive ? membrane : 0.f;
    a.outputs[to] = alive ? output : 0.f;
  }
};
#include "forward.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1) walk(
    const float* drive, const float* first, const float* weights, const float* scale, const float* mask,
    const float* current0, const float* membrane0, const float* output0, float* sums, float* currents, float* membranes, float* outputs,
    uint4* spill, const long long* lengths, int batch, int frames, float range, float levels, float unit, float threshold) {
  walk_forward({drive, first, weights, scale, mask, current0, membrane0, output0, sums, currents, membranes, outputs, spill, lengths,
                batch, frames, range, levels, unit, threshold});
}
#endif

#ifdef BACKWARD
struct Cell {
  struct Args {
    const float *gradient, *weights, *scale, *mask, *current0, *sums, *currents, *membranes;
    float* to_drive;
    uint4* spill;
    const long long* lengths;
    int batch, frames;
    float range;
  };
  float carried, to_membrane, to_forget, to_candidate, kept, given, mask, first;
  float forget, candidate, before, membrane, gradient;
  int unit;
  bool inside;
  __device__ __forceinline__ void start(const Args& a, int row, int which) {
    const int at = row * SIZE + which;
    unit = which;
    mask = MASKED ? a.mask[at] : 1.f;
    first = a.current0[at];
    carried = to_membrane = 0.f;
    forget = candidate = before = membrane = gradient = 0.f;
  }
  __device__ __forceinline__ void fetch(const Args& a, u32 at, int n) {
    const size_t place = (size_t)at * SIZE + unit, gates = (size_t)at * (2 * SIZE) + unit;
    forget = __ldg(a.sums + gates); candidate = __ldg(a.sums + gates + SIZE);
    membrane = __ldg(a.membranes + place); gradient = __ldg(a.gradient + place);
    before = n > 0 ? __ldg(a.currents + place - SIZE) : first;
    if (n > AHEAD) {
      prefetch(a.sums + gates - AHEAD * 2 * SIZE); prefetch(a.sums + gates - (AHEAD * 2 - 1) * SIZE);
      prefetch(a.membranes + place - AHEAD * SIZE); prefetch(a.gradient + place - AHEAD * SIZE);
      prefetch(a.currents + place - (AHEAD + 1) * SIZE);
    }
  }
  __device__ __forceinline__ void factors(const Args& a) {
    kept = sigmoid(forget);
    const bool passes = candidate > 0.f && (!CLAMPED || candidate < 1.f);
    to_forget = (before - candidate_of(candidate, mask)) * kept * (1.f - kept);
    to_candidate = passes ? (MASKED ? (1.f - kept) * mask : 1.f - kept) : 0.f;
    inside = fabsf(membrane) <= a.range;
    given = gradient;
  }
  __device__ __forceinline__ void step(const Args& a, float fed, float (&gates)[GATES]) {
    if (inside) to_membrane = given + fed;
    const float to_current = to_membrane + carried;
    gates[0] = to_current * to_forget; gates[1] = to_current * to_candidate;
    carried = to_current * kept;
  }
  __device__ __forceinline__ void keep(const Args& a, u32 at, const float (&gates)[GATES]) {
    float* to = a.to_drive + (size_t)at * (2 * SIZE) + unit;
    to[0] = gates[0]; to[SIZE] = gates[1];
  }
};
#include "backward.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1) walk(
    const float* gradient, const float* weights, const float* scale, const float* mask, const float* current0,
    const float* sums, const float* currents, const float* membranes, float* to_drive, uint4* spill, const long long* lengths, int batch,
    int frames, float range) {
  walk_backward({gradient, weights, scale, mask, current0, sums, currents, membranes, to_drive, spill, lengths, batch, frames, range});
}
#endif
