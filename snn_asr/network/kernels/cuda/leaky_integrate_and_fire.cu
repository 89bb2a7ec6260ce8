// RLIF and RadLIF (cells/leaky_integrate_and_fire.py): w = β w + a u + b s, u = α (u - s) + (1 - α) (x - w), s = 1[u > θ].
// Given on the command line besides: FORWARD or BACKWARD, ADAPTIVE, and of a backward SLOPE, the place of the surrogate
// derivative in triton/slopes.py.
constexpr int GATES = 1;
#include "cluster.cuh"

#ifdef FORWARD
struct Cell {
  struct Args {
    const float *drive, *first, *weights, *scale, *decay, *kept, *coupling, *jump, *potential0, *adaptation0, *output0;
    float *sums, *potentials, *adaptations, *outputs;
    uint4* spill;
    const long long* lengths;
    int batch, frames;
    float unit, threshold;
  };
  float potential, adaptation, output, decay, kept, coupling, jump, total;
  int unit;
  __device__ __forceinline__ void start(const Args& a, int row, int which) {
    const int at = row * SIZE + which;
    unit = which;
    potential = a.potential0[at]; output = a.output0[at]; decay = a.decay[which];
    adaptation = kept = coupling = jump = total = 0.f;
    if (ADAPTIVE) { adaptation = a.adaptation0[at]; kept = a.kept[which]; coupling = a.coupling[which]; jump = a.jump[which]; }
  }
  __device__ __forceinline__ void fetch(const Args& a, u32 at, int n) {
    const float* from = a.drive + (size_t)at * SIZE + unit;
    total = __ldg(from);
    if (n + AHEAD < a.frames) prefetch(from + AHEAD * SIZE);
  }
  __device__ __forceinline__ int step(const Args& a, const float (&fed)[GATES]) {
    total += fed[0];
    float inner = total;
    if (ADAPTIVE) {
      adaptation = kept * adaptation + coupling * potential;
      adaptation = adaptation + jump * output;
      inner = inner - adaptation;
    }
    potential = decay * (potential - output) + (1.f - decay) * inner;
    output = potential - a.threshold > 0.f ? 1.f : 0.f;
    return (int)output;
  }
  __device__ __forceinline__ void keep(const Args& a, u32 at, bool alive) {
    const size_t to = (size_t)at * SIZE + unit;
    a.sums[to] = alive ? total : 0.f; a.potentials[to] = alive ? potential : 0.f; a.outputs[to] = alive ? output : 0.f;
    if (ADAPTIVE) a.adaptations[to] = alive ? adaptation : 0.f;
  }
};
#include "forward.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1) walk(
    const float* drive, const float* first, const float* weights, const float* scale, const float* decay,
    const float* kept, const float* coupling, const float* jump, const float* potential0, const float* adaptation0, const float* output0,
    float* sums, float* potentials, float* adaptations, float* outputs, uint4* spill, const long long* lengths, int batch, int frames,
    float unit, float threshold) {
  walk_forward({drive, first, weights, scale, decay, kept, coupling, jump, potential0, adaptation0, output0, sums, potentials,
                adaptations, outputs, spill, lengths, batch, frames, unit, threshold});
}
#endif

#ifdef BACKWARD
struct Cell {
  struct Args {
    const float *gradient, *weights, *scale, *decay, *kept, *coupling, *jump, *potential0, *adaptation0, *output0;
    const float *sums, *potentials, *adaptations, *outputs;
    float *to_drive, *totals;
    uint4* spill;
    const long long* lengths;
    int batch, frames;
    float threshold, slope_scale, slope_height;
  };
  float decay, kept, coupling, jump, potential0, adaptation0, output0;
  float to_potential, to_adaptation, to_decay, to_kept, to_coupling, to_jump;  // running gradients, then the sums
  float sum, potential, before, adaptation, adapted, sent, gradient;           // numbers of a frame as they come
  float slope, inner, earlier, earlier_adaptation, earlier_sent, given;        // and ready
  int unit, place;
  __device__ __forceinline__ void start(const Args& a, int row, int which) {
    place = row * SIZE + which;
    unit = which;
    decay = a.decay[which]; potential0 = a.potential0[place]; output0 = a.output0[place];
    kept = coupling = jump = adaptation0 = 0.f;
    if (ADAPTIVE) { adaptation0 = a.adaptation0[place]; kept = a.kept[which]; coupling = a.coupling[which]; jump = a.jump[which]; }
    to_potential = to_adaptation = to_decay = to_kept = to_coupling = to_jump = 0.f;
    sum = potential = before = adaptation = adapted = sent = gradient = 0.f;
  }
  __device__ __forceinline__ void fetch(const Args& a, u32 at, int n) {
    const size_t from = (size_t)at * SIZE + unit;
    gradient = __ldg(a.gradient + from); sum = __ldg(a.sums + from); potential = __ldg(a.potentials + from);
    before = n > 0 ? __ldg(a.potentials + from - SIZE) : potential0;
    sent = n > 0 ? __ldg(a.outputs + from - SIZE) : output0;
    if (ADAPTIVE) {
      adaptation = __ldg(a.adaptations + from);
      adapted = n > 0 ? __ldg(a.adaptations + from - SIZE) : adaptation0;
    }
    if (n > AHEAD) {
      prefetch(a.gradient + from - AHEAD * SIZE); prefetch(a.sums + from - AHEAD * SIZE);
      prefetch(a.potentials + from - (AHEAD + 1) * SIZE); prefetch(a.outputs + from - (AHEAD + 1) * SIZE);
      if (ADAPTIVE) prefetch(a.adaptations + from - (AHEAD + 1) * SIZE);
    }
  }
  __device__ __forceinline__ void factors(const Args& a) {
    slope = slope_at<SLOPE>(potential - a.threshold, a.slope_scale, a.slope_height);
    inner = ADAPTIVE ? sum - adaptation : sum;
    earlier = before; earlier_sent = sent; earlier_adaptation = adapted; given = gradient;
  }
  // An unstable neuron's state overflows where its gradient is 0: 0 times infinity is 0.
  __device__ __forceinline__ float product(float x, float factor) { return x == 0.f ? 0.f : x * factor; }
  __device__ __forceinline__ void step(const Args& a, float fed, float (&gates)[GATES]) {
    float carried = decay * to_potential, to_sent = given + fed - carried;
    if (ADAPTIVE) { to_sent += jump * to_adaptation; carried += coupling * to_adaptation; }
    to_potential = slope * to_sent + carried;
    to_decay += product(to_potential, earlier - earlier_sent - inner);
    gates[0] = (1.f - decay) * to_potential;
    if (ADAPTIVE) {
      to_adaptation = kept * to_adaptation - gates[0];
      to_kept += product(to_adaptation, earlier_adaptation);
      to_coupling += product(to_adaptation, earlier); to_jump += product(to_adaptation, earlier_sent);
    }
  }
  __device__ __forceinline__ void keep(const Args& a, u32 at, const float (&gates)[GATES]) {
    a.to_drive[(size_t)at * SIZE + unit] = gates[0];
    if (at % a.frames == 0) {  // the first frame is the last to come
      const size_t rows = (size_t)a.batch * SIZE;
      a.totals[place] = to_decay;
      if (ADAPTIVE) { a.totals[rows + place] = to_kept; a.totals[2 * rows + place] = to_coupling; a.totals[3 * rows + place] = to_jump; }
    }
  }
};
#include "backward.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1) walk(
    const float* gradient, const float* weights, const float* scale, const float* decay, const float* kept,
    const float* coupling, const float* jump, const float* potential0, const float* adaptation0, const float* output0, const float* sums,
    const float* potentials, const float* adaptations, const float* outputs, float* to_drive, float* totals,
    uint4* spill, const long long* lengths, int batch, int frames, float threshold, float slope_scale, float slope_height) {
  walk_backward({gradient, weights, scale, decay, kept, coupling, jump, potential0, adaptation0, output0, sums, potentials,
                 adaptations, outputs, to_drive, totals, spill, lengths, batch, frames, threshold, slope_scale, slope_height});
}
#endif
