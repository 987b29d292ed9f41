// SPDX-License-Identifier: GPL-2.0-or-later
#include "fix_al_select/fix_al_select.h"

#include "fix_al_select/al_select_options.h"
#include "selection/frame_file.h"
#include "selection/selection.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "force.h"
#include "input.h"
#include "modify.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair.h"
#include "timer.h"
#include "update.h"
#include "variable.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

using namespace LAMMPS_NS;
using namespace FixConst;

namespace {
constexpr double kcal_per_mol_in_eV = 0.0434; // the paper's 1 kcal/mol
constexpr int atom_width = 5;                 // tag, type, x, y, z
} // namespace

/// What is known of one configuration, the same on every rank; in the units of the run.
struct FixALSelect::Look {
  std::vector<double> member_energies;
  double energy_std, force_std, force_max, cv; // those of the forces: 0 if not known
};

struct FixALSelect::Impl {
  Impl(const char *path, double to_eV_) : file(path), to_eV(to_eV_) {}

  ALSelectOptions options;
  std::unique_ptr<alrare::Selection> selection;
  alrare::FrameFile file;
  double to_eV; // energies of the run's units in eV
  int cv_index = -1;

  Pair *pair = nullptr;
  int n_members = 0;
  const double *energy_std = nullptr, *member_energies = nullptr; // owned by the pair
  const double *force_std = nullptr, *force_max = nullptr;        // likewise; null if not known
  char **element_of_type = nullptr;
  const bigint *committee_step = nullptr; // timestep these values are of

  bigint last_step = -1;         // of the last configuration that was judged
  double last_uncertainty = 0.0; // its uncertainty
  bool file_ready = false;
  bool continued = false; // the state came from a restart file
  bool halted = false;

  [[nodiscard]] Look look(MPI_Comm world, double cv) const;
  [[nodiscard]] alrare::Sample sample(const Look &look, bigint step) const;
};

/// Rank 0 decides for all: sums over ranks need not be the same on each to the last bit.
FixALSelect::Look FixALSelect::Impl::look(MPI_Comm world, double cv) const {
  std::vector<double> values(member_energies, member_energies + n_members);
  values.insert(values.end(),
                {*energy_std, force_std ? *force_std : 0.0, force_max ? *force_max : 0.0, cv});
  MPI_Bcast(values.data(), static_cast<int>(values.size()), MPI_DOUBLE, 0, world);
  const double *const rest = &values[n_members];
  return {{values.cbegin(), values.cend() - 4}, rest[0], rest[1], rest[2], rest[3]};
}

alrare::Sample FixALSelect::Impl::sample(const Look &look, bigint step) const {
  const auto &energies = look.member_energies;
  alrare::Sample sample{look.energy_std,
                        std::accumulate(energies.begin(), energies.end(), 0.0) / n_members, look.cv,
                        step};
  if (options.judges_forces) {
    sample.uncertainty = look.force_std;
    sample.size = look.force_max;
  }
  return sample;
}

FixALSelect::FixALSelect(LAMMPS *host, int narg, char **arg) : Fix(host, narg, arg) {
  if (narg < 5)
    utils::missing_cmd_args(FLERR, "fix al_select", error);
  if (igroup != 0)
    error->all(FLERR,
               "Fix al_select: expected group all (a candidate is a whole configuration), "
               "got '{}'",
               arg[1]);
  const bool metal = std::strcmp(update->unit_style, "metal") == 0;
  if (!metal && std::strcmp(update->unit_style, "real") != 0)
    error->all(FLERR, "Fix al_select: expected units metal or real, got {}", update->unit_style);

  nevery = utils::inumeric(FLERR, arg[3], false, lmp);
  if (nevery <= 0)
    error->all(FLERR, "Fix al_select: N = {}: must be >= 1", nevery);
  scalar_flag = vector_flag = 1;
  size_vector = 7;
  global_freq = nevery;
  extscalar = extvector = 0;
  restart_global = 1;

  const double to_eV = metal ? 1.0 : utils::get_conversion_factor(utils::ENERGY, utils::REAL2METAL);
  impl = std::make_unique<Impl>(arg[4], to_eV);
  impl->options.settings.energy_gap = kcal_per_mol_in_eV / to_eV;
  impl->options = read_al_select_options(lmp, narg, arg, 5, impl->options);
  try {
    impl->selection = std::make_unique<alrare::Selection>(impl->options.settings);
  } catch (const std::runtime_error &problem) {
    error->all(FLERR, "Fix al_select: {}", problem.what());
  }
}

FixALSelect::~FixALSelect() = default;

int FixALSelect::setmask() { return END_OF_STEP; }

void FixALSelect::init() {
  if (!atom->tag_enable)
    error->all(FLERR, "Fix al_select: the atoms need IDs (atom_modify id yes)");
  find_pair();
  find_variable();
  warn_of_late_box_changes();
  prepare_file();

  // which computes the variable invokes is not known before it is evaluated: ask all of them to be
  // ready for the first step; evaluate() then asks for each next one
  const bigint step = update->ntimestep;
  modify->addstep_compute_all((step + nevery - 1) / nevery * nevery);
}

void FixALSelect::find_pair() {
  impl->pair = force->pair_match("nnp_ensemble", 1);
  if (!impl->pair)
    error->all(FLERR,
               "Fix al_select: needs exactly one pair style nnp_ensemble (alone or within a hybrid "
               "style), and the pair style is {}",
               force->pair_style ? force->pair_style : "none");
  int dim = -1;
  const auto *members = static_cast<int *>(impl->pair->extract("n_members", dim));
  impl->energy_std = static_cast<double *>(impl->pair->extract("energy_std", dim));
  impl->member_energies = static_cast<double *>(impl->pair->extract("member_energies", dim));
  impl->element_of_type = static_cast<char **>(impl->pair->extract("element_of_type", dim));
  impl->committee_step = static_cast<bigint *>(impl->pair->extract("committee_step", dim));
  impl->force_std = static_cast<double *>(impl->pair->extract("force_std", dim));
  impl->force_max = static_cast<double *>(impl->pair->extract("force_max", dim));
  if (impl->options.judges_forces && (!impl->force_std || !impl->force_max))
    error->all(FLERR, "Fix al_select: uncertainty force: the pair style does not compute it; give "
                      "it 'force_std yes' (pair_style nnp_ensemble force_std yes)");
  if (!members || !impl->energy_std || !impl->member_energies || !impl->element_of_type ||
      !impl->committee_step)
    error->all(FLERR, "Fix al_select: pair style nnp_ensemble and this fix are of different "
                      "versions of alrare; install both from one");
  impl->n_members = *members;
  for (int type = 1; type <= atom->ntypes; ++type)
    if (!impl->element_of_type[type])
      error->all(
          FLERR,
          "Fix al_select: atom type {} is NULL in the pair_coeff of nnp_ensemble; a candidate "
          "needs the element of every type",
          type);
  if (impl->n_members < 2)
    error->all(FLERR,
               "Fix al_select: the model of pair style nnp_ensemble has {} member; the uncertainty "
               "needs at least 2",
               impl->n_members);
  const double cutoff = impl->pair->init_one(1, 1); // cutforce is not set within a hybrid style
  if (impl->options.min_distance > cutoff)
    error->all(FLERR,
               "Fix al_select: min_distance = {}: must not exceed the cutoff of the model, {}",
               impl->options.min_distance, cutoff);
}

void FixALSelect::find_variable() {
  if (impl->options.cv_name.empty())
    return;
  impl->cv_index = input->variable->find(impl->options.cv_name.c_str());
  if (impl->cv_index < 0)
    error->all(FLERR, "Fix al_select: cv: variable '{}' does not exist", impl->options.cv_name);
  if (!input->variable->equalstyle(impl->cv_index))
    error->all(FLERR, "Fix al_select: cv: variable '{}' is not an equal-style variable",
               impl->options.cv_name);
}

void FixALSelect::warn_of_late_box_changes() {
  for (const auto *other : modify->get_fix_list()) {
    if (other == this)
      return; // what comes after this fix changes the box after it was read
    const bool changes_box = other->box_change & (BOX_CHANGE_SIZE | BOX_CHANGE_SHAPE);
    if (changes_box && (modify->get_fix_mask(const_cast<Fix *>(other)) & END_OF_STEP) &&
        comm->me == 0)
      error->warning(FLERR,
                     "Fix al_select: fix {} changes the box at the end of a step before this fix "
                     "reads the positions; define fix {} before it",
                     other->id, id);
  }
}

/// A fresh start overwrites the file; a restart goes on with the frames its state knows of.
void FixALSelect::prepare_file() {
  if (impl->file_ready)
    return;
  impl->file_ready = true;
  if (comm->me != 0)
    return;
  try {
    if (!impl->continued) {
      impl->file.create();
      return;
    }
    const auto selected = impl->selection->selected();
    const auto kept = impl->file.keep(selected);
    if (kept < selected)
      error->warning(FLERR,
                     "Fix al_select: the candidates file holds {} of the {} frames selected before "
                     "the restart; new ones are appended",
                     kept, selected);
  } catch (const std::runtime_error &problem) {
    error->one(FLERR, "Fix al_select: {}", problem.what());
  }
}

void FixALSelect::setup(int /*vflag*/) {
  impl->halted = false;
  if (update->ntimestep % nevery == 0)
    evaluate();
}

void FixALSelect::end_of_step() { evaluate(); }

void FixALSelect::evaluate() {
  const bigint step = update->ntimestep;
  double cv = 0.0;
  if (!impl->options.cv_name.empty()) {
    modify->clearstep_compute();
    cv = input->variable->compute_equal(impl->cv_index);
    modify->addstep_compute(step / nevery * nevery + nevery);
  }
  if (step == impl->last_step)
    return; // setup of a run that goes on from the end of another
  if (step != *impl->committee_step)
    return; // the pair style left members out: there is nothing new to judge
  impl->last_step = step;

  const Look look = impl->look(world, cv);
  const alrare::Sample sample = impl->sample(look, step);
  impl->last_uncertainty = sample.uncertainty;
  const auto verdict = impl->selection->judge(sample, [this] { return geometry_is_sound(); });
  if (verdict == alrare::Verdict::selected) {
    const std::vector<double> atoms = gather_atoms();
    if (comm->me == 0)
      write_candidate(atoms, look);
  }
  halt_if_asked(verdict == alrare::Verdict::unphysical);
}

/// Whether all positions are numbers and no two atoms, periodic images included, are nearer than
/// min_distance. The pair's list is full and holds every pair within its cutoff.
bool FixALSelect::geometry_is_sound() const {
  const NeighList *list = impl->pair->list;
  const double *const *x = atom->x;
  const double nearest = impl->options.min_distance * impl->options.min_distance;
  int sound = 1;
  for (int ii = 0; ii < list->inum; ++ii) {
    const int i = list->ilist[ii];
    if (!std::isfinite(x[i][0] + x[i][1] + x[i][2]))
      sound = 0;
    for (int jj = 0; jj < list->numneigh[i]; ++jj) {
      const int j = list->firstneigh[i][jj] & NEIGHMASK;
      const double dx = x[j][0] - x[i][0], dy = x[j][1] - x[i][1], dz = x[j][2] - x[i][2];
      if (dx * dx + dy * dy + dz * dz < nearest)
        sound = 0;
    }
  }
  int all_sound = 0;
  MPI_Allreduce(&sound, &all_sound, 1, MPI_INT, MPI_MIN, world);
  return all_sound != 0;
}

/// Rows of `atom_width` of all atoms on rank 0, nothing on the others. Collective.
std::vector<double> FixALSelect::gather_atoms() const {
  std::vector<double> mine(static_cast<std::size_t>(atom_width) * atom->nlocal);
  for (int i = 0; i < atom->nlocal; ++i) {
    double position[3] = {atom->x[i][0], atom->x[i][1], atom->x[i][2]};
    imageint image = atom->image[i];
    domain->remap(position, image);
    double *row = &mine[static_cast<std::size_t>(atom_width) * i];
    row[0] = static_cast<double>(atom->tag[i]);
    row[1] = atom->type[i];
    for (int k = 0; k < 3; ++k)
      row[2 + k] = position[k] - (domain->periodicity[k] ? domain->boxlo[k] : 0.0);
  }

  const int size = static_cast<int>(mine.size());
  std::vector<int> sizes(comm->nprocs), offsets(comm->nprocs);
  MPI_Gather(&size, 1, MPI_INT, sizes.data(), 1, MPI_INT, 0, world);
  if (comm->me == 0)
    std::partial_sum(sizes.begin(), sizes.end() - 1, offsets.begin() + 1);
  std::vector<double> all(comm->me == 0 ? offsets.back() + sizes.back() : 0);
  MPI_Gatherv(mine.data(), size, MPI_DOUBLE, all.data(), sizes.data(), offsets.data(), MPI_DOUBLE,
              0, world);
  return all;
}

/// Append a frame to the file.
void FixALSelect::write_candidate(const std::vector<double> &atoms, const Look &look) const {
  std::vector<const double *> rows;
  for (std::size_t i = 0; i < atoms.size(); i += atom_width)
    rows.push_back(&atoms[i]);
  std::sort(rows.begin(), rows.end(), [](const double *a, const double *b) { return a[0] < b[0]; });

  alrare::Frame frame;
  for (const double *row : rows) {
    frame.species.emplace_back(impl->element_of_type[static_cast<int>(row[1])]);
    frame.positions.insert(frame.positions.end(), row + 2, row + atom_width);
  }
  for (int k = 0; k < 3; ++k)
    frame.pbc[k] = domain->periodicity[k] != 0;
  frame.cell = {domain->xprd, 0,          0,           domain->xy, domain->yprd, 0,
                domain->xz,   domain->yz, domain->zprd};
  frame.step = update->ntimestep;
  if (!impl->options.cv_name.empty())
    frame.cv = look.cv;
  for (const double energy : look.member_energies)
    frame.member_energies.push_back(energy * impl->to_eV);
  frame.energy_std = look.energy_std * impl->to_eV;
  if (impl->force_std)
    frame.force_std = look.force_std * impl->to_eV;
  frame.threshold = *impl->selection->threshold() * impl->to_eV;
  try {
    impl->file.append(frame);
  } catch (const std::runtime_error &problem) {
    error->one(FLERR, "Fix al_select: {}", problem.what());
  }
}

/// Softly, as fix halt: the run ends after this step, and the rest of the input is read on.
void FixALSelect::halt_if_asked(bool unphysical) {
  const bool cap = impl->options.halt_at_max && impl->selection->full();
  const bool broken = impl->options.halt_at_unphysical && unphysical;
  if (impl->halted || !(cap || broken))
    return;
  impl->halted = true;
  if (comm->me == 0)
    utils::logmesg(lmp, "Fix al_select {}: run halted on step {}: {}\n", id, update->ntimestep,
                   broken ? "unphysical configuration" : "all candidates are selected");
  timer->force_timeout();
}

void FixALSelect::write_restart(FILE *fp) {
  if (comm->me != 0)
    return;
  const auto state = impl->selection->state();
  std::vector<double> values = {static_cast<double>(state.size()),
                                static_cast<double>(impl->last_step), impl->last_uncertainty,
                                static_cast<double>(kind())};
  values.insert(values.end(), state.begin(), state.end());
  const int bytes = static_cast<int>(values.size() * sizeof(double));
  fwrite(&bytes, sizeof(int), 1, fp);
  fwrite(values.data(), sizeof(double), values.size(), fp);
}

/// What the state is of, in bits: 1 with a cv, 2 judged by the forces.
int FixALSelect::kind() const {
  return (impl->options.cv_name.empty() ? 0 : 1) + (impl->options.judges_forces ? 2 : 0);
}

void FixALSelect::restart(char *buffer) {
  double header[4];
  std::memcpy(header, buffer, sizeof header);
  std::vector<double> state(static_cast<std::size_t>(header[0]));
  std::memcpy(state.data(), buffer + sizeof header, state.size() * sizeof(double));
  const int before = static_cast<int>(header[3]), now = kind();
  const char *const advice = "use the same, or give the fix another ID to start anew";
  if ((before & 1) != (now & 1))
    error->all(FLERR, "Fix al_select: the run in the restart file was {} cv and this one is {}; {}",
               before & 1 ? "with a" : "without a", now & 1 ? "with" : "without", advice);
  if ((before & 2) != (now & 2))
    error->all(FLERR,
               "Fix al_select: the run in the restart file was judged by the uncertainty of {} and "
               "this one is by that of {}; {}",
               before & 2 ? "force" : "energy", now & 2 ? "force" : "energy", advice);
  try {
    impl->selection->restore(state);
  } catch (const std::runtime_error &problem) {
    error->all(FLERR, "Fix al_select: {}", problem.what());
  }
  impl->last_step = static_cast<bigint>(header[1]);
  impl->last_uncertainty = header[2];
  impl->continued = true;
}

double FixALSelect::compute_scalar() { return static_cast<double>(impl->selection->selected()); }

double FixALSelect::compute_vector(int index) {
  const auto &selection = *impl->selection;
  switch (index) {
  case 0:
    return impl->last_uncertainty;
  case 1:
    return selection.threshold().value_or(0.0);
  case 2:
    return selection.mean();
  case 3:
    return selection.std();
  case 4:
    return static_cast<double>(selection.above());
  case 5:
    return static_cast<double>(selection.too_similar());
  default:
    return static_cast<double>(selection.unphysical());
  }
}
