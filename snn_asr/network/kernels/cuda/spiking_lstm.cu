// The spiking LSTM with a thresholded cell (cells/spiking_lstm.py): f, i, o, g = 1[x > θ], c = 1[f c + i g > θ], h = o c.
// Given on the command line besides: FORWARD or BACKWARD, and of a backward SURROGATE and SPEECH (where else the slope of
// the cell goes), GATE_SLOPE, CANDIDATE_SLOPE and CELL_SLOPE (places in triton/slopes.py).
constexpr int GATES = 4;
#include "cluster.cuh"

#ifdef FORWARD
struct Cell {
  struct Args {
    const float *drive, *first, *weights, *scale, *cell0;
    float *sums, *cells, *outputs;
    uint4* spill;
    const long long* lengths;
    int batch, frames;
    float unit, threshold;
  };
  float cell, output, sums[GATES];
  int unit;
  __device__ __forceinline__ void start(const Args& a, int row, int which) {
    unit = which;
    cell = a.cell0[row * SIZE + which];
    output = 0.f;
    for (int gate = 0; gate < GATES; ++gate) sums[gate] = 0.f;
  }
  __device__ __forceinline__ void fetch(const Args& a, u32 at, int n) {
    const float* from = a.drive + (size_t)at * (GATES * SIZE) + unit;
#pragma unroll
    for (int gate = 0; gate < GATES; ++gate) {
      sums[gate] = __ldg(from + gate * SIZE);
      if (n + AHEAD < a.frames) prefetch(from + (AHEAD * GATES + gate) * SIZE);
    }
  }
  __device__ __forceinline__ int step(const Args& a, const float (&fed)[GATES]) {
    bool open[GATES];
#pragma unroll
    for (int gate = 0; gate < GATES; ++gate) {
      sums[gate] += fed[gate];
      open[gate] = sums[gate] - a.threshold > 0.f;
    }
    const float above = (open[0] ? cell : 0.f) + (open[1] && open[3] ? 1.f : 0.f) - a.threshold;
    cell = above > 0.f ? 1.f : 0.f;
    output = open[2] ? cell : 0.f;
    return (int)output;
  }
  __device__ __forceinline__ void keep(const Args& a, u32 at, bool alive) {
    const size_t to = (size_t)at * SIZE + unit, gates = (size_t)at * (GATES * SIZE) + unit;
#pragma unroll
    for (int gate = 0; gate < GATES; ++gate) a.sums[gates + gate * SIZE] = alive ? sums[gate] : 0.f;
    a.cells[to] = alive ? cell : 0.f; a.outputs[to] = alive ? output : 0.f;
  }
};
#include "forward.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1) walk(
    const float* drive, const float* first, const float* weights, const float* scale, const float* cell0, float* sums,
    float* cells, float* outputs, uint4* spill, const long long* lengths, int batch, int frames, float unit,
    float threshold) {
  walk_forward({drive, first, weights, scale, cell0, sums, cells, outputs, spill, lengths, batch, frames, unit, threshold});
}
#endif

#ifdef BACKWARD
struct Cell {
  struct Args {
    const float *gradient, *weights, *scale, *cell0, *sums, *cells;
    float* to_drive;
    uint4* spill;
    const long long* lengths;
    int batch, frames;
    float threshold, gate_scale, gate_height, candidate_scale, candidate_height, cell_scale, cell_height;
  };
  float first, carried, sums[GATES], before, cell, gradient;  // numbers of a frame as they come
  float factor[GATES], emitted, memory, given;                // and ready
  int unit;
  __device__ __forceinline__ void start(const Args& a, int row, int which) {
    unit = which;
    first = a.cell0[row * SIZE + which];
    carried = before = cell = gradient = 0.f;
    for (int gate = 0; gate < GATES; ++gate) sums[gate] = 0.f;
  }
  __device__ __forceinline__ void fetch(const Args& a, u32 at, int n) {
    const size_t from = (size_t)at * SIZE + unit, gates = (size_t)at * (GATES * SIZE) + unit;
#pragma unroll
    for (int gate = 0; gate < GATES; ++gate) {
      sums[gate] = __ldg(a.sums + gates + gate * SIZE);
      if (n > AHEAD) prefetch(a.sums + gates - (AHEAD * GATES - gate) * SIZE);
    }
    gradient = __ldg(a.gradient + from); cell = __ldg(a.cells + from);
    before = n > 0 ? __ldg(a.cells + from - SIZE) : first;
    if (n > AHEAD) { prefetch(a.gradient + from - AHEAD * SIZE); prefetch(a.cells + from - (AHEAD + 1) * SIZE); }
  }
  __device__ __forceinline__ void factors(const Args& a) {
    float above[GATES], open[GATES];
#pragma unroll
    for (int gate = 0; gate < GATES; ++gate) {
      above[gate] = sums[gate] - a.threshold;
      open[gate] = above[gate] > 0.f ? 1.f : 0.f;
    }
    const float slope = slope_at<CELL_SLOPE>(open[0] * before + open[1] * open[3] - a.threshold, a.cell_scale, a.cell_height);
    factor[0] = slope * before * slope_at<GATE_SLOPE>(above[0], a.gate_scale, a.gate_height);
    factor[1] = slope * open[3] * slope_at<GATE_SLOPE>(above[1], a.gate_scale, a.gate_height);
    factor[2] = cell * slope_at<GATE_SLOPE>(above[2], a.gate_scale, a.gate_height);
    factor[3] = slope * open[1] * slope_at<CANDIDATE_SLOPE>(above[3], a.candidate_scale, a.candidate_height);
    emitted = SPEECH ? open[2] * slope : open[2];
    memory = SURROGATE ? open[0] * slope : open[0];
    given = gradient;
  }
  __device__ __forceinline__ void step(const Args& a, float fed, float (&gates)[GATES]) {
    const float output = given + fed, to_cell = emitted * output + carried;
    gates[0] = to_cell * factor[0]; gates[1] = to_cell * factor[1];
    gates[2] = output * factor[2]; gates[3] = to_cell * factor[3];
    carried = memory * to_cell;
  }
  __device__ __forceinline__ void keep(const Args& a, u32 at, const float (&gates)[GATES]) {
    float* to = a.to_drive + (size_t)at * (GATES * SIZE) + unit;
#pragma unroll
    for (int gate = 0; gate < GATES; ++gate) to[gate * SIZE] = gates[gate];
  }
};
#include "backward.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1) walk(
    const float* gradient, const float* weights, const float* scale, const float* cell0, const float* sums,
    const float* cells, float* to_drive, uint4* spill, const long long* lengths, int batch, int frames, float threshold,
    float gate_scale, float gate_height, float candidate_scale, float candidate_height, float cell_scale,
    float cell_height) {
  walk_backward({gradient, weights, scale, cell0, sums, cells, to_drive, spill, lengths, batch, frames, threshold, gate_scale,
                 gate_height, candidate_scale, candidate_height, cell_scale, cell_height});
}
#endif
