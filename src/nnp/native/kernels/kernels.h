// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_KERNELS_KERNELS_H
#define ALRARE_NNP_NATIVE_KERNELS_KERNELS_H

#include "nnp/native/kernels/training_types.h"

#include <cstdint>

/// What the inner loops of the native engine work on, and the table of their entry points.
///
/// The loops are compiled once per instruction set. Their files may use nothing but the plain
/// structs here: an inline function of the standard library compiled with AVX-512 could be the copy
/// that the linker keeps for everyone, and crash on a machine without it.
namespace alrare::native {

constexpr int block = 16;    ///< features come in blocks of this many, whatever the lanes
constexpr int max_tile = 48; ///< centers of one element that go through all stages together

/// Constants of the descriptor, padded to whole vectors (docs: python/alrare/aev.py).
///
/// Features in the engine's own order: per species `radial_size` shifts, then per species pair
/// blocks of 4 shifts x 4 sections. Padding carries zero weights.
struct AevTables {
  int n_species;
  int features;    ///< all, padded
  int radial_size; ///< shifts of one species, a multiple of 16
  int n_shifts;    ///< angular shifts, a multiple of 4
  int n_sections;  ///< angle sections, a multiple of 4
  float radial_cutoff;
  float angular_cutoff;
  float radial_eta;
  float angular_eta;
  const float *radial_shifts;  ///< (radial_size)
  const float *angular_shifts; ///< (n_shifts)
  const float *section_cos;    ///< (n_sections)
  const float *section_sin;    ///< (n_sections)
  float zeta;
  int power; ///< x^(zeta-1) = x^power * polynomial; -1: through log and exp
  int power_degree;
  float power_coefficients[12];

  int pair_size() const { return n_shifts * n_sections; }
};

/// Edges of one center to one species.
struct Range {
  int center;  ///< in the tile
  int feature; ///< first feature of this species
  int begin, end;
};

/// Triples of one center and one species pair: the rows, and where their terms lie.
struct Group {
  int center;
  int feature; ///< first feature of this pair
  int first_row, end_row;
  int first_triple; ///< a multiple of the lanes
  int n_triples;    ///< without padding
};

/// Triples of edge `a` with the edges b .. b+count-1.
struct Row {
  int a, b, count;
};

/// Features k0..k1-1 that are not all zero in this tile; multiples of 16.
struct Span {
  int begin, end;
};

/// Some centers side by side in the lanes: matrices are (features, width).
struct Panel {
  int first; ///< lane of its first center in the tile
  int width;
};

/// A batch of centers of one element with all its scratch; pointers into one arena.
struct Tile {
  int n_centers;
  int n_slots; ///< edges, padded per center to whole vectors
  int n_triples;
  int n_ranges, n_groups, n_spans, n_panels;
  int lanes; ///< width of all panels
  const Range *ranges;
  const Group *groups;
  const Row *rows;
  const Span *spans;
  const Panel *panels;

  float *x, *y, *z;             ///< (slots) edge vectors, unit vectors after the forward pass
  float *distance, *inverse;    ///< (slots) length of the edge, and one over it
  float *smooth, *smooth_slope; ///< (slots) angular cutoff and its slope
  float *radial_slope;          ///< (slots, radial_size) d(radial terms)/d(length)
  /// (slots) In the backward pass: gradient along the edge, and across it times the length; in the
  /// end bend_x, bend_y and bend_z are the gradient itself. In the forward pass pull and bend_x
  /// are free and hold the radial cutoff and its slope, a quarter of each.
  float *pull, *bend_x, *bend_y, *bend_z;

  float *cosine, *mean, *weight; ///< (triples) of the angle; mean length; product of the cutoffs
  float *terms;                  ///< (triples/L, n_shifts + 2 n_sections, L), L lanes
  float *plain, *along, *bend;   ///< (triples) what `contract_group` leaves for `scatter_group`

  float *rows_aev; ///< (centers, features)
  float *aev;      ///< panels of (features, width)
  float *layer[2]; ///< panels of (widest layer, width)
  float *slopes;   ///< all hidden layers: panels of (out, width), layer after layer
};

/// The way back for the members of one block, whose values lie side by side: up to
/// `Kernels::members` of them, the rest zero.
struct MemberTile {
  int count;                     ///< members
  const float *const *gradients; ///< dE/dAEV of each: panels of (features, width)
  float *center;                 ///< (features, members) scratch: dE/dAEV of one center
  /// (slots, members) gradient along the edge, and across it times the length
  float *pull, *x, *y, *z;
};

/// The forces that a slot of a tile adds to: its slot, and where its center's and its neighbor's
/// begin in forces (atoms, 3).
struct ForceTarget {
  int slot, center, neighbor;
};

enum class Activation { gelu, celu };

/// One layer of one member. Weights in tiles of 8 x 8, [out/8][in/8][in 8][out 8]: read along `in`
/// going forward, along `out` going back, so one copy serves both.
struct Layer {
  int in, out; ///< padded to multiples of 8
  const float *weight;
  const float *bias;
};

/// The network of one member for one element: hidden layers and a linear read-out.
struct Network {
  int n_hidden;
  const Layer *hidden;
  int last_in;
  const float *last_weight; ///< (last_in)
  float last_bias;
  Activation activation;
  float celu_alpha;
};

/// Entry points of one instruction set.
struct Kernels {
  const char *name;
  int lanes;   ///< floats in a vector
  int members; ///< of a block
  int n_widths;
  const int *widths; ///< panel widths, widest first

  /// Descriptors of the tile's centers into `aev`, and what the backward pass needs.
  void (*aev_forward)(const AevTables &tables, const Tile &tile);

  /// Energies (lanes) of one member; adds `scale` * dE/dAEV to `gradient` unless it is null.
  void (*network)(const Network &network, const Tile &tile, float scale, float *energies,
                  float *gradient);

  /// From dE/dAEV (panels) to d/dvec of every slot, left in bend_x, bend_y, bend_z.
  void (*aev_backward)(const AevTables &tables, const Tile &tile, const float *gradient);

  /// The same for the members of a block, to the gradients along and across the edges.
  void (*aev_backward_members)(const AevTables &tables, const Tile &tile,
                               const MemberTile &members);

  /// d/dvec of `n` of its slots that are edges, (n, 3, members).
  void (*member_gradients)(const Tile &tile, const MemberTile &members, const int *slots, long n,
                           float *out);

  /// Adds these of the slots of `n` targets to forces (atoms, 3, members). Those of one center
  /// stand together.
  void (*add_member_forces)(const Tile &tile, const MemberTile &members, const ForceTarget *targets,
                            long n, double *forces);

  /// After aev_forward: adds to `jacobian` (slots, 3, n_species, pair_size), per slot of species s
  /// the derivative of the features of each pair (s, t) by its vector. `slot_species` (slots).
  void (*aev_jacobian)(const AevTables &tables, const Tile &tile, const int *slot_species,
                       float *jacobian);

  TrainingKernels training;
};

const Kernels *kernels_portable();
const Kernels *kernels_avx2();   ///< null when built for another kind of machine
const Kernels *kernels_avx512(); ///< the same

} // namespace alrare::native

#endif
