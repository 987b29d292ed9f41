// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NEIGHBORHOOD_H
#define ALRARE_NNP_NEIGHBORHOOD_H

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace alrare {

/// Positions and a full neighbor list as plain pointers; nothing is copied or kept.
///
/// For a model that passes messages between atoms, the neighbors of a center have edges too. Either
/// every ghost copies an owned atom of this process (`owner`), or the list has the neighbors of
/// ghosts as well (`message_shells`).
struct NeighborList {
  int n_all = 0;                           ///< owned and ghost atoms, N
  const double *const *positions;          ///< (N, 3), Å, unwrapped: ghosts sit at their image
  const int *type;                         ///< (N), 1-based atom types
  const int *species_of_type;              ///< by type; -1 = not seen by the model
  int n_centers = 0;                       ///< rows of the list
  const int *centers;                      ///< (n_centers) indices of owned atoms
  const int *n_neighbors;                  ///< by atom index
  const int *const *neighbors;             ///< by atom index, then neighbor
  int message_shells = 0;                  ///< shells around the centers that have edges too
  const int *owner = nullptr;              ///< (N) the owned atom that each copies; or null
  int neighbor_mask = 0x1FFFFFFF;          ///< bits of a neighbor that are its index
  std::function<std::string(int)> name_of; ///< how an error names an atom; by default its index
};

/// What an ensemble is evaluated on: the local centers, their edges, their triples.
///
/// Atoms that the model does not see are left out, so rows here are not rows of the caller: `atom`
/// leads back. Rows below `n_local` are centers and own energy; the others are ghosts, by the
/// number of edges between them and a center. Ghosts have edges of their own only as far as
/// messages to a center come from; where all are copies of owned atoms, edges lead to these and
/// there are none.
struct Neighborhood {
  int n_local = 0;                   ///< centers
  std::vector<int> atom;             ///< (N) index of each row in the caller's arrays
  std::vector<std::int64_t> species; ///< (N) index into the model's elements
  std::vector<std::int64_t> edge_i;  ///< (E) center, ascending; < n_local without messages
  std::vector<std::int64_t> edge_j;  ///< (E) neighbor, any row
  std::vector<double> vec;           ///< (E, 3) r_j - r_i in Å
  std::vector<std::int64_t> triples; ///< (T, 2) edges a < b of one center, both < angular_cutoff

  std::size_t n_edges() const { return edge_i.size(); }
  std::size_t n_triples() const { return triples.size() / 2; }
};

/// The first edge of two atoms at the same place; the number of edges if there is none.
std::size_t coinciding_edge(const Neighborhood &hood);

/// Forces (n_atoms, 3) on the caller's atoms, ghosts included, in eV/Å; resized to fit.
///
/// \param gradient  (E, 3) d(energy)/d(edge vector), eV/Å
void sum_forces(const Neighborhood &hood, const std::vector<double> &gradient, std::size_t n_atoms,
                std::vector<double> &forces);

/// Builds a Neighborhood again and again without giving its memory back.
class NeighborhoodBuilder {
public:
  /// \param cutoff           edges are strictly shorter than this, Å
  /// \param angular_cutoff   edges of triples are strictly shorter than this, Å; 0 = no triples
  NeighborhoodBuilder(double cutoff, double angular_cutoff)
      : cutoff_(cutoff), angular_cutoff_(angular_cutoff) {}

  /// The neighborhood of `list`; valid until the next call.
  /// \throws std::runtime_error that names the atoms when two that the model sees are at the same
  /// place, or a position is not a number: neither has an energy.
  const Neighborhood &build(const NeighborList &list);

private:
  void number_rows(const NeighborList &list);
  void add_row(const NeighborList &list, int i);
  void number_ghosts(const NeighborList &list);
  void add_shell(const NeighborList &list, std::size_t begin, std::size_t end);
  void make_room(std::size_t n);
  void add_center(const NeighborList &list, int center);
  void add_triples(std::size_t n);
  [[noreturn]] void refuse(const NeighborList &list, int i) const;

  double cutoff_;
  double angular_cutoff_;
  Neighborhood out_;
  std::size_t n_edges_ = 0;              // found so far
  std::vector<int> row_;                 // caller's index -> row, -1 = left out
  std::vector<std::int64_t> near_edges_; // edges of one center within angular_cutoff
};

} // namespace alrare

#endif
