// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_KERNELS_TRAINING_TYPES_H
#define ALRARE_NNP_NATIVE_KERNELS_TRAINING_TYPES_H

#include "nnp/native/kernels/round_up.h"

#include <cstdint>

/// What the inner loops of training work on. Plain structs, like kernels.h and for its reason.
///
/// Matrices are (atoms, width) with rows `row_stride(width)` apart. Widths are padded to multiples
/// of 16 with zero weights, atoms to multiples of 8 with rows whose adjoints are zero.
namespace alrare::native {

constexpr int width_block = 16;
constexpr int row_block = 8;

/// An odd number of cache lines: rows a power of two apart would share few sets of the cache.
static constexpr int row_stride(int width) {
  return (round_up(width, width_block) / width_block | 1) * width_block;
}

/// One hidden layer of one network, and the gradient of its weights.
struct TrainingLayer {
  int in, out;            ///< padded
  float *forward;         ///< W^T (in, out) in panels: those columns row by row, panel by panel
  float *backward;        ///< W (out, in) in panels
  float *bias;            ///< (out)
  float *weight_gradient; ///< (out, in), added to
  float *bias_gradient;   ///< (out), added to

  float *value;   ///< (atoms, out) activation
  float *slope;   ///< its first derivative
  float *bend;    ///< its second, times dE/dvalue; after `tangent_pass` the adjoint of z
  float *adjoint; ///< dE/dz
  float *tangent; ///< (n_rows, out) scratch of one call of `tangent_pass`
};

/// The network of one element with its atoms: hidden layers and a linear read-out.
struct TrainingNetwork {
  int n_hidden;
  const TrainingLayer *hidden;
  int features;       ///< padded
  int last_in;        ///< padded
  float *last_weight; ///< (last_in)
  float last_bias;
  float *last_gradient; ///< (last_in), added to

  float *input;        ///< (atoms, features) AEV minus its center
  float *energies;     ///< (atoms)
  float *gradient;     ///< (atoms, features) dE/dAEV
  float *direction;    ///< (atoms, features) adjoint of dE/dAEV
  float *bar_energies; ///< (atoms) adjoint of the energies
};

/// Edges of one configuration and the features that each of them moves.
///
/// Feature rows of an atom start at row[atom]. An edge to species s moves the `radial_length`
/// features from s * radial_length on, and when short the blocks of `angular_length` features
/// that start at pair_feature[s * n_species + t] for every t.
struct ForceTerms {
  int n_species, radial_length, angular_length;
  const int *pair_feature;
  const std::int64_t *species;     ///< (atoms)
  const long *row;                 ///< (atoms)
  const std::int64_t *edge_i;      ///< (edges)
  const std::int64_t *edge_j;      ///< (edges)
  const float *length;             ///< (edges)
  const float *unit;               ///< (edges, 3)
  const float *slope;              ///< (edges, radial_length)
  const std::int64_t *short_edges; ///< (short edges)
  const float *jacobian;           ///< (short edges, 3, n_species * angular_length)
  long first_edge, end_edge;
  long first_short, end_short;
};

/// Numbers of one step of Adam (Kingma and Ba 2015), whose two moments decay by b1 and b2 and have
/// taken t gradients.
struct AdamFactors {
  float first_share;  ///< 1 - b1
  float second_share; ///< 1 - b2
  float first_scale;  ///< 1 / (1 - b1^t)
  float second_scale; ///< 1 / sqrt(1 - b2^t)
  float epsilon;
};

/// Entry points of one instruction set. Atoms go through in tiles of `n_rows`, a multiple of 8.
struct TrainingKernels {
  /// Rows first_row.. of the network: values, slopes, energies, dE/dAEV, dE/dz, bends.
  void (*energy_pass)(const TrainingNetwork &network, int first_row, int n_rows);

  /// Adds the gradient of sum(bar_energies E + direction . dE/dAEV) for these rows.
  void (*tangent_pass)(const TrainingNetwork &network, int first_row, int n_rows);

  /// Adds the forces (atoms, 3) to be had from dE/dAEV.
  void (*forces)(const ForceTerms &terms, const float *gradient, float *forces);

  /// The transpose: adds the adjoint of dE/dAEV to be had from that of the forces.
  void (*forces_backward)(const ForceTerms &terms, const float *bar_forces, float *direction);

  /// Adds the forces, and to strain (3, 3) the derivative of the energy by the strain.
  void (*forces_and_strain)(const ForceTerms &terms, const float *gradient, float *forces,
                            double *strain);

  /// The transpose: adds the adjoint of dE/dAEV to be had from those of the forces and of the
  /// strain derivative (3, 3).
  void (*forces_and_strain_backward)(const ForceTerms &terms, const float *bar_forces,
                                     const float *bar_strain, float *direction);

  /// out (rows, columns) = left (rows, depth) times right (depth, columns) in panels.
  /// Element (r, k) of left lies at r * left_row + k * left_inner. Rows are a multiple of 8,
  /// columns of 16.
  void (*multiply)(const float *left, long left_row, long left_inner, int rows, int depth,
                   const float *right, int columns, float *out);

  /// Takes a gradient into the moments, and writes the direction of the step; arrays of `count`
  /// that do not overlap.
  void (*adam)(const AdamFactors &factors, const float *gradient, float *first, float *second,
               float *direction, long count);

  float (*sum_of_squares)(const float *values, long count);

  /// Takes off each row `factor` times its product with the vector, times the vector. Rows are
  /// `stride` apart and `width`, a multiple of 16, long.
  void (*reflect)(const float *vector, float factor, float *rows, int n_rows, long stride,
                  int width);
};

} // namespace alrare::native

#endif
