// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/pair_nnp_ensemble.h"

#include "pair_nnp/pair_nnp_options.h"

#include "nnp/evaluator.h"
#include "nnp/neighborhood.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"
#include "utils.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

using namespace LAMMPS_NS;

namespace {

/// Rank among the ranks of `world` that share this machine's memory.
int rank_on_node(MPI_Comm world, int me) {
  MPI_Comm node;
  int rank = 0;
  MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, me, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &rank);
  MPI_Comm_free(&node);
  return rank;
}

/// The text of the lowest rank that has one, on all ranks; empty when none has.
std::string first_failure(MPI_Comm world, const std::string &mine) {
  int me = 0, n_ranks = 1;
  MPI_Comm_rank(world, &me);
  MPI_Comm_size(world, &n_ranks);
  const int claim = mine.empty() ? n_ranks : me;
  int first = 0;
  MPI_Allreduce(&claim, &first, 1, MPI_INT, MPI_MIN, world);
  if (first == n_ranks)
    return "";
  int length = static_cast<int>(mine.size());
  MPI_Bcast(&length, 1, MPI_INT, first, world);
  std::string text = me == first ? mine : std::string(static_cast<std::size_t>(length), ' ');
  MPI_Bcast(&text[0], length, MPI_CHAR, first, world);
  return text;
}

/// A maximum passes over what is not a number, and MPI's may keep it or not.
double nan_as_infinity(double value) {
  return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
}

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
  std::vector<int> species_of_type;    // (ntypes + 1), -1 = NULL in pair_coeff
  std::vector<std::string> symbols;    // (ntypes + 1), owns what the next points to
  std::vector<char *> element_of_type; // (ntypes + 1), null = NULL in pair_coeff
  std::vector<double> weights;         // (M) whose weighted sum drives the run
  int driver = -1;                     // the one member that drives it, from 0; -1 = the mean

  const alrare::Neighborhood *hood = nullptr;
  alrare::Evaluation local;                   // of this rank, eV and Å
  double driving_energy = 0.0;                // of this rank, eV
  std::vector<std::vector<double>> gradients; // per member, with force_std only
  std::vector<double> member_forces;          // (nall, 3) of one member at a time
  std::vector<double> sum_forces;             // (nlocal, 3) over members

  double to_lammps = 1.0; // eV -> energy units of the run
  double energy_std = 0.0;
  double force_std = 0.0;
  double force_max = 0.0;
  std::vector<double> member_energies; // (M) whole system, units of the run
  int n_members = 0;
  bigint committee_step = -1;

  bool want_atom_energy_std = false;
  std::vector<double> atom_energy_std, atom_force_std; // (nlocal), units of the run; never empty

  /// What `action` throws, as text; empty when it does not throw.
  template <typename Action> static std::string failure_of(Action action) {
    try {
      action();
    } catch (const std::exception &e) {
      return e.what();
    } catch (...) {
      return "unknown exception";
    }
    return "";
  }
};

/* ---------------------------------------------------------------------- */

PairNNPEnsemble::PairNNPEnsemble(LAMMPS *host) : Pair(host), impl(new Impl) {
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
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      setflag[i][j] = 0;
      cutsq[i][j] = 0.0;
    }
}

/* ----------------------------------------------------------------------
   pair_style nnp_ensemble keyword value ...
------------------------------------------------------------------------- */

void PairNNPEnsemble::settings(int narg, char **arg) {
  impl->options = read_pair_nnp_options(lmp, narg, arg);
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
  for (int i = 1; i <= atom->ntypes; i++)
    for (int j = 1; j <= atom->ntypes; j++)
      setflag[i][j] = impl->species_of_type[i] >= 0 && impl->species_of_type[j] >= 0 ? 1 : 0;
}

void PairNNPEnsemble::load(const char *path, int n_names, char **names) {
  alrare::OpenOptions open = impl->options.open;
  open.node_rank = rank_on_node(world, comm->me);
  open.threads = comm->nthreads;
  const std::string failure = first_failure(
      world, Impl::failure_of([&] { impl->evaluator = alrare::open_evaluator(path, open); }));
  if (!failure.empty())
    error->all(FLERR, "pair_coeff for nnp_ensemble: {}", failure);

  const alrare::Metadata &model = impl->evaluator->metadata();
  if (model.receptive_field > model.cutoff)
    error->all(FLERR,
               "pair_coeff for nnp_ensemble: '{}' has a receptive field of {} and a cutoff of {} "
               "Angstrom; models that pass messages between atoms are not supported",
               path, model.receptive_field, model.cutoff);
  check_elements(path, n_names, names);

  impl->n_members = model.members;
  impl->member_energies.assign(model.members, 0.0);
  impl->energy_std = impl->force_std = impl->force_max = 0.0;
  impl->committee_step = -1;
  choose_forces();
  impl->builder = std::make_unique<alrare::NeighborhoodBuilder>(
      model.cutoff, impl->evaluator->needs_triples() ? model.angular_cutoff : 0.0);
  nextra = 2 + model.members;
  delete[] pvector;
  pvector = new double[nextra]();
  if (comm->me == 0)
    utils::logmesg(lmp, "nnp_ensemble: {} member{} from {}, {}, forces {}\n", model.members,
                   model.members == 1 ? "" : "s", path, impl->evaluator->description(),
                   impl->options.forces);
}

void PairNNPEnsemble::check_elements(const char *path, int n_names, char **names) {
  const std::vector<std::string> &known = impl->evaluator->metadata().elements;
  impl->species_of_type.assign(atom->ntypes + 1, -1);
  impl->symbols.assign(atom->ntypes + 1, "");
  impl->element_of_type.assign(atom->ntypes + 1, nullptr);
  for (int k = 0; k < n_names; k++) {
    if (strcmp(names[k], "NULL") == 0)
      continue;
    const auto found = std::find(known.begin(), known.end(), names[k]);
    if (found == known.end()) {
      std::string all;
      for (const std::string &name : known)
        all += (all.empty() ? "" : " ") + name;
      error->all(FLERR,
                 "pair_coeff for nnp_ensemble: element '{}' of atom type {} is not in '{}', which "
                 "knows: {}",
                 names[k], k + 1, path, all);
    }
    impl->species_of_type[k + 1] = static_cast<int>(found - known.begin());
    impl->symbols[k + 1] = *found;
    impl->element_of_type[k + 1] = &impl->symbols[k + 1][0];
  }
}

/// Turns the keyword `forces` into one weight per member.
void PairNNPEnsemble::choose_forces() {
  const alrare::Metadata &model = impl->evaluator->metadata();
  const std::string &forces = impl->options.forces;
  impl->driver = -1;
  if (forces == "mean") {
    impl->weights.assign(model.members, 1.0 / model.members);
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
  impl->driver = member - 1;
  impl->weights.assign(model.members, 0.0);
  impl->weights[impl->driver] = 1.0;
}

/* ---------------------------------------------------------------------- */

void PairNNPEnsemble::init_style() {
  const std::string units = update->unit_style;
  if (units != "metal" && units != "real")
    error->all(FLERR, "pair_style nnp_ensemble: units must be metal or real, got {}", units);
  impl->to_lammps = 1.0;
  if (units == "real")
    impl->to_lammps = utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL);

  if (force->newton_pair == 0)
    error->all(FLERR, "pair_style nnp_ensemble: requires newton pair on, got newton off");
  if (atom->molecular != Atom::ATOMIC && atom->nbonds > 0 && force->kspace == nullptr)
    for (int k = 1; k <= 3; k++)
      if (force->special_lj[k] == 0.0 && force->special_coul[k] == 0.0)
        error->all(FLERR,
                   "pair_style nnp_ensemble: special_bonds with a zero factor for 1-{} neighbors "
                   "hides bonded atoms from the model; use 'special_bonds lj/coul 1.0 1.0 1.0'",
                   k + 1);
  if (neighbor->exclude && comm->me == 0)
    error->warning(FLERR, "pair_style nnp_ensemble: the model does not see the pairs that "
                          "neigh_modify exclude removes");
  neighbor->add_request(this, NeighConst::REQ_FULL);
}

double PairNNPEnsemble::init_one(int i, int j) {
  if (setflag[i][j] == 0)
    error->all(FLERR, "pair_style nnp_ensemble: no pair_coeff for atom types {} and {}", i, j);
  return impl->evaluator->metadata().cutoff;
}

/* ---------------------------------------------------------------------- */

void PairNNPEnsemble::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  if (eflag_atom)
    error->all(FLERR, "pair_style nnp_ensemble: energies of single atoms are not available");

  // a run's first step too: no output may hold the values of another run
  const bool committee = update->ntimestep % impl->options.every == 0 || update->setupflag != 0;
  const std::string failure = Impl::failure_of([&] { evaluate(committee); });
  if (!failure.empty()) // perhaps on this rank alone
    error->one(FLERR, "pair_style nnp_ensemble: {}", failure);
  add_forces();
  impl->atom_energy_std.assign(std::max(1, atom->nlocal), 0.0);
  impl->atom_force_std.assign(std::max(1, atom->nlocal), 0.0);
  if (committee)
    judge_committee();
  if (eflag_global)
    eng_vdwl += impl->to_lammps * impl->driving_energy;
  if (vflag_global || vflag_atom)
    tally_virial();
  if (vflag_fdotr)
    virial_fdotr_compute();
}

/// What all members together say: spreads, and what compute pair shows of them.
void PairNNPEnsemble::judge_committee() {
  reduce_energies();
  if (impl->want_atom_energy_std)
    spread_energies();
  if (impl->options.force_std)
    reduce_force_std();
  impl->committee_step = update->ntimestep;
  std::fill(pvector, pvector + nextra, 0.0);
  if (comm->me == 0) { // compute pair sums over ranks
    pvector[0] = impl->energy_std;
    pvector[1] = impl->force_std;
    std::copy(impl->member_energies.begin(), impl->member_energies.end(), pvector + 2);
  }
}

/// Energies and gradients of this rank's centers: all members, or the driving one. May throw.
void PairNNPEnsemble::evaluate(bool committee) {
  alrare::NeighborList in;
  in.n_all = atom->nlocal + atom->nghost;
  in.positions = atom->x;
  in.type = atom->type;
  in.species_of_type = impl->species_of_type.data();
  in.n_centers = list->inum;
  in.centers = list->ilist;
  in.n_neighbors = list->numneigh;
  in.neighbors = list->firstneigh;
  in.neighbor_mask = NEIGHMASK;
  impl->hood = &impl->builder->build(in);

  if (!committee) {
    impl->evaluator->evaluate_one(*impl->hood, impl->driver, impl->local);
    impl->driving_energy = impl->local.member_energies.at(0);
    return;
  }
  if (impl->options.force_std) {
    impl->evaluator->evaluate_members(*impl->hood, impl->local.member_energies, impl->gradients);
    impl->local.gradient.assign(impl->hood->vec.size(), 0.0);
    for (int m = 0; m < impl->n_members; m++)
      for (std::size_t k = 0; k < impl->local.gradient.size() && impl->weights[m] != 0.0; k++)
        impl->local.gradient[k] += impl->weights[m] * impl->gradients[m][k];
  } else {
    impl->evaluator->evaluate(*impl->hood, impl->weights, impl->local);
  }
  impl->driving_energy = 0.0;
  for (int m = 0; m < impl->n_members; m++)
    impl->driving_energy += impl->weights[m] * impl->local.member_energies[m];
}

/// Member energies of the whole system and their standard deviation (M - 1 in the divisor).
void PairNNPEnsemble::reduce_energies() {
  const int members = impl->n_members;
  MPI_Allreduce(impl->local.member_energies.data(), impl->member_energies.data(), members,
                MPI_DOUBLE, MPI_SUM, world);
  double mean = 0.0;
  for (double &energy : impl->member_energies) {
    energy *= impl->to_lammps;
    mean += energy / members;
  }
  double squares = 0.0;
  for (const double energy : impl->member_energies)
    squares += (energy - mean) * (energy - mean);
  impl->energy_std = members > 1 ? std::sqrt(squares / (members - 1)) : 0.0;
}

/// Standard deviation of the members' energies of each owned atom (M - 1 in the divisor).
void PairNNPEnsemble::spread_energies() {
  const std::vector<double> &energies = *impl->evaluator->center_energies();
  const int members = impl->n_members, n = impl->hood->n_local;
  for (int c = 0; c < n && members > 1; c++) {
    double mean = 0.0, squares = 0.0;
    for (int m = 0; m < members; m++)
      mean += energies[m * n + c] / members;
    for (int m = 0; m < members; m++)
      squares += (energies[m * n + c] - mean) * (energies[m * n + c] - mean);
    impl->atom_energy_std[impl->hood->atom[c]] =
        impl->to_lammps * std::sqrt(squares / (members - 1));
  }
}

/// Forces on local atoms and ghosts; LAMMPS sends those of the ghosts home.
void PairNNPEnsemble::add_forces() {
  const alrare::Neighborhood &hood = *impl->hood;
  double **const f = atom->f;
  for (std::size_t e = 0; e < hood.n_edges(); e++) {
    double *const fi = f[hood.atom[hood.edge_i[e]]];
    double *const fj = f[hood.atom[hood.edge_j[e]]];
    const double *const grad = &impl->local.gradient[3 * e];
    for (int d = 0; d < 3; d++) {
      fi[d] += impl->to_lammps * grad[d];
      fj[d] -= impl->to_lammps * grad[d];
    }
  }
}

/// Virial edge by edge, -vec x grad, half of it to either atom.
void PairNNPEnsemble::tally_virial() {
  static const int row[6] = {0, 1, 2, 0, 0, 1}, column[6] = {0, 1, 2, 1, 2, 2};
  const alrare::Neighborhood &hood = *impl->hood;
  for (std::size_t e = 0; e < hood.n_edges(); e++) {
    const double *const vec = &hood.vec[3 * e];
    const double *const grad = &impl->local.gradient[3 * e];
    for (int k = 0; k < 6; k++) {
      const double v = -impl->to_lammps * vec[row[k]] * grad[column[k]];
      if (vflag_global)
        virial[k] += v;
      if (vflag_atom) {
        vatom[hood.atom[hood.edge_i[e]]][k] += 0.5 * v;
        vatom[hood.atom[hood.edge_j[e]]][k] += 0.5 * v;
      }
    }
  }
}

/* ----------------------------------------------------------------------
   of each atom sqrt(sum_m |F_m - mean F|^2 / (M - 1) / 3), and the largest; the largest |mean F|
------------------------------------------------------------------------- */

void PairNNPEnsemble::reduce_force_std() {
  const alrare::Neighborhood &hood = *impl->hood;
  const int nlocal = atom->nlocal, members = impl->n_members;
  // two passes over the members: sums of squares would cancel where members agree
  std::vector<std::vector<double>> forces(members);
  impl->sum_forces.assign(3 * nlocal, 0.0);
  for (int m = 0; m < members; m++) {
    impl->member_forces.assign(3 * (nlocal + atom->nghost), 0.0);
    const std::vector<double> &gradient = impl->gradients[m];
    for (std::size_t e = 0; e < hood.n_edges(); e++) {
      double *const fi = &impl->member_forces[3 * hood.atom[hood.edge_i[e]]];
      double *const fj = &impl->member_forces[3 * hood.atom[hood.edge_j[e]]];
      for (int d = 0; d < 3; d++) {
        fi[d] += gradient[3 * e + d];
        fj[d] -= gradient[3 * e + d];
      }
    }
    comm->reverse_comm(this);
    forces[m].assign(impl->member_forces.begin(), impl->member_forces.begin() + 3 * nlocal);
    for (int k = 0; k < 3 * nlocal; k++)
      impl->sum_forces[k] += forces[m][k];
  }
  double mine[2] = {0.0, 0.0}, largest[2]; // deviation, norm
  for (int i = 0; i < nlocal && members > 1; i++) {
    double squares = 0.0, norm = 0.0;
    for (int k = 3 * i; k < 3 * i + 3; k++) {
      const double mean = impl->sum_forces[k] / members;
      norm += mean * mean;
      for (int m = 0; m < members; m++)
        squares += (forces[m][k] - mean) * (forces[m][k] - mean);
    }
    impl->atom_force_std[i] = impl->to_lammps * std::sqrt(squares / (members - 1) / 3.0);
    mine[0] = std::max(mine[0], nan_as_infinity(impl->atom_force_std[i]));
    mine[1] = std::max(mine[1], nan_as_infinity(impl->to_lammps * std::sqrt(norm)));
  }
  MPI_Allreduce(mine, largest, 2, MPI_DOUBLE, MPI_MAX, world);
  impl->force_std = largest[0];
  impl->force_max = largest[1];
}

int PairNNPEnsemble::pack_reverse_comm(int n, int first, double *buf) {
  std::copy_n(impl->member_forces.begin() + 3 * first, 3 * n, buf);
  return 3 * n;
}

void PairNNPEnsemble::unpack_reverse_comm(int n, int *list_of_atoms, double *buf) {
  for (int k = 0; k < n; k++)
    for (int d = 0; d < 3; d++)
      impl->member_forces[3 * list_of_atoms[k] + d] += buf[3 * k + d];
}

/* ---------------------------------------------------------------------- */

void *PairNNPEnsemble::extract(const char *name, int &dim) {
  if (!impl->evaluator)
    return nullptr;
  dim = strcmp(name, "member_energies") == 0 ? 1 : 0;
  if (strcmp(name, "energy_std") == 0)
    return &impl->energy_std;
  if (strcmp(name, "force_std") == 0) // null: not known
    return impl->options.force_std ? &impl->force_std : nullptr;
  if (strcmp(name, "force_max") == 0)
    return impl->options.force_std ? &impl->force_max : nullptr;
  if (strcmp(name, "member_energies") == 0)
    return impl->member_energies.data();
  if (strcmp(name, "n_members") == 0)
    return &impl->n_members;
  if (strcmp(name, "committee_step") == 0)
    return &impl->committee_step;
  if (strcmp(name, "element_of_type") == 0) {
    dim = 1;
    return impl->element_of_type.data();
  }
  return nullptr;
}

/// For fix pair. Null, so refused by it, when these settings do not give the quantity.
void *PairNNPEnsemble::extract_peratom(const char *name, int &n_columns) {
  n_columns = 0;
  if (!impl->evaluator)
    return nullptr;
  if (strcmp(name, "energy_std") == 0 && impl->evaluator->center_energies() != nullptr) {
    impl->want_atom_energy_std = true;
    impl->atom_energy_std.resize(std::max<std::size_t>(1, impl->atom_energy_std.size()));
    return impl->atom_energy_std.data();
  }
  if (strcmp(name, "force_std") == 0 && impl->options.force_std) {
    impl->atom_force_std.resize(std::max<std::size_t>(1, impl->atom_force_std.size()));
    return impl->atom_force_std.data();
  }
  return nullptr;
}

double PairNNPEnsemble::memory_usage() {
  double bytes = Pair::memory_usage();
  if (impl->hood != nullptr) {
    const alrare::Neighborhood &hood = *impl->hood;
    bytes += 8.0 * static_cast<double>(8 * hood.n_edges() + 2 * hood.n_triples());
    bytes += 12.0 * static_cast<double>(hood.species.size());
  }
  for (const std::vector<double> &gradient : impl->gradients)
    bytes += 8.0 * static_cast<double>(gradient.size());
  return bytes;
}
