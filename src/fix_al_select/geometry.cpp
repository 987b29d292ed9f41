// SPDX-License-Identifier: GPL-2.0-or-later
#include "fix_al_select/geometry.h"

#include "atom.h"
#include "lammps.h"
#include "neigh_list.h"

#include <mpi.h>

#include <cmath>

namespace LAMMPS_NS {

bool is_sound(LAMMPS *lmp, const NeighList &list, double min_distance) {
  const double *const *x = lmp->atom->x;
  const double nearest = min_distance * min_distance;
  int sound = 1;
  for (int ii = 0; ii < list.inum; ++ii) {
    const int i = list.ilist[ii];
    if (!std::isfinite(x[i][0] + x[i][1] + x[i][2]))
      sound = 0;
    for (int jj = 0; jj < list.numneigh[i]; ++jj) {
      const int j = list.firstneigh[i][jj] & NEIGHMASK;
      const double dx = x[j][0] - x[i][0], dy = x[j][1] - x[i][1], dz = x[j][2] - x[i][2];
      if (dx * dx + dy * dy + dz * dz < nearest)
        sound = 0;
    }
  }
  int all_sound = 0;
  MPI_Allreduce(&sound, &all_sound, 1, MPI_INT, MPI_MIN, lmp->world);
  return all_sound != 0;
}

} // namespace LAMMPS_NS
