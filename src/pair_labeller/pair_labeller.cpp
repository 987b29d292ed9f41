// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_labeller/pair_labeller.h"

#include "pair_labeller/label_client.h"
#include "pair_labeller/label_protocol.h"
#include "pair_nnp/ranks.h"
#include "pair_nnp/requirements.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "fix.h"
#include "memory.h"
#include "modify.h"
#include "neighbor.h"
#include "timer.h"
#include "update.h"
#include "utils.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

using namespace LAMMPS_NS;

namespace {

constexpr double ghost_cutoff = 5.0; // Å; the labeller needs no ghosts, a compute of a user may
constexpr int atom_width = 4;        // type, x, y, z

} // namespace

struct PairLabeller::Impl {
  std::string socket;
  std::vector<std::string> elements;           // (ntypes), empty before pair_coeff
  std::unique_ptr<alrare::LabelClient> client; // on rank 0, null before the first run
  double to_lammps = 1.0;                      // eV -> energy units of the run

  std::vector<double> atoms; // (N, atom_width) by ID
  alrare::LabelRequest request;
  alrare::LabelValues label; // on all ranks
  int n_atoms = 0;
  bool warned_of_stress = false;

  bool has_stress() const { return static_cast<int>(label.size()) > 1 + 3 * n_atoms; }
};

PairLabeller::PairLabeller(LAMMPS *host) : Pair(host), impl_(new Impl) {
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  single_enable = 0;
  no_virial_fdotr_compute = 1; // the virial of a labeller is that of its cell
}

PairLabeller::~PairLabeller() {
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }
}

/* ----------------------------------------------------------------------
   pair_style labeller SOCKET
------------------------------------------------------------------------- */

void PairLabeller::settings(int narg, char **arg) {
  if (narg != 1)
    error->all(FLERR,
               "pair_style labeller: expected the path of a label server's socket, got {} words",
               narg);
  impl_->socket = arg[0];
  impl_->client.reset();
}

/* ----------------------------------------------------------------------
   pair_coeff * * element of each atom type
------------------------------------------------------------------------- */

void PairLabeller::coeff(int narg, char **arg) {
  if (narg != 2 + atom->ntypes || strcmp(arg[0], "*") != 0 || strcmp(arg[1], "*") != 0)
    error->all(FLERR,
               "pair_coeff for labeller: expected '* *' and one element for each of the {} atom "
               "types of this box, got {} words",
               atom->ntypes, narg);
  for (int k = 2; k < narg; ++k)
    if (strlen(arg[k]) >= alrare::symbol_size || strcmp(arg[k], "NULL") == 0)
      error->all(FLERR,
                 "pair_coeff for labeller: expected the symbol of an element for type {}, "
                 "got '{}': every atom is part of what a labeller computes",
                 k - 1, arg[k]);
  impl_->elements.assign(arg + 2, arg + narg);
  const int n = atom->ntypes + 1;
  if (!allocated) {
    allocated = 1;
    memory->create(setflag, n, n, "pair:setflag");
    memory->create(cutsq, n, n, "pair:cutsq");
  }
  std::fill_n(setflag[0], n * n, 1);
  std::fill_n(cutsq[0], n * n, ghost_cutoff * ghost_cutoff);
}

double PairLabeller::init_one(int /*i*/, int /*j*/) { return ghost_cutoff; }

void PairLabeller::init_style() {
  require_metal_or_real(lmp, "labeller");
  if (atom->tag_enable == 0)
    error->all(FLERR, "pair_style labeller: needs atom IDs, got 'atom_modify id no'");
  if (neighbor->nex_type + neighbor->nex_group + neighbor->nex_mol > 0)
    error->all(FLERR, "pair_style labeller: neigh_modify exclude has no meaning, since every atom "
                      "is part of what a labeller computes; remove it");
  const bool real = strcmp(update->unit_style, "real") == 0;
  impl_->to_lammps = real ? utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL) : 1.0;
  warn_of_masses(lmp, "pair_style labeller", "pair_coeff", impl_->elements, impl_->elements);
  impl_->warned_of_stress = false;
  connect();
}

void PairLabeller::connect() {
  const auto open = [&] {
    if (comm->me == 0 && !impl_->client)
      impl_->client = std::make_unique<alrare::LabelClient>(impl_->socket);
  };
  const std::string failure = alrare::first_failure(world, alrare::failure_of(open));
  if (!failure.empty())
    error->all(FLERR, "pair_style labeller: {}", failure);
}

void PairLabeller::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  if (eflag_atom || vflag_atom || cvflag_atom)
    error->all(FLERR, "pair_style labeller: a labeller gives no energy or virial of single atoms; "
                      "remove the computes that need them, such as pe/atom and stress/atom");
  gather();
  exchange();
  tally();
}

/// Types and unwrapped positions of all atoms, by ID, on all ranks.
void PairLabeller::gather() {
  const bigint n = atom->natoms;
  std::string failure;
  if (n > std::numeric_limits<int>::max() / 64)
    failure = "expected at most 33 million atoms";
  for (int i = 0; i < atom->nlocal && failure.empty(); ++i)
    if (atom->tag[i] < 1 || atom->tag[i] > n)
      failure = "expected the atom IDs 1 to " + std::to_string(n) + ", got " +
                std::to_string(atom->tag[i]) + "; use reset_atoms id";
  failure = alrare::first_failure(world, failure);
  if (!failure.empty())
    error->all(FLERR, "pair_style labeller: {}", failure);
  impl_->n_atoms = static_cast<int>(n);
  std::vector<double> &atoms = impl_->atoms;
  atoms.assign(static_cast<std::size_t>(atom_width) * n, 0.0);
  for (int i = 0; i < atom->nlocal; ++i) {
    double *const row = &atoms[static_cast<std::size_t>(atom_width) * (atom->tag[i] - 1)];
    row[0] += atom->type[i];
    domain->unmap(atom->x[i], atom->image[i], row + 1);
  }
  if (comm->nprocs > 1)
    MPI_Allreduce(MPI_IN_PLACE, atoms.data(), static_cast<int>(atoms.size()), MPI_DOUBLE, MPI_SUM,
                  world);
  // all N rows are taken only if no ID was there twice
  for (bigint k = 0; k < n; ++k)
    if (atoms[atom_width * k] == 0.0)
      error->all(FLERR,
                 "pair_style labeller: expected the atom IDs 1 to {}, {} is missing; use "
                 "reset_atoms id",
                 n, k + 1);
}

/// Asks the server on rank 0; the label is then on all ranks.
void PairLabeller::exchange() {
  int last = 0;
  const std::string failure = alrare::first_failure(
      world, alrare::failure_of([&] {
        if (comm->me != 0)
          return;
        alrare::LabelRequest &request = impl_->request;
        request.step = update->ntimestep;
        for (int k = 0; k < 3; ++k)
          request.periodic[k] = domain->periodicity[k] != 0;
        request.cell = {domain->xprd, 0.0,        0.0,        domain->xy,  domain->yprd,
                        0.0,          domain->xz, domain->yz, domain->zprd};
        request.elements.clear();
        request.positions.clear();
        for (int k = 0; k < impl_->n_atoms; ++k) {
          const double *const row = &impl_->atoms[static_cast<std::size_t>(atom_width) * k];
          request.elements.push_back(impl_->elements[static_cast<std::size_t>(row[0]) - 1]);
          request.positions.insert(request.positions.end(), row + 1, row + atom_width);
        }
        last = impl_->client->label(request, impl_->label) ? 1 : 0;
      }));
  if (!failure.empty())
    error->all(FLERR, "pair_style labeller: {}", failure);
  int size = static_cast<int>(impl_->label.size());
  MPI_Bcast(&size, 1, MPI_INT, 0, world);
  impl_->label.resize(size);
  MPI_Bcast(impl_->label.data(), size, MPI_DOUBLE, 0, world);
  MPI_Bcast(&last, 1, MPI_INT, 0, world);
  if (last != 0)
    timer->force_timeout(); // the run ends after this step, as by 'fix halt ... error soft'
}

void PairLabeller::tally() {
  const double *const forces = impl_->label.data() + 1;
  for (int i = 0; i < atom->nlocal; ++i)
    for (int k = 0; k < 3; ++k)
      atom->f[i][k] += impl_->to_lammps * forces[3 * (atom->tag[i] - 1) + k];
  if (eflag_global && comm->me == 0)
    eng_vdwl += impl_->to_lammps * impl_->label[0];
  const bool periodic = domain->xperiodic || domain->yperiodic || domain->zperiodic;
  if (vflag_global && periodic)
    tally_virial();
}

/// LAMMPS adds the ranks up. A pressure without a virial would be wrong, so it is not a number.
void PairLabeller::tally_virial() {
  if (!impl_->has_stress())
    refuse_missing_stress();
  if (comm->me != 0)
    return;
  constexpr int of_lammps[6] = {0, 1, 2, 5, 4, 3}; // xx yy zz xy xz yz
  const double volume = domain->xprd * domain->yprd * domain->zprd;
  const double *const stress = impl_->label.data() + 1 + 3 * impl_->n_atoms;
  for (int k = 0; k < 6; ++k)
    virial[k] += impl_->has_stress() ? -impl_->to_lammps * volume * stress[of_lammps[k]]
                                     : std::numeric_limits<double>::quiet_NaN();
}

/// LAMMPS asks for the virial whenever it writes a line of thermo output, needed or not; a fix that
/// steers the box by the pressure needs it.
void PairLabeller::refuse_missing_stress() {
  for (const Fix *fix : modify->get_fix_list())
    if ((fix->box_change & ~(Fix::BOX_CHANGE_ANY | Fix::BOX_CHANGE_DOMAIN)) != 0 &&
        strcmp(fix->style, "deform") != 0)
      error->all(FLERR,
                 "pair_style labeller: the labeller gives no stress, which fix {} ({}) "
                 "needs; use another labeller, or keep the cell as it is",
                 fix->id, fix->style);
  if (comm->me == 0 && !impl_->warned_of_stress)
    error->warning(FLERR, "pair_style labeller: the labeller gives no stress, so the pressure of "
                          "this run is nan");
  impl_->warned_of_stress = true;
}
