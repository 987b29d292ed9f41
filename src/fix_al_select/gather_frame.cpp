// SPDX-License-Identifier: GPL-2.0-or-later
#include "fix_al_select/gather_frame.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "lammps.h"
#include "update.h"

#include <mpi.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

namespace LAMMPS_NS {

namespace {

constexpr int atom_width = 5; // tag, type, x, y, z

/// Rows of `atom_width` of this rank's atoms.
std::vector<double> own_atoms(const LAMMPS *lmp) {
  const Atom *const atom = lmp->atom;
  Domain *const domain = lmp->domain;
  std::vector<double> out(static_cast<std::size_t>(atom_width) * atom->nlocal);
  for (int i = 0; i < atom->nlocal; ++i) {
    double position[3] = {atom->x[i][0], atom->x[i][1], atom->x[i][2]};
    imageint image = atom->image[i];
    domain->remap(position, image);
    double *row = &out[static_cast<std::size_t>(atom_width) * i];
    row[0] = static_cast<double>(atom->tag[i]);
    row[1] = atom->type[i];
    for (int k = 0; k < 3; ++k)
      row[2 + k] = position[k] - (domain->periodicity[k] ? domain->boxlo[k] : 0.0);
  }
  return out;
}

/// The rows of all ranks on rank 0, nothing on the others.
std::vector<double> gather(const LAMMPS *lmp, const std::vector<double> &mine) {
  const int size = static_cast<int>(mine.size());
  std::vector<int> sizes(lmp->comm->nprocs), offsets(lmp->comm->nprocs);
  MPI_Gather(&size, 1, MPI_INT, sizes.data(), 1, MPI_INT, 0, lmp->world);
  if (lmp->comm->me == 0)
    std::partial_sum(sizes.begin(), sizes.end() - 1, offsets.begin() + 1);
  std::vector<double> all(lmp->comm->me == 0 ? offsets.back() + sizes.back() : 0);
  MPI_Gatherv(mine.data(), size, MPI_DOUBLE, all.data(), sizes.data(), offsets.data(), MPI_DOUBLE,
              0, lmp->world);
  return all;
}

} // namespace

alrare::Frame gather_frame(LAMMPS *lmp, const char *const *element_of_type) {
  const std::vector<double> atoms = gather(lmp, own_atoms(lmp));
  alrare::Frame frame;
  if (lmp->comm->me != 0)
    return frame;
  std::vector<const double *> rows;
  for (std::size_t i = 0; i < atoms.size(); i += atom_width)
    rows.push_back(&atoms[i]);
  std::sort(rows.begin(), rows.end(), [](const double *a, const double *b) { return a[0] < b[0]; });
  for (const double *row : rows) {
    frame.species.emplace_back(element_of_type[static_cast<int>(row[1])]);
    frame.positions.insert(frame.positions.end(), row + 2, row + atom_width);
  }
  const Domain *const domain = lmp->domain;
  for (int k = 0; k < 3; ++k)
    frame.pbc[k] = domain->periodicity[k] != 0;
  frame.cell = {domain->xprd, 0,          0,           domain->xy, domain->yprd, 0,
                domain->xz,   domain->yz, domain->zprd};
  frame.step = lmp->update->ntimestep;
  return frame;
}

} // namespace LAMMPS_NS
