// SPDX-License-Identifier: GPL-2.0-or-later
// The descriptor of ANI (python/alrare/model/aev.py) and the way back, one warp of 32 lanes for
// each center.
//
// This text is compiled twice: by NVRTC for the GPU that is there, with the numbers of the model's
// terms as constants, and by the C++ compiler, for which a warp is a loop over its lanes. So every
// line of it is tested where there is no GPU. Lengths are in Angstrom.
//
// Lanes share nothing that they write between two SYNC(), and every sum is made by one lane in a
// fixed order: two evaluations give the same bits.
#ifndef ALRARE_NNP_CUDA_ANI_KERNELS_H
#define ALRARE_NNP_CUDA_ANI_KERNELS_H

#ifdef __CUDACC_RTC__
#define DEVICE_FUNCTION static __device__ __forceinline__
#define EACH_LANE(lane) for (int lane = threadIdx.x % 32, once = 1; once; once = 0)
#define SYNC() __syncwarp()
#define COUNT_BITS(mask) __popc(mask)
/// Sets `mask` to the lanes for which `condition` holds; every lane comes here.
#define VOTE(mask, lane, condition)                                                                \
  {                                                                                                \
    const unsigned lanes = __ballot_sync(0xffffffffu, condition);                                  \
    if ((lane) == 0)                                                                               \
      (mask) = lanes;                                                                              \
  }
#define ROUNDED(value) __double2ll_rn(value)
#define ATOMIC_ADD(to, value) atomicAdd(to, value)
#define ATOMIC_MAX(to, value) atomicMax(to, value)
#else // the numbers of terms are those of `c`
#include <cmath>
#define DEVICE_FUNCTION inline
// NOLINTNEXTLINE(bugprone-macro-parentheses): it declares the lane
#define EACH_LANE(lane) for (int lane = 0; (lane) < 32; ++(lane))
#define SYNC()
#define COUNT_BITS(mask) __builtin_popcount(mask)
#define VOTE(mask, lane, condition)                                                                \
  (mask) = ((lane) == 0 ? 0U : (mask)) | ((condition) ? 1U << static_cast<unsigned>(lane) : 0U);
#define ROUNDED(value) llrint(value)
#define ATOMIC_ADD(to, value) (*(to) += (value))
#define ATOMIC_MAX(to, value) (*(to) = *(to) < (value) ? (value) : *(to))
#define N_SPECIES c.n_species
#define N_RADIAL c.n_radial
#define N_SHIFTS c.n_shifts
#define N_SECTIONS c.n_sections
#endif

namespace alrare::cuda {

constexpr int max_terms = 64; ///< of each kind

/// Constants of the descriptor.
struct AniConstants {
  float radial_cutoff, angular_cutoff, radial_eta, angular_eta, zeta;
  int n_species, n_radial, n_shifts, n_sections;
  float radial_shifts[max_terms], angular_shifts[max_terms];
  float section_cos[max_terms], section_sin[max_terms];
};

/// The vector to a neighbor, and the neighbor's species.
struct alignas(16) AniEdge {
  float x, y, z;
  int species;
};

/// An atom as the caller has it; species -1 is not seen.
struct alignas(16) AniAtom {
  double x, y, z;
  int species;
};

/// A neighbor list, row by row: center k is atom centers[k].
struct AniList {
  const AniAtom *atoms;
  const int *centers, *counts; ///< (n)
  const int *neighbors;        ///< (n, stride)
  int stride, n_centers;
  double cutoff, angular_cutoff;
};

/// What is to be made of it; edges of center k begin at k * stride.
struct AniFound {
  AniEdge *edges; ///< (n, stride)
  int *neighbors; ///< (n, stride) the atom that each edge leads to
  int *end;       ///< (n) where the edges of each center end
  int *status;    ///< most near neighbors of a center; whether something cannot be right
};

/// Centers and their edges. Row k of the descriptors is of center order[k].
struct AniEdges {
  const AniEdge *edges;   ///< (n_slots), of which some may be empty
  const int *begin, *end; ///< (n) the edges of each center
  const int *order;       ///< (n) the center of each row
  int n_centers;
  int capacity; ///< most neighbors of a center within the angular cutoff
};

/// Where forces are added.
struct AniForces {
  const int *neighbors;       ///< (n_slots) the atom that each edge leads to
  const int *centers;         ///< (n) the atom of each center
  unsigned long long *forces; ///< (n_atoms, 3) in force_unit
  int *status;                ///< status[1] is set where a force is no number
};

/// Forces are summed as integers, so that their order does not matter: two runs give the same bits,
/// and the forces on all atoms sum to nothing.
constexpr double force_unit = 1.0 / 4294967296.0; ///< eV/Angstrom
constexpr float most_force = 1048576.0f;          ///< eV/Angstrom, of one edge: a thousand fit

/// One of 32 edges that a warp looks at.
struct AniDistance {
  float distance;
  float smooth; ///< the radial cutoff function
  int species;
};

/// A neighbor within the angular cutoff; nine words, so that 32 lanes read 32 banks.
struct AniNear {
  float x, y, z; ///< unit vector
  float distance;
  float smooth, slope; ///< the angular cutoff function and its derivative
  float pull;          ///< derivative of the energy by the distance through the radial terms
  int edge, species;
};

/// What the lanes of a warp share.
struct AniShared {
  AniDistance *chunk; ///< (32)
  unsigned *mask;     ///< the lanes whose edge is near
  AniNear *near;      ///< (capacity)
  float *row;         ///< (F) the descriptor of the center, or the derivative by it
};

/// How many words of 4 bytes a warp shares.
DEVICE_FUNCTION int ani_shared_words(int features, int capacity) {
  return 3 * 32 + 1 + 9 * capacity + features;
}

DEVICE_FUNCTION AniShared ani_share(float *words, int capacity) {
  AniShared out;
  out.chunk = reinterpret_cast<AniDistance *>(words);
  out.mask = reinterpret_cast<unsigned *>(words + 3 * 32);
  out.near = reinterpret_cast<AniNear *>(words + 3 * 32 + 1);
  out.row = words + 3 * 32 + 1 + 9 * capacity;
  return out;
}

/// cos(pi x / 2) and sin(pi x / 2) for x in [0, 1]
struct AniPhase {
  float cosine, sine;
};

DEVICE_FUNCTION AniPhase ani_phase(float x) {
  AniPhase out;
#ifdef __CUDACC_RTC__
  sincospif(0.5f * x, &out.sine, &out.cosine);
#else
  out.cosine = cosf(1.57079633f * x);
  out.sine = sinf(1.57079633f * x);
#endif
  return out;
}

/// First feature of a pair of species, in upper-triangular order.
DEVICE_FUNCTION int ani_pair(const AniConstants &c, int s, int t) {
  const int low = s < t ? s : t, high = s < t ? t : s;
  const int pair = low * N_SPECIES - low * (low - 1) / 2 + high - low;
  return N_SPECIES * N_RADIAL + pair * N_SHIFTS * N_SECTIONS;
}

/// Which of the near neighbors a lane's edge becomes.
DEVICE_FUNCTION int ani_place(unsigned mask, int lane, int n_near) {
  return n_near + COUNT_BITS(mask & ((1U << static_cast<unsigned>(lane)) - 1U));
}

DEVICE_FUNCTION bool ani_is_near(unsigned mask, int lane) {
  return (mask >> static_cast<unsigned>(lane) & 1U) != 0U;
}

/// Reads the edges from `at`, 32 or as many as there are; appends those that are near. Returns how
/// many are near now. The caller synchronizes before and after.
DEVICE_FUNCTION int ani_read(const AniConstants &c, const AniEdge *edges, int at, int end,
                             int n_near, const AniShared &s) {
  EACH_LANE(lane) {
    const bool there = at + lane < end;
    const AniEdge v = edges[there ? at + lane : at];
    const float distance = sqrtf(v.x * v.x + v.y * v.y + v.z * v.z);
    const float cosine = ani_phase(distance / c.radial_cutoff).cosine;
    s.chunk[lane] = {distance, there ? cosine * cosine : 0.0f, v.species};
    VOTE(*s.mask, lane, there && distance < c.angular_cutoff)
  }
  SYNC();
  const unsigned mask = *s.mask;
  EACH_LANE(lane) {
    if (ani_is_near(mask, lane)) {
      const AniEdge v = edges[at + lane];
      const float distance = s.chunk[lane].distance, inverse = 1.0f / distance;
      const AniPhase phase = ani_phase(distance / c.angular_cutoff);
      s.near[ani_place(mask, lane, n_near)] = {v.x * inverse,
                                               v.y * inverse,
                                               v.z * inverse,
                                               distance,
                                               phase.cosine * phase.cosine,
                                               phase.cosine * phase.sine *
                                                   (-3.14159265f / c.angular_cutoff),
                                               0.0f,
                                               at + lane,
                                               v.species};
    }
  }
  return n_near + COUNT_BITS(mask);
}

/// 0.95 cos of the angle between two neighbors; 0.95 is part of ANI's definition.
DEVICE_FUNCTION float ani_cosine(const AniNear &a, const AniNear &b) {
  return 0.95f * (a.x * b.x + a.y * b.y + a.z * b.z);
}

/// Angular term of one section, 2 ((1 + cos(theta - theta_z)) / 2)^zeta.
DEVICE_FUNCTION float ani_angle(const AniConstants &c, float base) {
  return 2.0f * exp2f(c.zeta * log2f(base));
}

/// Row `k` of the descriptors (n, F); `words` are what the warp shares.
DEVICE_FUNCTION void ani_forward(const AniConstants &c, const AniEdges &in, int k, int features,
                                 float *words, float *rows) {
  const AniShared s = ani_share(words, in.capacity);
  const AniEdge *const edges = in.edges;
  const int begin = in.begin[in.order[k]], end = in.end[in.order[k]];
  float *const row = rows + static_cast<long>(k) * features;
  EACH_LANE(lane) {
    for (int f = lane; f < features; f += 32)
      s.row[f] = 0.0f;
  }
  int n_near = 0;
  for (int at = begin; at < end; at += 32) {
    SYNC();
    n_near = ani_read(c, edges, at, end, n_near, s);
    SYNC();
    EACH_LANE(lane) {
      const int n = end - at < 32 ? end - at : 32;
      for (int f = lane; f < N_RADIAL; f += 32)
        for (int j = 0; j < n; ++j) {
          const AniDistance edge = s.chunk[j];
          const float offset = edge.distance - c.radial_shifts[f];
          s.row[edge.species * N_RADIAL + f] +=
              0.25f * expf(offset * offset * -c.radial_eta) * edge.smooth;
        }
    }
  }
  SYNC();
  EACH_LANE(lane) {
    for (int f = lane; f < N_SHIFTS * N_SECTIONS; f += 32) {
      const float shift = c.angular_shifts[f / N_SECTIONS];
      const float along = c.section_cos[f % N_SECTIONS], across = c.section_sin[f % N_SECTIONS];
      for (int p = 0; p < n_near; ++p) {
        const AniNear a = s.near[p];
        for (int q = p + 1; q < n_near; ++q) {
          const AniNear b = s.near[q];
          const float cosine = ani_cosine(a, b);
          const float sine = sqrtf(1.0f - cosine * cosine);
          const float base = 0.5f + 0.5f * (cosine * along + sine * across);
          const float offset = 0.5f * (a.distance + b.distance) - shift;
          s.row[ani_pair(c, a.species, b.species) + f] +=
              ani_angle(c, base) * expf(offset * offset * -c.angular_eta) * (a.smooth * b.smooth);
        }
      }
    }
  }
  SYNC();
  EACH_LANE(lane) {
    for (int f = lane; f < features; f += 32)
      row[f] = s.row[f];
  }
}

/// Derivative of the energy by the distance of one edge through its radial terms.
DEVICE_FUNCTION float ani_radial_pull(const AniConstants &c, float distance, const float *row) {
  const AniPhase phase = ani_phase(distance / c.radial_cutoff);
  const float smooth = phase.cosine * phase.cosine;
  const float slope = phase.cosine * phase.sine * (-3.14159265f / c.radial_cutoff);
  float pull = 0.0f;
  for (int k = 0; k < N_RADIAL; ++k) {
    const float offset = distance - c.radial_shifts[k];
    const float gauss = 0.25f * expf(offset * offset * -c.radial_eta);
    pull += row[k] * gauss * (slope - offset * (smooth * (2.0f * c.radial_eta)));
  }
  return pull;
}

/// Adds the derivative by the vector to `a` of the terms of `a` and `b`; `row` are those of the
/// pair of species.
DEVICE_FUNCTION void ani_add_pair(const AniConstants &c, const AniNear &a, const AniNear &b,
                                  const float *row, float gradient[3]) {
  const float scaled = ani_cosine(a, b);
  const float sine = sqrtf(1.0f - scaled * scaled);
  const float cotangent = scaled / sine;
  const float mean = 0.5f * (a.distance + b.distance);
  float angle[max_terms], angle_slope[max_terms];
  for (int z = 0; z < N_SECTIONS; ++z) {
    const float base = 0.5f + 0.5f * (scaled * c.section_cos[z] + sine * c.section_sin[z]);
    angle[z] = ani_angle(c, base);
    angle_slope[z] = angle[z] / base * (c.section_cos[z] - cotangent * c.section_sin[z]);
  }
  float plain = 0.0f, along = 0.0f, bend = 0.0f;
  for (int k = 0; k < N_SHIFTS; ++k) {
    const float offset = mean - c.angular_shifts[k];
    const float gauss = expf(offset * offset * -c.angular_eta);
    float sum = 0.0f, bent = 0.0f;
    for (int z = 0; z < N_SECTIONS; ++z) {
      sum += row[k * N_SECTIONS + z] * angle[z];
      bent += row[k * N_SECTIONS + z] * angle_slope[z];
    }
    plain += gauss * sum;
    along += gauss * offset * -c.angular_eta * sum;
    bend += gauss * bent;
  }
  const float smooth = a.smooth * b.smooth;
  const float turn = bend * (0.5f * 0.95f) * c.zeta * smooth / a.distance;
  const float cosine = scaled * (1.0f / 0.95f);
  const float pull = along * smooth + plain * a.slope * b.smooth - turn * cosine;
  gradient[0] += a.x * pull + b.x * turn;
  gradient[1] += a.y * pull + b.y * turn;
  gradient[2] += a.z * pull + b.z * turn;
}

/// The derivative by the edges of the center of row `k`, into `gradient` (n_slots, 3), from that by
/// the descriptors (n, F).
DEVICE_FUNCTION void ani_backward(const AniConstants &c, const AniEdges &in, int k, int features,
                                  float *words, const float *rows, float *gradient) {
  const AniShared s = ani_share(words, in.capacity);
  const AniEdge *const edges = in.edges;
  const int begin = in.begin[in.order[k]], end = in.end[in.order[k]];
  const float *const row = rows + static_cast<long>(k) * features;
  EACH_LANE(lane) {
    for (int f = lane; f < features; f += 32)
      s.row[f] = row[f];
  }
  int n_near = 0;
  for (int at = begin; at < end; at += 32) {
    SYNC();
    const int n_now = ani_read(c, edges, at, end, n_near, s);
    SYNC();
    EACH_LANE(lane) {
      if (at + lane < end) {
        const AniDistance edge = s.chunk[lane];
        const float pull = ani_radial_pull(c, edge.distance, s.row + edge.species * N_RADIAL);
        if (ani_is_near(*s.mask, lane)) {
          s.near[ani_place(*s.mask, lane, n_near)].pull = pull;
        } else {
          const AniEdge v = edges[at + lane];
          float *const out = gradient + 3L * (at + lane);
          out[0] = v.x / edge.distance * pull;
          out[1] = v.y / edge.distance * pull;
          out[2] = v.z / edge.distance * pull;
        }
      }
    }
    n_near = n_now;
  }
  SYNC();
  EACH_LANE(lane) {
    for (int p = lane; p < n_near; p += 32) {
      const AniNear a = s.near[p];
      float sum[3] = {a.x * a.pull, a.y * a.pull, a.z * a.pull};
      for (int q = 0; q < n_near; ++q)
        if (q != p)
          ani_add_pair(c, a, s.near[q], s.row + ani_pair(c, a.species, s.near[q].species), sum);
      float *const out = gradient + 3L * a.edge;
      out[0] = sum[0];
      out[1] = sum[1];
      out[2] = sum[2];
    }
  }
}

/// What ani_find asks the lanes of a warp.
struct AniVotes {
  unsigned inside, near, wrong;
};

/// The edges of center `k`, in the order of its list.
DEVICE_FUNCTION void ani_find(const AniList &list, int k, const AniFound &out, AniVotes &votes) {
  const AniAtom center = list.atoms[list.centers[k]];
  const long first = static_cast<long>(k) * list.stride;
  const int count = list.counts[k];
  // with room for what rounds otherwise elsewhere
  const double near_sq = list.angular_cutoff * list.angular_cutoff * (1.0 + 1e-5);
  int n = 0, n_near = 0;
  bool wrong =
      !(center.x - center.x == 0.0 && center.y - center.y == 0.0 && center.z - center.z == 0.0);
  for (int at = 0; at < count; at += 32) {
    SYNC();
    EACH_LANE(lane) {
      const int j = at + lane < count ? list.neighbors[first + at + lane] : list.centers[k];
      const AniAtom other = list.atoms[j];
      const double x = other.x - center.x, y = other.y - center.y, z = other.z - center.z;
      const double square = x * x + y * y + z * z;
      const bool seen = at + lane < count && other.species >= 0;
      const bool inside = seen && square < list.cutoff * list.cutoff;
      VOTE(votes.inside, lane, inside)
      VOTE(votes.near, lane, inside && square < near_sq)
      // not a number, or nearly the same place
      VOTE(votes.wrong, lane, seen && !(static_cast<float>(square) > 0.0f))
    }
    SYNC();
    const unsigned inside = votes.inside;
    EACH_LANE(lane) {
      if (ani_is_near(inside, lane)) {
        const int j = list.neighbors[first + at + lane];
        const AniAtom other = list.atoms[j];
        const long place = first + ani_place(inside, lane, n);
        out.edges[place] = {static_cast<float>(other.x - center.x),
                            static_cast<float>(other.y - center.y),
                            static_cast<float>(other.z - center.z), other.species};
        out.neighbors[place] = j;
      }
    }
    n += COUNT_BITS(inside);
    n_near += COUNT_BITS(votes.near);
    wrong = wrong || votes.wrong != 0U;
  }
  EACH_LANE(lane) {
    if (lane == 0) {
      out.end[k] = static_cast<int>(first) + n;
      ATOMIC_MAX(out.status, n_near);
      if (wrong)
        out.status[1] = 1;
    }
  }
}

/// Adds the forces of the edges of center `k`, in force_unit.
DEVICE_FUNCTION void ani_add_forces(const AniEdges &in, int k, const float *gradient,
                                    const AniForces &out) {
  EACH_LANE(lane) {
    unsigned long long sum[3] = {0, 0, 0};
    bool wrong = false;
    for (int e = in.begin[k] + lane; e < in.end[k]; e += 32)
      for (int d = 0; d < 3; ++d) {
        const float derivative = gradient[3L * e + d];
        wrong = wrong || !(fabsf(derivative) < most_force);
        const auto value = static_cast<unsigned long long>(
            static_cast<long long>(ROUNDED(static_cast<double>(derivative) / force_unit)));
        sum[d] += value;
        ATOMIC_ADD(&out.forces[3L * out.neighbors[e] + d], 0ULL - value);
      }
    for (int d = 0; d < 3; ++d)
      ATOMIC_ADD(&out.forces[3L * out.centers[k] + d], sum[d]);
    if (wrong)
      out.status[1] = 1;
  }
}

} // namespace alrare::cuda

#ifdef __CUDACC_RTC__

/// The row, or the center, of this warp.
#define THIS_WARP (blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32)

extern "C" __global__ void ani_find_kernel(const __grid_constant__ alrare::cuda::AniList list,
                                           const __grid_constant__ alrare::cuda::AniFound out) {
  __shared__ alrare::cuda::AniVotes votes[32];
  const int k = THIS_WARP;
  if (k < list.n_centers)
    alrare::cuda::ani_find(list, k, out, votes[threadIdx.x / 32]);
}

extern "C" __global__ void ani_forward_kernel(const __grid_constant__ alrare::cuda::AniConstants c,
                                              const __grid_constant__ alrare::cuda::AniEdges in,
                                              int features, float *rows) {
  extern __shared__ float words[];
  const int k = THIS_WARP;
  if (k < in.n_centers)
    alrare::cuda::ani_forward(
        c, in, k, features,
        words + threadIdx.x / 32 * alrare::cuda::ani_shared_words(features, in.capacity), rows);
}

extern "C" __global__ void ani_backward_kernel(const __grid_constant__ alrare::cuda::AniConstants c,
                                               const __grid_constant__ alrare::cuda::AniEdges in,
                                               int features, const float *rows, float *gradient) {
  extern __shared__ float words[];
  const int k = THIS_WARP;
  if (k < in.n_centers)
    alrare::cuda::ani_backward(c, in, k, features,
                               words + threadIdx.x / 32 *
                                           alrare::cuda::ani_shared_words(features, in.capacity),
                               rows, gradient);
}

extern "C" __global__ void
ani_add_forces_kernel(const __grid_constant__ alrare::cuda::AniEdges in, const float *gradient,
                      const __grid_constant__ alrare::cuda::AniForces out) {
  const int k = THIS_WARP;
  if (k < in.n_centers)
    alrare::cuda::ani_add_forces(in, k, gradient, out);
}

#else
#undef DEVICE_FUNCTION
#undef EACH_LANE
#undef SYNC
#undef COUNT_BITS
#undef VOTE
#undef ROUNDED
#undef ATOMIC_ADD
#undef ATOMIC_MAX
#undef N_SPECIES
#undef N_RADIAL
#undef N_SHIFTS
#undef N_SECTIONS
#endif
#endif
