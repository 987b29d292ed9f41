// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/requirements.h"

#include "pair_nnp/element_masses.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "lammps.h"
#include "neighbor.h"
#include "update.h"
#include "utils.h"

#include <algorithm>
#include <string>

namespace LAMMPS_NS {

void require_metal_or_real(LAMMPS *lmp, const char *style) {
  const std::string units = lmp->update->unit_style;
  if (units != "metal" && units != "real")
    lmp->error->all(FLERR, "pair_style {}: units must be metal or real, got {}", style, units);
}

void refuse_unfit_run(LAMMPS *lmp) {
  require_metal_or_real(lmp, "nnp_ensemble");
  Error *const error = lmp->error;
  const Force *const force = lmp->force;
  if (force->newton_pair == 0)
    error->all(FLERR, "pair_style nnp_ensemble: requires newton pair on, got newton off");
  const Atom *const atom = lmp->atom;
  if (atom->molecular != Atom::ATOMIC && atom->nbonds > 0 && force->kspace == nullptr)
    for (int k = 1; k <= 3; ++k)
      if (force->special_lj[k] == 0.0 && force->special_coul[k] == 0.0)
        error->all(FLERR,
                   "pair_style nnp_ensemble: special_bonds with a zero factor for 1-{} neighbors "
                   "hides bonded atoms from the model; use 'special_bonds lj/coul 1.0 1.0 1.0'",
                   k + 1);
}

void widen_ghost_shell(LAMMPS *lmp, double receptive_field) {
  Comm *const comm = lmp->comm;
  const double wide = receptive_field + lmp->neighbor->skin;
  if (comm->mode != Comm::SINGLE)
    lmp->error->all(
        FLERR,
        "pair_style nnp_ensemble: a model that passes messages between atoms needs one "
        "shell of ghosts of {} Angstrom on several ranks: use 'comm_modify mode single'",
        wide);
  const Neighbor *const neighbor = lmp->neighbor;
  if (neighbor->style == Neighbor::MULTI || neighbor->style == Neighbor::MULTI_OLD)
    lmp->error->all(FLERR,
                    "pair_style nnp_ensemble: a model that passes messages between atoms needs the "
                    "neighbors of ghosts on several ranks: use 'neighbor {} bin'",
                    neighbor->skin);
  if (neighbor->includegroup != 0)
    lmp->error->all(
        FLERR, "pair_style nnp_ensemble: a model that passes messages between atoms needs the "
               "neighbors of ghosts on several ranks, which 'neigh_modify include' leaves out; "
               "use 'neigh_modify include none'");
  if (comm->cutghostuser < wide && comm->me == 0)
    utils::logmesg(lmp,
                   "nnp_ensemble: ghosts up to {} Angstrom, the receptive field of {} and the "
                   "skin\n",
                   wide, receptive_field);
  comm->cutghostuser = std::max(comm->cutghostuser, wide);
}

void warn_of_masses(LAMMPS *lmp, const std::string &command, const std::string &keyword,
                    const std::vector<std::string> &elements,
                    const std::vector<std::string> &names) {
  const Atom *const atom = lmp->atom;
  if (atom->mass == nullptr || lmp->comm->me != 0)
    return;
  for (int type = 1; type <= atom->ntypes; ++type) {
    const std::string &name = names[type - 1];
    const std::string other = alrare::element_of_mass(name, atom->mass[type], elements);
    if (name != "NULL" && !other.empty())
      lmp->error->warning(
          FLERR,
          "{}: atom type {} is {} by its {}, but its mass, {}, is that of {}: are the "
          "elements in the order of the types?",
          command, type, name, keyword, atom->mass[type], other);
  }
}

} // namespace LAMMPS_NS
