// SPDX-License-Identifier: GPL-2.0-or-later
#include "fix_al_select/fix_al_select.h"

#include "fix_al_select/al_select_options.h"
#include "fix_al_select/fingerprint.h"
#include "fix_al_select/gather_frame.h"
#include "fix_al_select/geometry.h"
#include "selection/frame_file.h"
#include "selection/selection.h"

#include "atom.h"
#include "comm.h"
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

#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace LAMMPS_NS;
using namespace FixConst;

namespace {
constexpr double kcal_per_mol = 0.0434; // eV, as rounded in the paper
constexpr double restart_layout = 2.0;  // of what a restart file holds
} // namespace

/// What the pair style and the variable say of one configuration, the same on every rank; in the
/// units of the run.
struct FixALSelect::Look {
  std::vector<double> member_energies;
  double energy_std, force_std, force_max, cv; // force_*: 0 if the pair style does not give them
};

struct FixALSelect::Impl {
  Impl(const char *path, double energy_in_ev) : file(path), to_ev(energy_in_ev) {}

  ALSelectOptions options;
  std::unique_ptr<alrare::Selection> selection;
  alrare::FrameFile file;
  double to_ev; // times an energy of the run: in eV
  int cv_index = -1;

  Pair *pair = nullptr;
  int n_members = 0;
  const double *energy_std = nullptr, *member_energies = nullptr; // owned by the pair
  const double *force_std = nullptr,
               *force_max = nullptr; // likewise; null if the pair style does not give them
  const int *n_excluded = nullptr;
  char **element_of_type = nullptr;
  const bigint *ensemble_step = nullptr; // timestep of these values

  bigint last_step = -1;         // of the last configuration judged
  double last_uncertainty = 0.0; // its uncertainty
  std::vector<double> at_end;    // its fingerprint, if a run ended with it; else empty
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
               "fix al_select: the group must be all (a candidate is a whole configuration), "
               "got '{}'",
               arg[1]);
  const bool metal = std::strcmp(update->unit_style, "metal") == 0;
  if (!metal && std::strcmp(update->unit_style, "real") != 0)
    error->all(FLERR, "fix al_select: units must be metal or real, got {}", update->unit_style);

  nevery = utils::inumeric(FLERR, arg[3], false, lmp);
  if (nevery <= 0)
    error->all(FLERR, "fix al_select: N must be >= 1, got {}", nevery);
  scalar_flag = vector_flag = 1;
  size_vector = 7;
  global_freq = nevery;
  extscalar = extvector = 0;
  restart_global = 1;
  time_depend = 1; // reset_timestep is refused: gaps and the steps of candidates count on

  const double to_ev = metal ? 1.0 : utils::get_conversion_factor(utils::ENERGY, utils::REAL2METAL);
  impl_ = std::make_unique<Impl>(arg[4], to_ev);
  impl_->options.settings.energy_gap = kcal_per_mol / to_ev;
  impl_->options = read_al_select_options(lmp, narg, arg, 5, impl_->options);
  try {
    impl_->selection = std::make_unique<alrare::Selection>(impl_->options.settings);
  } catch (const std::runtime_error &problem) {
    error->all(FLERR, "fix al_select: {}", problem.what());
  }
}

FixALSelect::~FixALSelect() = default;

int FixALSelect::setmask() { return END_OF_STEP; }

void FixALSelect::init() {
  if (!atom->tag_enable)
    error->all(FLERR, "fix al_select: the atoms need IDs (atom_modify id yes)");
  if (impl_->continued && update->ntimestep < impl_->last_step)
    error->all(FLERR,
               "fix al_select: the restart file is of step {}, and reset_timestep made it {}; give "
               "the fix another ID to start anew",
               impl_->last_step, update->ntimestep);
  find_pair();
  find_variable();
  warn_of_late_box_changes();
  prepare_file();

  // we cannot know yet which computes the variable uses, so request all of them for the first step;
  // evaluate() then requests those it used for each next one
  const bigint step = update->ntimestep;
  modify->addstep_compute_all((step + nevery - 1) / nevery * nevery);
}

void FixALSelect::find_pair() {
  impl_->pair = force->pair_match("nnp_ensemble", 1);
  if (!impl_->pair)
    error->all(FLERR,
               "fix al_select: needs exactly one pair style nnp_ensemble (alone or within a hybrid "
               "style), and the pair style is {}",
               force->pair_style ? force->pair_style : "none");
  int dim = -1;
  const auto *members = static_cast<int *>(impl_->pair->extract("n_members", dim));
  impl_->energy_std = static_cast<double *>(impl_->pair->extract("energy_std", dim));
  impl_->member_energies = static_cast<double *>(impl_->pair->extract("member_energies", dim));
  impl_->n_excluded = static_cast<int *>(impl_->pair->extract("n_excluded", dim));
  impl_->element_of_type = static_cast<char **>(impl_->pair->extract("element_of_type", dim));
  impl_->ensemble_step = static_cast<bigint *>(impl_->pair->extract("ensemble_step", dim));
  impl_->force_std = static_cast<double *>(impl_->pair->extract("force_std", dim));
  impl_->force_max = static_cast<double *>(impl_->pair->extract("force_max", dim));
  if (impl_->options.judges_forces && (!impl_->force_std || !impl_->force_max))
    error->all(FLERR, "fix al_select: uncertainty force: the pair style does not compute it; give "
                      "it 'force_std yes' (pair_style nnp_ensemble force_std yes)");
  if (!members || !impl_->energy_std || !impl_->member_energies || !impl_->n_excluded ||
      !impl_->element_of_type || !impl_->ensemble_step)
    error->all(FLERR, "fix al_select: pair style nnp_ensemble and this fix are of different "
                      "versions of alrare; install both from one");
  impl_->n_members = *members;
  for (int type = 1; type <= atom->ntypes; ++type)
    if (!impl_->element_of_type[type])
      error->all(
          FLERR,
          "fix al_select: atom type {} is NULL in the pair_coeff of nnp_ensemble; a candidate "
          "needs the element of every type",
          type);
  if (impl_->n_members < 2)
    error->all(FLERR,
               "fix al_select: the model of pair style nnp_ensemble has {} member; the uncertainty "
               "needs at least 2",
               impl_->n_members);
  const double cutoff = impl_->pair->init_one(1, 1); // cutforce is not set within a hybrid style
  if (impl_->options.min_distance > cutoff)
    error->all(FLERR,
               "fix al_select: min_distance must not exceed the cutoff of the model, {}, got {}",
               cutoff, impl_->options.min_distance);
}

void FixALSelect::find_variable() {
  if (impl_->options.cv_name.empty())
    return;
  impl_->cv_index = input->variable->find(impl_->options.cv_name.c_str());
  if (impl_->cv_index < 0)
    error->all(FLERR, "fix al_select: cv: variable '{}' does not exist", impl_->options.cv_name);
  if (!input->variable->equalstyle(impl_->cv_index))
    error->all(FLERR, "fix al_select: cv: variable '{}' is not an equal-style variable",
               impl_->options.cv_name);
}

void FixALSelect::warn_of_late_box_changes() {
  for (const auto *other : modify->get_fix_list()) {
    if (other == this)
      return; // later fixes change the box after this one has read it
    const bool changes_box = other->box_change & (BOX_CHANGE_SIZE | BOX_CHANGE_SHAPE);
    if (changes_box && (modify->get_fix_mask(const_cast<Fix *>(other)) & END_OF_STEP) &&
        comm->me == 0)
      error->warning(FLERR,
                     "fix al_select: fix {} changes the box at the end of a step before this fix "
                     "reads the positions; define fix {} before it",
                     other->id, id);
  }
}

/// A fresh start overwrites the file; a restart keeps the frames selected before it was written.
void FixALSelect::prepare_file() {
  if (impl_->file_ready)
    return;
  impl_->file_ready = true;
  if (comm->me != 0)
    return;
  try {
    if (!impl_->continued) {
      impl_->file.create();
      return;
    }
    const auto selected = impl_->selection->selected();
    const auto kept = impl_->file.keep(selected);
    if (kept < selected)
      error->warning(FLERR,
                     "fix al_select: the candidates file holds {} of the {} frames selected before "
                     "the restart; new ones are appended",
                     kept, selected);
  } catch (const std::runtime_error &problem) {
    error->one(FLERR, "fix al_select: {}", problem.what());
  }
}

void FixALSelect::setup(int /*vflag*/) {
  impl_->halted = false;
  if (update->ntimestep % nevery == 0)
    evaluate(!same(fingerprint(lmp), impl_->at_end));
}

/// A rerun has looked at the step in setup already.
void FixALSelect::end_of_step() { evaluate(update->ntimestep != impl_->last_step); }

void FixALSelect::post_run() { remember_configuration(); }

/// The next run may begin with this configuration, or with a changed one at the same step.
void FixALSelect::remember_configuration() {
  impl_->at_end.clear();
  if (update->ntimestep == impl_->last_step)
    impl_->at_end = fingerprint(lmp);
}

/// \param unseen  whether this configuration has not been judged
void FixALSelect::evaluate(bool unseen) {
  const bigint step = update->ntimestep;
  double cv = 0.0;
  if (!impl_->options.cv_name.empty()) {
    modify->clearstep_compute();
    cv = input->variable->compute_equal(impl_->cv_index);
    modify->addstep_compute(step / nevery * nevery + nevery);
  }
  if (step != *impl_->ensemble_step)
    return; // the pair style left members out: there is nothing new to judge
  impl_->last_step = step;
  if (!unseen)
    return;
  if (*impl_->n_excluded > 0)
    error->all(
        FLERR,
        "fix al_select: neigh_modify exclude leaves {} of {} atoms out of the system on step "
        "{}, and a candidate is a whole one; delete these atoms (delete_atoms)",
        *impl_->n_excluded, atom->natoms, step);

  const Look look = impl_->look(world, cv);
  const alrare::Sample sample = impl_->sample(look, step);
  impl_->last_uncertainty = sample.uncertainty;
  const auto verdict = impl_->selection->judge(
      sample, [this] { return is_sound(lmp, *impl_->pair->list, impl_->options.min_distance); });
  if (verdict == alrare::Verdict::selected) {
    alrare::Frame frame = gather_frame(lmp, impl_->element_of_type);
    if (comm->me == 0)
      write_candidate(std::move(frame), look);
  }
  halt_if_asked(verdict == alrare::Verdict::unphysical);
}

/// Completes a frame with what the ensemble says of it, and appends it to the file.
void FixALSelect::write_candidate(alrare::Frame frame, const Look &look) const {
  if (!impl_->options.cv_name.empty())
    frame.cv = look.cv;
  for (const double energy : look.member_energies)
    frame.member_energies.push_back(energy * impl_->to_ev);
  frame.energy_std = look.energy_std * impl_->to_ev;
  if (impl_->force_std)
    frame.force_std = look.force_std * impl_->to_ev;
  frame.threshold = *impl_->selection->threshold() * impl_->to_ev;
  try {
    impl_->file.append(frame);
  } catch (const std::runtime_error &problem) {
    error->one(FLERR, "fix al_select: {}", problem.what());
  }
}

/// Ends the run softly, as fix halt does: after this step, and the input goes on.
void FixALSelect::halt_if_asked(bool unphysical) {
  const bool cap = impl_->options.halt_at_max && impl_->selection->full();
  const bool broken = impl_->options.halt_at_unphysical && unphysical;
  if (impl_->halted || !(cap || broken))
    return;
  impl_->halted = true;
  if (comm->me == 0)
    utils::logmesg(lmp, "fix al_select {}: run halted on step {}: {}\n", id, update->ntimestep,
                   broken ? "unphysical configuration" : "all candidates are selected");
  timer->force_timeout();
}

void FixALSelect::write_restart(FILE *fp) {
  remember_configuration();
  if (comm->me != 0)
    return;
  const auto state = impl_->selection->state();
  std::vector<double> values = {restart_layout,
                                static_cast<double>(impl_->at_end.size()),
                                static_cast<double>(state.size()),
                                static_cast<double>(impl_->last_step),
                                impl_->last_uncertainty,
                                static_cast<double>(kind())};
  values.insert(values.end(), impl_->at_end.begin(), impl_->at_end.end());
  values.insert(values.end(), state.begin(), state.end());
  const int bytes = static_cast<int>(values.size() * sizeof(double));
  fwrite(&bytes, sizeof(int), 1, fp);
  fwrite(values.data(), sizeof(double), values.size(), fp);
}

/// The kind of selection a saved state belongs to, in bits: 1 with a cv, 2 judged by the forces.
int FixALSelect::kind() const {
  return (impl_->options.cv_name.empty() ? 0 : 1) + (impl_->options.judges_forces ? 2 : 0);
}

void FixALSelect::restart(char *buffer) {
  double layout, header[5];
  std::memcpy(&layout, buffer, sizeof layout);
  if (layout != restart_layout)
    error->all(FLERR,
               "fix al_select: the restart file is of another version of alrare; give the fix "
               "another ID to start anew");
  buffer += sizeof layout;
  std::memcpy(header, buffer, sizeof header);
  buffer += sizeof header;
  impl_->at_end.resize(static_cast<std::size_t>(header[0]));
  std::memcpy(impl_->at_end.data(), buffer, impl_->at_end.size() * sizeof(double));
  buffer += impl_->at_end.size() * sizeof(double);
  std::vector<double> state(static_cast<std::size_t>(header[1]));
  std::memcpy(state.data(), buffer, state.size() * sizeof(double));
  const int before = static_cast<int>(header[4]), now = kind();
  const char *const advice = "use the same, or give the fix another ID to start anew";
  if ((before & 1) != (now & 1))
    error->all(FLERR, "fix al_select: the run in the restart file was {} cv and this one is {}; {}",
               before & 1 ? "with a" : "without a", now & 1 ? "with" : "without", advice);
  if ((before & 2) != (now & 2))
    error->all(FLERR,
               "fix al_select: the run in the restart file was judged by the uncertainty of {} and "
               "this one is by that of {}; {}",
               before & 2 ? "force" : "energy", now & 2 ? "force" : "energy", advice);
  try {
    impl_->selection->restore(state);
  } catch (const std::runtime_error &problem) {
    error->all(FLERR, "fix al_select: {}", problem.what());
  }
  impl_->last_step = static_cast<bigint>(header[2]);
  impl_->last_uncertainty = header[3];
  impl_->continued = true;
}

double FixALSelect::compute_scalar() { return static_cast<double>(impl_->selection->selected()); }

double FixALSelect::compute_vector(int index) {
  const alrare::Selection &selection = *impl_->selection;
  const double values[] = {impl_->last_uncertainty,
                           selection.threshold().value_or(0.0),
                           selection.mean(),
                           selection.std(),
                           static_cast<double>(selection.above()),
                           static_cast<double>(selection.too_similar()),
                           static_cast<double>(selection.unphysical())};
  return values[index];
}
