// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/pair_nnp_ensemble.h"

#include "pair_nnp/find_exclusions.h"
#include "pair_nnp/pair_nnp_options.h"
#include "pair_nnp/ranks.h"
#include "pair_nnp/spread.h"
#include "pair_nnp/type_map.h"

#include "nnp/evaluator.h"
#include "nnp/neighborhood.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"
#include "utils.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

using namespace LAMMPS_NS;

namespace {

std::string joined(int n, const char *const *words) {
  std::string text;
  for (int k = 0; k < n; ++k)
    text += std::string(k == 0 ? "'" : " ") + words[k];
  return n == 0 ? "none" : text + "'";
}

} // namespace

/// Everything that would otherwise drag the evaluator's headers into the class.
struct PairNNPEnsemble::Impl {
  PairNNPOptions options;

  std::unique_ptr<alrare::Evaluator> evaluator;
  std::unique_ptr<alrare::NeighborhoodBuilder> builder;
  alrare::TypeMap types;
  std::vector<double> weights; // (M) the weighted sum of the members drives the run
  int driver = -1;             // the one member that drives it, from 0; -1 = the mean

  std::vector<int> centers; // the atoms of the list that are part of the system
  bool warned_of_exclusions = false;
  const alrare::Neighborhood *hood = nullptr;
  alrare::Evaluation local;                   // of this rank, eV and Å
  double driving_energy = 0.0;                // of this rank, eV
  std::vector<std::vector<double>> gradients; // per member, with force_std only
  std::vector<double> member_forces;          // (nall, 3) of one member at a time

  double to_lammps = 1.0; // eV -> energy units of the run
  int n_members = 0;
  alrare::Spread spread;     // in the units of the run
  bigint ensemble_step = -1; // timestep of the spread
  bool want_atom_energy_std = false;
};

PairNNPEnsemble::PairNNPEnsemble(LAMMPS *host) : Pair(host), impl_(new Impl) {
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  single_enable = 0;
  centroidstressflag = CENTROID_NOTAVAIL;
  comm_reverse = 3; // one member's forces at a time: M may be unknown when hybrid asks
}

PairNNPEnsemble::~PairNNPEnsemble() {
  delete[] pvector;
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }
}

void PairNNPEnsemble::allocate() {
  if (allocated)
    return;
  allocated = 1;
  const int n = atom->ntypes + 1;
  memory->create(setflag, n, n, "pair:setflag");
  memory->create(cutsq, n, n, "pair:cutsq");
  std::fill_n(setflag[0], n * n, 0);
  std::fill_n(cutsq[0], n * n, 0.0);
}

/* ----------------------------------------------------------------------
   pair_style nnp_ensemble keyword value ...
------------------------------------------------------------------------- */

void PairNNPEnsemble::settings(int narg, char **arg) {
  impl_->options = read_pair_nnp_options(lmp, narg, arg);
}

/* ----------------------------------------------------------------------
   pair_coeff * * FILE element of each atom type, or NULL
------------------------------------------------------------------------- */

void PairNNPEnsemble::coeff(int narg, char **arg) {
  if (narg < 3 || strcmp(arg[0], "*") != 0 || strcmp(arg[1], "*") != 0)
    error->all(FLERR,
               "pair_coeff for nnp_ensemble: expected '* * FILE' and one element for each atom "
               "type, got {}",
               joined(narg, arg));
  if (narg - 3 != atom->ntypes)
    error->all(FLERR,
               "pair_coeff for nnp_ensemble: expected {} element{} after '{}' (this box has {} "
               "atom type{}), got {}: {}",
               atom->ntypes, atom->ntypes == 1 ? "" : "s", arg[2], atom->ntypes,
               atom->ntypes == 1 ? "" : "s", narg - 3, joined(narg - 3, arg + 3));
  allocate();
  load(arg[2], narg - 3, arg + 3);
  for (int i = 1; i <= atom->ntypes; ++i)
    for (int j = 1; j <= atom->ntypes; ++j)
      setflag[i][j] = impl_->types.species[i] >= 0 && impl_->types.species[j] >= 0 ? 1 : 0;
}

void PairNNPEnsemble::load(const char *path, int n_names, char **names) {
  alrare::OpenOptions open = impl_->options.open;
  open.node_rank = alrare::rank_on_node(world);
  open.threads = comm->nthreads;
  const std::string failure = alrare::first_failure(
      world, alrare::failure_of([&] { impl_->evaluator = alrare::open_evaluator(path, open); }));
  if (!failure.empty())
    error->all(FLERR, "pair_coeff for nnp_ensemble: {}", failure);

  const alrare::Metadata &model = impl_->evaluator->metadata();
  if (model.receptive_field > model.cutoff)
    error->all(FLERR,
               "pair_coeff for nnp_ensemble: '{}' has a receptive field of {} and a cutoff of {} "
               "Angstrom; models that pass messages between atoms are not supported",
               path, model.receptive_field, model.cutoff);
  const std::string unknown =
      alrare::failure_of([&] { impl_->types.assign(path, model.elements, n_names, names); });
  if (!unknown.empty())
    error->all(FLERR, "pair_coeff for nnp_ensemble: {}", unknown);

  impl_->n_members = model.members;
  impl_->spread.reset(model.members);
  impl_->ensemble_step = -1;
  choose_forces();
  impl_->builder = std::make_unique<alrare::NeighborhoodBuilder>(
      model.cutoff, impl_->evaluator->needs_triples() ? model.angular_cutoff : 0.0);
  nextra = 2 + model.members;
  delete[] pvector;
  pvector = new double[nextra]();
  if (comm->me == 0)
    utils::logmesg(lmp, "nnp_ensemble: {} member{} from {}, {}, forces {}\n", model.members,
                   model.members == 1 ? "" : "s", path, impl_->evaluator->description(),
                   impl_->options.forces);
}

/// Turns the keyword `forces` into one weight per member.
void PairNNPEnsemble::choose_forces() {
  const alrare::Metadata &model = impl_->evaluator->metadata();
  const std::string &forces = impl_->options.forces;
  impl_->driver = -1;
  if (forces == "mean") {
    impl_->weights.assign(model.members, 1.0 / model.members);
    return;
  }
  int member = model.best_member + 1;
  if (forces != "best")
    member = utils::inumeric(FLERR, forces, false, lmp);
  if (member < 1 || member > model.members)
    error->all(FLERR,
               "pair_style nnp_ensemble: forces must be mean, best or a member from 1 to {}, "
               "got {}",
               model.members, forces);
  impl_->driver = member - 1;
  impl_->weights.assign(model.members, 0.0);
  impl_->weights[impl_->driver] = 1.0;
}

void PairNNPEnsemble::init_style() {
  const std::string units = update->unit_style;
  if (units != "metal" && units != "real")
    error->all(FLERR, "pair_style nnp_ensemble: units must be metal or real, got {}", units);
  impl_->to_lammps = 1.0;
  if (units == "real")
    impl_->to_lammps = utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL);

  if (force->newton_pair == 0)
    error->all(FLERR, "pair_style nnp_ensemble: requires newton pair on, got newton off");
  if (atom->molecular != Atom::ATOMIC && atom->nbonds > 0 && force->kspace == nullptr)
    for (int k = 1; k <= 3; ++k)
      if (force->special_lj[k] == 0.0 && force->special_coul[k] == 0.0)
        error->all(FLERR,
                   "pair_style nnp_ensemble: special_bonds with a zero factor for 1-{} neighbors "
                   "hides bonded atoms from the model; use 'special_bonds lj/coul 1.0 1.0 1.0'",
                   k + 1);
  impl_->warned_of_exclusions = false;
  neighbor->add_request(this, NeighConst::REQ_FULL);
}

double PairNNPEnsemble::init_one(int i, int j) {
  if (setflag[i][j] == 0)
    error->all(FLERR, "pair_style nnp_ensemble: no pair_coeff for atom types {} and {}", i, j);
  return impl_->evaluator->metadata().cutoff;
}

void PairNNPEnsemble::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  if (eflag_atom)
    error->all(FLERR, "pair_style nnp_ensemble: energies of single atoms are not available");

  // a run's first step too: its output must not show the values of an earlier run
  const bool whole_ensemble =
      update->ntimestep % impl_->options.every == 0 || update->setupflag != 0;
  find_centers();
  const std::string failure = alrare::failure_of([&] { evaluate(whole_ensemble); });
  if (!failure.empty()) // perhaps on this rank alone
    error->one(FLERR, "pair_style nnp_ensemble: {}", failure);
  add_forces();
  impl_->spread.clear_atoms(atom->nlocal);
  if (whole_ensemble)
    judge_ensemble();
  if (eflag_global)
    eng_vdwl += impl_->to_lammps * impl_->driving_energy;
  if (vflag_global || vflag_atom)
    tally_virial();
  if (vflag_fdotr)
    virial_fdotr_compute();
}

/// How far the members disagree, for other styles and for compute pair.
void PairNNPEnsemble::judge_ensemble() {
  alrare::Spread &spread = impl_->spread;
  MPI_Allreduce(impl_->local.member_energies.data(), spread.member_energies.data(),
                impl_->n_members, MPI_DOUBLE, MPI_SUM, world);
  spread.judge_energies(impl_->to_lammps);
  if (impl_->want_atom_energy_std)
    spread.judge_atom_energies(*impl_->hood, *impl_->evaluator->center_energies(),
                               impl_->to_lammps);
  if (impl_->options.force_std)
    judge_forces();
  impl_->ensemble_step = update->ntimestep;
  std::fill(pvector, pvector + nextra, 0.0);
  if (comm->me == 0) { // compute pair sums over ranks
    pvector[0] = spread.energy_std;
    pvector[1] = spread.force_std;
    std::copy(spread.member_energies.begin(), spread.member_energies.end(), pvector + 2);
  }
}

/// Atoms excluded from all others own no energy: a fix tries what the system is without them.
void PairNNPEnsemble::find_centers() {
  std::vector<int> &centers = impl_->centers;
  centers.assign(list->ilist, list->ilist + list->inum);
  if (!neighbor->exclude)
    return;
  const alrare::Exclusions found = find_exclusions(lmp, impl_->types.species);
  centers.erase(
      std::remove_if(centers.begin(), centers.end(),
                     [&](int i) { return found.removes({atom->mask[i], atom->type[i]}); }),
      centers.end());
  if (impl_->warned_of_exclusions || !(found.hides_pairs() || neighbor->nex_mol > 0))
    return;
  impl_->warned_of_exclusions = true;
  if (comm->me == 0)
    error->warning(FLERR, "pair_style nnp_ensemble: neigh_modify exclude hides some pairs of atoms "
                          "from the model, which keep the rest of their energy");
}

/// Energies and gradients of this rank's centers: all members, or the driving one. May throw.
void PairNNPEnsemble::evaluate(bool whole_ensemble) {
  alrare::NeighborList in;
  in.n_all = atom->nlocal + atom->nghost;
  in.positions = atom->x;
  in.type = atom->type;
  in.species_of_type = impl_->types.species.data();
  in.n_centers = static_cast<int>(impl_->centers.size());
  in.centers = impl_->centers.data();
  in.n_neighbors = list->numneigh;
  in.neighbors = list->firstneigh;
  in.neighbor_mask = NEIGHMASK;
  impl_->hood = &impl_->builder->build(in);

  if (!whole_ensemble) {
    impl_->evaluator->evaluate_one(*impl_->hood, impl_->driver, impl_->local);
    impl_->driving_energy = impl_->local.member_energies.at(0);
    return;
  }
  if (impl_->options.force_std) {
    impl_->evaluator->evaluate_members(*impl_->hood, impl_->local.member_energies,
                                       impl_->gradients);
    impl_->local.gradient.assign(impl_->hood->vec.size(), 0.0);
    for (int m = 0; m < impl_->n_members; ++m)
      for (std::size_t k = 0; k < impl_->local.gradient.size() && impl_->weights[m] != 0.0; ++k)
        impl_->local.gradient[k] += impl_->weights[m] * impl_->gradients[m][k];
  } else {
    impl_->evaluator->evaluate(*impl_->hood, impl_->weights, impl_->local);
  }
  impl_->driving_energy = 0.0;
  for (int m = 0; m < impl_->n_members; ++m)
    impl_->driving_energy += impl_->weights[m] * impl_->local.member_energies[m];
}

/// Forces on local atoms and ghosts; LAMMPS sends those of the ghosts home.
void PairNNPEnsemble::add_forces() {
  const alrare::Neighborhood &hood = *impl_->hood;
  double **const f = atom->f;
  for (std::size_t e = 0; e < hood.n_edges(); ++e) {
    double *const fi = f[hood.atom[hood.edge_i[e]]];
    double *const fj = f[hood.atom[hood.edge_j[e]]];
    const double *const grad = &impl_->local.gradient[3 * e];
    for (int d = 0; d < 3; d++) {
      fi[d] += impl_->to_lammps * grad[d];
      fj[d] -= impl_->to_lammps * grad[d];
    }
  }
}

/// Virial edge by edge, -vec x grad, half of it to either atom.
void PairNNPEnsemble::tally_virial() {
  static const int row[6] = {0, 1, 2, 0, 0, 1}, column[6] = {0, 1, 2, 1, 2, 2};
  const alrare::Neighborhood &hood = *impl_->hood;
  for (std::size_t e = 0; e < hood.n_edges(); ++e) {
    const double *const vec = &hood.vec[3 * e];
    const double *const grad = &impl_->local.gradient[3 * e];
    for (int k = 0; k < 6; ++k) {
      const double v = -impl_->to_lammps * vec[row[k]] * grad[column[k]];
      if (vflag_global)
        virial[k] += v;
      if (vflag_atom) {
        vatom[hood.atom[hood.edge_i[e]]][k] += 0.5 * v;
        vatom[hood.atom[hood.edge_j[e]]][k] += 0.5 * v;
      }
    }
  }
}

/// Spread of the forces: those of one member at a time are sent home from the ghosts.
void PairNNPEnsemble::judge_forces() {
  std::vector<std::vector<double>> forces(impl_->n_members); // (nlocal, 3) each
  for (int m = 0; m < impl_->n_members; ++m) {
    alrare::sum_forces(*impl_->hood, impl_->gradients[m], atom->nlocal + atom->nghost,
                       impl_->member_forces);
    comm->reverse_comm(this);
    forces[m].assign(impl_->member_forces.begin(), impl_->member_forces.begin() + 3 * atom->nlocal);
  }
  impl_->spread.judge_forces(forces, impl_->to_lammps);
  const double mine[2] = {impl_->spread.force_std, impl_->spread.force_max};
  double largest[2];
  MPI_Allreduce(mine, largest, 2, MPI_DOUBLE, MPI_MAX, world);
  impl_->spread.force_std = largest[0];
  impl_->spread.force_max = largest[1];
}

int PairNNPEnsemble::pack_reverse_comm(int n, int first, double *buf) {
  std::copy_n(impl_->member_forces.begin() + 3 * first, 3 * n, buf);
  return 3 * n;
}

void PairNNPEnsemble::unpack_reverse_comm(int n, int *list_of_atoms, double *buf) {
  for (int k = 0; k < n; ++k)
    for (int d = 0; d < 3; d++)
      impl_->member_forces[3 * list_of_atoms[k] + d] += buf[3 * k + d];
}

void *PairNNPEnsemble::extract(const char *name, int &dim) {
  if (!impl_->evaluator)
    return nullptr;
  alrare::Spread &spread = impl_->spread;
  const std::string wanted = name;
  dim = wanted == "member_energies" || wanted == "element_of_type" ? 1 : 0;
  if (wanted == "energy_std")
    return &spread.energy_std;
  if (wanted == "force_std") // null: not known
    return impl_->options.force_std ? &spread.force_std : nullptr;
  if (wanted == "force_max")
    return impl_->options.force_std ? &spread.force_max : nullptr;
  if (wanted == "member_energies")
    return spread.member_energies.data();
  if (wanted == "n_members")
    return &impl_->n_members;
  if (wanted == "ensemble_step")
    return &impl_->ensemble_step;
  if (wanted == "element_of_type")
    return static_cast<void *>(impl_->types.elements.data());
  return nullptr;
}

/// For fix pair, which refuses a quantity for which this is null.
void *PairNNPEnsemble::extract_peratom(const char *name, int &n_columns) {
  n_columns = 0;
  if (!impl_->evaluator)
    return nullptr;
  if (impl_->spread.atom_energy_std.empty())
    impl_->spread.clear_atoms(0);
  const std::string wanted = name;
  if (wanted == "energy_std" && impl_->evaluator->center_energies() != nullptr) {
    impl_->want_atom_energy_std = true;
    return impl_->spread.atom_energy_std.data();
  }
  if (wanted == "force_std" && impl_->options.force_std)
    return impl_->spread.atom_force_std.data();
  return nullptr;
}

double PairNNPEnsemble::memory_usage() {
  double bytes = Pair::memory_usage();
  if (impl_->hood != nullptr) {
    const alrare::Neighborhood &hood = *impl_->hood;
    bytes += 8.0 * static_cast<double>(8 * hood.n_edges() + 2 * hood.n_triples());
    bytes += 12.0 * static_cast<double>(hood.species.size());
  }
  for (const std::vector<double> &gradient : impl_->gradients)
    bytes += 8.0 * static_cast<double>(gradient.size());
  return bytes;
}
