// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/pair_nnp_ensemble.h"

#include "pair_nnp/find_exclusions.h"
#include "pair_nnp/loaded_model.h"
#include "pair_nnp/pair_nnp_options.h"
#include "pair_nnp/ranks.h"
#include "pair_nnp/requirements.h"
#include "pair_nnp/spread.h"
#include "pair_nnp/tally.h"

#include "nnp/evaluator.h"
#include "nnp/neighborhood.h"

#include "atom.h"
#include "comm.h"
#include "compute.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "modify.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"
#include "utils.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
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
  std::unique_ptr<alrare::LoadedModel> model; // null before pair_coeff

  std::vector<int> owner;   // of every atom of this rank, with messages on one rank only
  std::vector<int> centers; // the atoms of the list that are part of the system
  int n_excluded = 0;       // atoms of all ranks that are not
  bool warned_of_exclusions = false;
  const alrare::Neighborhood *hood = nullptr;
  alrare::Evaluation local;                   // of this rank, eV and Å
  alrare::ListEvaluation from_list;           // in place of a gradient, where the engine gives it
  bool has_forces = false;                    // whether from_list is what it gave
  bigint list_build = -1;                     // the build of the list that the engine has
  double driving_energy = 0.0;                // of this rank, eV
  std::vector<double> driving_forces;         // (nall, 3) eV/Å
  double bias_energy = 0.0;                   // of the whole system, in the units of the run
  std::vector<std::vector<double>> gradients; // per member, with force_std or a bias only
  std::vector<double> member_forces;          // (nall, 3) of one member at a time

  double to_lammps = 1.0; // eV -> energy units of the run
  int n_members = 0;
  alrare::Spread spread;     // in the units of the run
  bigint ensemble_step = -1; // timestep of the spread
  bool want_atom_energy_std = false;
  std::vector<double> shown; // what pvector points to

  [[nodiscard]] int message_shells() const { return model->metadata().message_shells(); }
  /// Whether edges lead to the atoms that ghosts copy: right whatever the receptive field.
  [[nodiscard]] bool without_ghosts(int n_ranks) const {
    return n_ranks == 1 && model->metadata().format_version > 1;
  }
};

PairNNPEnsemble::PairNNPEnsemble(LAMMPS *host) : Pair(host), impl_(new Impl) {
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  single_enable = 0;
  centroidstressflag = CENTROID_AVAIL;
  comm_forward = 1;
  comm_reverse = 3; // one member's forces at a time: M may be unknown when hybrid asks
}

PairNNPEnsemble::~PairNNPEnsemble() {
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
  PairNNPOptions options = read_pair_nnp_options(lmp, narg, arg);
  if (impl_->model) { // given again: LAMMPS keeps the coefficients, so they meet the new keywords
    const bool same_engine = options.open.engine == impl_->options.open.engine &&
                             options.open.device == impl_->options.open.device;
    load("pair_style nnp_ensemble", impl_->model->path, impl_->model->names, options,
         same_engine ? impl_->model->evaluator : nullptr);
  }
  impl_->options = std::move(options);
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
  load("pair_coeff for nnp_ensemble", arg[2], {arg + 3, arg + narg}, impl_->options, nullptr);
  const std::vector<int> &species = impl_->model->types.species;
  for (int i = 1; i <= atom->ntypes; ++i)
    for (int j = 1; j <= atom->ntypes; ++j)
      setflag[i][j] = species[i] >= 0 && species[j] >= 0 ? 1 : 0;
}

/// Opens (unless it is open already) and checks a model; only then it replaces the one before.
void PairNNPEnsemble::load(const char *command, const std::string &path,
                           const std::vector<std::string> &names, const PairNNPOptions &options,
                           std::shared_ptr<alrare::Evaluator> evaluator) {
  alrare::OpenOptions open = options.open;
  open.node_rank = alrare::rank_on_node(world);
  open.threads = comm->nthreads;
  std::unique_ptr<alrare::LoadedModel> loaded;
  const auto make = [&] {
    if (!evaluator)
      evaluator = alrare::open_evaluator(path, open);
    loaded = std::make_unique<alrare::LoadedModel>(evaluator, path, names, options.forces);
    if (options.bias && loaded->metadata().members < 2)
      throw std::runtime_error("'" + path +
                               "' has one member, and a bias needs the spread of several");
  };
  const std::string failure = alrare::first_failure(world, alrare::failure_of(make));
  if (!failure.empty())
    error->all(FLERR, "{}: {}", command, failure);

  impl_->hood = nullptr; // it belongs to the model before
  impl_->list_build = -1;
  impl_->model = std::move(loaded);
  const int members = impl_->n_members = impl_->model->metadata().members;
  impl_->spread.reset(members);
  impl_->bias_energy = 0.0; // of the bias before, which may be taken back
  impl_->ensemble_step = -1;
  // with messages an edge is part of the energy of several atoms
  centroidstressflag = impl_->message_shells() > 0 ? CENTROID_NOTAVAIL : CENTROID_AVAIL;
  make_pvector(static_cast<bool>(options.bias));
  if (comm->me == 0)
    utils::logmesg(lmp, "nnp_ensemble: {} member{} from {}, {}, forces {}, {}\n", members,
                   members == 1 ? "" : "s", impl_->model->path, evaluator->description(),
                   options.forces,
                   impl_->model->metadata().is_calibrated() ? "calibrated" : "not calibrated");
}

/// compute pair reads as many values as there were when it was defined; those that this model does
/// not have are not numbers.
void PairNNPEnsemble::make_pvector(bool with_bias) {
  nextra = 4 + impl_->n_members + (with_bias ? 1 : 0);
  int length = nextra;
  for (const Compute *compute : modify->get_compute_by_style("^pair$"))
    length = std::max(length, compute->size_vector);
  impl_->shown.assign(length, std::numeric_limits<double>::quiet_NaN());
  std::fill_n(impl_->shown.begin(), nextra, 0.0);
  pvector = impl_->shown.data();
}

void PairNNPEnsemble::init_style() {
  refuse_unfit_run(lmp);
  const bool real = strcmp(update->unit_style, "real") == 0;
  impl_->to_lammps = real ? utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL) : 1.0;

  warn_of_masses(lmp, "pair_style nnp_ensemble", "pair_coeff", impl_->model->metadata().elements,
                 impl_->model->names);
  impl_->warned_of_exclusions = false;
  impl_->list_build = -1; // builds are counted anew
  make_pvector(static_cast<bool>(impl_->options.bias));
  if (impl_->shown.size() > static_cast<std::size_t>(nextra) && comm->me == 0)
    error->warning(
        FLERR,
        "pair_style nnp_ensemble: a compute pair was defined for a model of more than {} "
        "members; its values of the others are nan, define it again",
        impl_->n_members);
  int wanted = NeighConst::REQ_FULL;
  if (impl_->without_ghosts(comm->nprocs)) {
    // edges lead to owned atoms, also those across a periodic boundary, and forces with them
    no_virial_fdotr_compute = force->pair->no_virial_fdotr_compute = 1;
  } else if (impl_->message_shells() > 0) {
    widen_ghost_shell(lmp, impl_->model->metadata().receptive_field);
    wanted |= NeighConst::REQ_GHOST;
  }
  neighbor->add_request(this, wanted);
}

double PairNNPEnsemble::init_one(int i, int j) {
  if (setflag[i][j] == 0)
    error->all(FLERR, "pair_style nnp_ensemble: no pair_coeff for atom types {} and {}", i, j);
  return impl_->model->metadata().cutoff;
}

void PairNNPEnsemble::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  // a run's first step too: output must not show values of an earlier run
  const bool whole_ensemble =
      update->ntimestep % impl_->options.every == 0 || update->setupflag != 0;
  find_centers();
  if (impl_->without_ghosts(comm->nprocs))
    find_owners();
  // agreed on by all ranks: what error->one prints may be lost when it ends the others
  const std::string failure =
      alrare::first_failure(world, alrare::failure_of([&] { evaluate(whole_ensemble); }));
  if (!failure.empty())
    error->all(FLERR, "pair_style nnp_ensemble: {}", failure);
  impl_->spread.clear_atoms(atom->nlocal);
  if (whole_ensemble)
    judge_ensemble();
  if (impl_->options.bias)
    apply_bias();
  tally(whole_ensemble);
  if (vflag_fdotr)
    virial_fdotr_compute();
}

/// Adds this rank's energies, forces and virials; LAMMPS sends those of the ghosts home.
void PairNNPEnsemble::tally(bool whole_ensemble) {
  const alrare::Neighborhood &hood = *impl_->hood;
  const std::vector<double> &gradient = impl_->local.gradient;
  if (!impl_->has_forces)
    alrare::sum_forces(hood, gradient, atom->nlocal + atom->nghost, impl_->driving_forces);
  alrare::add_forces(impl_->driving_forces, impl_->to_lammps, atom->f);
  if (vflag_global || vflag_atom || cvflag_atom)
    alrare::add_virials(hood, gradient, impl_->to_lammps,
                        {vflag_global ? virial : nullptr, vflag_atom ? vatom : nullptr,
                         cvflag_atom ? cvatom : nullptr});
  if (eflag_global)
    eng_vdwl += impl_->to_lammps * impl_->driving_energy;
  if (eflag_global && comm->me == 0)
    eng_vdwl += impl_->bias_energy;
  if (eflag_atom)
    tally_atom_energies(whole_ensemble);
}

/// How far the members disagree, for other styles and for compute pair.
void PairNNPEnsemble::judge_ensemble() {
  alrare::Spread &spread = impl_->spread;
  MPI_Allreduce(impl_->local.member_energies.data(), spread.member_energies.data(),
                impl_->n_members, MPI_DOUBLE, MPI_SUM, world);
  spread.judge_energies(impl_->to_lammps);
  if (impl_->want_atom_energy_std && impl_->model->evaluator->has_center_energies())
    spread.judge_atom_energies(*impl_->hood, *impl_->model->evaluator->center_energies(),
                               impl_->to_lammps);
  if (impl_->options.force_std)
    judge_forces();
  spread.calibrate(impl_->model->metadata());
  impl_->ensemble_step = update->ntimestep;
  std::fill_n(pvector, nextra, 0.0);
  if (comm->me == 0) { // compute pair sums over ranks
    pvector[0] = spread.energy_std;
    pvector[1] = spread.force_std;
    std::copy(spread.member_energies.begin(), spread.member_energies.end(), pvector + 2);
    pvector[2 + impl_->n_members] = spread.calibrated_energy_std;
    pvector[3 + impl_->n_members] = spread.calibrated_force_std;
  }
}

/// Adds the gradient of the bias, a weighted sum of the members' gradients, to the driving one.
void PairNNPEnsemble::apply_bias() {
  const alrare::Spread &spread = impl_->spread;
  impl_->bias_energy = impl_->options.bias.energy(spread.energy_std);
  const std::vector<double> weights =
      impl_->options.bias.weights(spread.member_energies, spread.energy_std);
  if (impl_->has_forces)
    alrare::add_weighted(weights, impl_->from_list.forces, impl_->driving_forces);
  else
    alrare::add_weighted(weights, impl_->gradients, impl_->local.gradient);
  if (comm->me == 0)
    pvector[4 + impl_->n_members] = impl_->bias_energy;
}

/// On one rank every ghost copies an atom of this rank, and knows which by a round of messages.
void PairNNPEnsemble::find_owners() {
  impl_->owner.resize(atom->nlocal + atom->nghost);
  std::iota(impl_->owner.begin(), impl_->owner.end(), 0);
  comm->forward_comm(this);
}

int PairNNPEnsemble::pack_forward_comm(int n, int *list_of_atoms, double *buf, int /*pbc_flag*/,
                                       int * /*pbc*/) {
  for (int k = 0; k < n; ++k)
    buf[k] = impl_->owner[list_of_atoms[k]];
  return n;
}

void PairNNPEnsemble::unpack_forward_comm(int n, int first, double *buf) {
  for (int k = 0; k < n; ++k)
    impl_->owner[first + k] = static_cast<int>(buf[k]);
}

/// Atoms excluded from all others own no energy: a fix tries what the system is without them.
void PairNNPEnsemble::find_centers() {
  std::vector<int> &centers = impl_->centers;
  centers.assign(list->ilist, list->ilist + list->inum);
  impl_->n_excluded = 0;
  if (!neighbor->exclude)
    return;
  const alrare::Exclusions found = find_exclusions(lmp, impl_->model->types.species);
  centers.erase(
      std::remove_if(centers.begin(), centers.end(),
                     [&](int i) { return found.removes({atom->mask[i], atom->type[i]}); }),
      centers.end());
  const int mine = list->inum - static_cast<int>(centers.size());
  MPI_Allreduce(&mine, &impl_->n_excluded, 1, MPI_INT, MPI_SUM, world);
  if (impl_->warned_of_exclusions || !(found.hides_pairs() || neighbor->nex_mol > 0))
    return;
  impl_->warned_of_exclusions = true;
  if (comm->me == 0)
    error->warning(FLERR, "pair_style nnp_ensemble: neigh_modify exclude hides some pairs of atoms "
                          "from the model, which keep the rest of their energy");
}

/// Energies and gradients of this rank's centers: all members, or the driving one. May throw.
void PairNNPEnsemble::evaluate(bool whole_ensemble) {
  alrare::LoadedModel &model = *impl_->model;
  alrare::NeighborList in;
  in.n_all = atom->nlocal + atom->nghost;
  in.positions = atom->x;
  in.type = atom->type;
  in.species_of_type = model.types.species.data();
  in.n_centers = static_cast<int>(impl_->centers.size());
  in.centers = impl_->centers.data();
  in.n_neighbors = list->numneigh;
  in.neighbors = list->firstneigh;
  in.neighbor_mask = NEIGHMASK;
  in.name_of = [this](int i) { return std::to_string(atom->tag[i]); };
  if (impl_->without_ghosts(comm->nprocs))
    in.owner = impl_->owner.data();
  else
    in.message_shells = impl_->message_shells();
  // the engine's own way gives no virials of edges
  const bool each = whole_ensemble && (impl_->options.force_std || impl_->options.bias);
  alrare::ListEvaluator *const from_list = model.evaluator->list_evaluator(each);
  impl_->has_forces = from_list != nullptr && !vflag_global && !vflag_atom && !cvflag_atom;
  if (impl_->has_forces) {
    evaluate_list(*from_list, in, whole_ensemble, each);
    return;
  }
  const alrare::Neighborhood &hood = model.builder.build(in);
  impl_->hood = &hood;
  alrare::Evaluation &local = impl_->local;
  if (!whole_ensemble) {
    model.evaluator->evaluate_one(hood, model.driver, local);
    impl_->driving_energy = local.member_energies.at(0);
    return;
  }
  if (each)
    model.evaluate_members(hood, local, impl_->gradients);
  else
    model.evaluator->evaluate(hood, model.weights, local);
  impl_->driving_energy = model.driving_energy(local.member_energies);
}

/// The same by an engine that needs no edges from here.
void PairNNPEnsemble::evaluate_list(alrare::ListEvaluator &engine, const alrare::NeighborList &in,
                                    bool whole_ensemble, bool each) {
  const alrare::LoadedModel &model = *impl_->model;
  const bool new_list = neighbor->ago == 0 || impl_->list_build != neighbor->ncalls;
  impl_->list_build = -1; // should it throw
  alrare::ListEvaluation &out = impl_->from_list;
  if (whole_ensemble)
    engine.evaluate_list(in, new_list, 0, model.weights, each, out);
  else
    engine.evaluate_list(in, new_list, model.driver, {1.0}, false, out);
  impl_->list_build = neighbor->ncalls;
  impl_->hood = out.centers;
  impl_->local.member_energies = out.member_energies;
  impl_->driving_energy =
      whole_ensemble ? model.driving_energy(out.member_energies) : out.member_energies.at(0);
  if (!each) {
    std::swap(impl_->driving_forces, out.forces.at(0));
    return;
  }
  impl_->driving_forces.assign(out.forces.at(0).size(), 0.0);
  alrare::add_weighted(model.weights, out.forces, impl_->driving_forces);
}

void PairNNPEnsemble::tally_atom_energies(bool whole_ensemble) {
  if (!impl_->model->evaluator->has_center_energies())
    error->all(FLERR, "pair_style nnp_ensemble: energies of single atoms need the native engine: "
                      "give pair_coeff the ensemble.safetensors, or a TorchScript model of "
                      "format version 2");
  const auto energies = impl_->model->center_energies(*impl_->hood, whole_ensemble);
  for (std::size_t c = 0; c < energies.size(); ++c)
    eatom[impl_->hood->atom[c]] += impl_->to_lammps * energies[c];
}

/// Spread of the forces: those of one member at a time are sent home from the ghosts.
void PairNNPEnsemble::judge_forces() {
  std::vector<std::vector<double>> forces(impl_->n_members); // (nlocal, 3) each
  for (int m = 0; m < impl_->n_members; ++m) {
    if (impl_->has_forces)
      impl_->member_forces = impl_->from_list.forces[m];
    else
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
  if (!impl_->model)
    return nullptr;
  alrare::Spread &spread = impl_->spread;
  const bool forces = impl_->options.force_std; // null: not known
  const bool calibrated = impl_->model->metadata().is_calibrated();
  const std::string wanted = name;
  dim = wanted == "member_energies" || wanted == "element_of_type" ? 1 : 0;
  const std::map<std::string, void *> values = {
      {"energy_std", &spread.energy_std},
      {"force_std", forces ? &spread.force_std : nullptr},
      {"force_max", forces ? &spread.force_max : nullptr},
      {"calibrated_energy_std", calibrated ? &spread.calibrated_energy_std : nullptr},
      {"calibrated_force_std", calibrated && forces ? &spread.calibrated_force_std : nullptr},
      {"bias_energy", impl_->options.bias ? &impl_->bias_energy : nullptr},
      {"member_energies", spread.member_energies.data()},
      {"n_members", &impl_->n_members},
      {"n_excluded", &impl_->n_excluded},
      {"ensemble_step", &impl_->ensemble_step},
      {"element_of_type", static_cast<void *>(impl_->model->types.elements.data())},
  };
  const auto found = values.find(wanted);
  return found == values.end() ? nullptr : found->second;
}

/// For fix pair, which refuses a quantity for which this is null.
void *PairNNPEnsemble::extract_peratom(const char *name, int &n_columns) {
  n_columns = 0;
  if (!impl_->model)
    return nullptr;
  if (impl_->spread.atom_energy_std.empty())
    impl_->spread.clear_atoms(0);
  const std::string wanted = name;
  if (wanted == "energy_std" && impl_->model->evaluator->has_center_energies()) {
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
  for (const std::vector<double> &forces : impl_->from_list.forces)
    bytes += 8.0 * static_cast<double>(forces.size());
  bytes += 8.0 * static_cast<double>(impl_->driving_forces.size());
  return bytes;
}
