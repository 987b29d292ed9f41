// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/find_exclusions.h"

#include "atom.h"
#include "comm.h"
#include "lammps.h"
#include "neighbor.h"

#include <mpi.h>

#include <cstddef>
#include <numeric>
#include <set>
#include <vector>

namespace LAMMPS_NS {

namespace {

using alrare::AtomClass;

/// The classes of all ranks' atoms, from those of one rank.
std::set<AtomClass> union_over_ranks(const LAMMPS *lmp, const std::set<AtomClass> &mine) {
  std::vector<int> flat;
  for (const AtomClass &one : mine)
    flat.insert(flat.end(), {one.mask, one.type});
  const int size = static_cast<int>(flat.size());
  std::vector<int> sizes(lmp->comm->nprocs), offsets(lmp->comm->nprocs);
  MPI_Allgather(&size, 1, MPI_INT, sizes.data(), 1, MPI_INT, lmp->world);
  std::partial_sum(sizes.begin(), sizes.end() - 1, offsets.begin() + 1);
  std::vector<int> all(static_cast<std::size_t>(offsets.back() + sizes.back()));
  MPI_Allgatherv(flat.data(), size, MPI_INT, all.data(), sizes.data(), offsets.data(), MPI_INT,
                 lmp->world);
  std::set<AtomClass> out;
  for (std::size_t k = 0; k < all.size(); k += 2)
    out.insert({all[k], all[k + 1]});
  return out;
}

/// By type and by group, as LAMMPS builds its lists. Those by molecule remove no atom.
bool is_excluded(const Neighbor &lists, const AtomClass &a, const AtomClass &b) {
  if (lists.nex_type > 0 && lists.ex_type[a.type][b.type] != 0)
    return true;
  for (int k = 0; k < lists.nex_group; ++k) {
    const int one = lists.ex1_bit[k], two = lists.ex2_bit[k];
    if (((a.mask & one) != 0 && (b.mask & two) != 0) ||
        ((a.mask & two) != 0 && (b.mask & one) != 0))
      return true;
  }
  return false;
}

} // namespace

alrare::Exclusions find_exclusions(LAMMPS *lmp, const std::vector<int> &species) {
  const Atom &atom = *lmp->atom;
  std::set<AtomClass> mine;
  for (int i = 0; i < atom.nlocal; ++i)
    if (species[atom.type[i]] >= 0)
      mine.insert({atom.mask[i], atom.type[i]});
  const Neighbor &lists = *lmp->neighbor;
  return {union_over_ranks(lmp, mine),
          [&](const AtomClass &a, const AtomClass &b) { return is_excluded(lists, a, b); }};
}

} // namespace LAMMPS_NS
