// SPDX-License-Identifier: GPL-2.0-or-later
#include "fix_al_select/fingerprint.h"

#include "atom.h"
#include "domain.h"
#include "lammps.h"

#include <mpi.h>

#include <cmath>
#include <cstddef>

namespace LAMMPS_NS {

std::vector<double> fingerprint(LAMMPS *lmp) {
  constexpr double two_pi = 6.283185307179586;
  const Atom &atom = *lmp->atom;
  Domain &domain = *lmp->domain;
  std::vector<double> mine(7, 0.0), all(7);
  for (int i = 0; i < atom.nlocal; ++i) {
    // of each atom another weight, so that two atoms that change places are noticed
    const double weight = 1.0 + std::sin(static_cast<double>(atom.tag[i]));
    double scaled[3];
    domain.x2lamda(atom.x[i], scaled);
    for (int d = 0; d < 3; ++d)
      if (domain.periodicity[d] != 0) {
        mine[2 * d] += weight * std::sin(two_pi * scaled[d]);
        mine[2 * d + 1] += weight * std::cos(two_pi * scaled[d]);
      } else {
        mine[2 * d] += weight * atom.x[i][d];
      }
    mine[6] += weight * atom.type[i];
  }
  MPI_Allreduce(mine.data(), all.data(), static_cast<int>(all.size()), MPI_DOUBLE, MPI_SUM,
                lmp->world);
  const double lengths[3] = {domain.xprd, domain.yprd, domain.zprd};
  for (int d = 0; d < 3; ++d) // an open box may shrink around the same atoms
    all.push_back(domain.periodicity[d] != 0 ? lengths[d] : 0.0);
  all.insert(all.end(), {domain.xy, domain.xz, domain.yz});
  return all;
}

bool same(const std::vector<double> &one, const std::vector<double> &other) {
  if (one.size() != other.size())
    return false;
  for (std::size_t k = 0; k < one.size(); ++k)
    if (std::abs(one[k] - other[k]) > 1e-9 * (1.0 + std::abs(one[k])))
      return false;
  return true;
}

} // namespace LAMMPS_NS
