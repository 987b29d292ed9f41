// SPDX-License-Identifier: GPL-2.0-or-later
#include "fix_al_select/fix_al_select.h"

#include "fix_al_select/al_select_options.h"
#include "fix_al_select/equal_variable.h"
#include "fix_al_select/fingerprint.h"
#include "fix_al_select/gather_frame.h"
#include "fix_al_select/geometry.h"
#include "fix_al_select/uncertainty_source.h"
#include "selection/frame_file.h"
#include "selection/selection.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "input.h"
#include "modify.h"
#include "timer.h"
#include "update.h"
#include "variable.h"

#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace LAMMPS_NS;
using namespace FixConst;

namespace {
constexpr double kcal_per_mol = 0.0434; // eV, as rounded in the paper
constexpr double restart_layout = 2.0;  // of what a restart file holds
constexpr int calibrated_bit = 8;       // of FixALSelect::kind

/// \param kind  as of FixALSelect::kind
const char *judged_name(int kind) {
  const bool calibrated = (kind & calibrated_bit) != 0;
  switch (static_cast<Judged>(kind & ~(1 | calibrated_bit))) {
  case Judged::variable:
    return "a variable";
  case Judged::force:
    return calibrated ? "force, calibrated" : "force";
  default:
    return calibrated ? "energy, calibrated" : "energy";
  }
}

} // namespace

struct FixALSelect::Impl {
  Impl(const char *path, double energy_in_ev) : file(path), to_ev(energy_in_ev) {}

  ALSelectOptions options;
  std::unique_ptr<alrare::Selection> selection;
  alrare::FrameFile file;
  double to_ev; // times an energy of the run: in eV
  std::unique_ptr<UncertaintySource> source;
  int cv_index = -1;

  bigint last_step = -1;         // of the last configuration judged
  double last_uncertainty = 0.0; // its uncertainty
  std::vector<double> at_end;    // its fingerprint, if a run ended with it; else empty
  bool file_ready = false;
  bool continued = false; // the state came from a restart file
  bool halted = false;
};

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
  impl_->source = make_uncertainty_source(this, lmp, impl_->options);
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
  impl_->source->init();
  if (!impl_->options.cv_name.empty())
    impl_->cv_index = find_equal_variable(lmp, "cv", impl_->options.cv_name);
  warn_of_late_box_changes();
  prepare_file();

  // we cannot know yet which computes the variables use, so request all of them for the first step;
  // evaluate() then requests those it used for each next one
  const bigint step = update->ntimestep;
  modify->addstep_compute_all((step + nevery - 1) / nevery * nevery);
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
  modify->clearstep_compute();
  const double cv = collective_variable();
  const auto reading = impl_->source->read();
  modify->addstep_compute(step / nevery * nevery + nevery);
  if (!reading)
    return; // there is nothing new to judge
  impl_->last_step = step;
  if (!unseen)
    return;

  impl_->last_uncertainty = reading->uncertainty;
  bool sound = true;
  const auto verdict = impl_->selection->judge(
      {reading->uncertainty, reading->energy, cv, step, reading->size}, [&] {
        sound = is_sound(lmp, impl_->source->neighbors(), impl_->options.min_distance);
        return sound;
      });
  if (verdict == alrare::Verdict::selected) {
    alrare::Frame frame = gather_frame(lmp, impl_->source->element_of_type());
    if (comm->me == 0)
      write_candidate(std::move(frame), *reading, cv);
  }
  if (verdict != alrare::Verdict::unphysical)
    halt_if_asked("");
  else
    halt_if_asked(sound ? fmt::format("unphysical configuration: its uncertainty is {:.6g}",
                                      reading->uncertainty)
                        : fmt::format("unphysical configuration: two atoms are closer than "
                                      "min_distance = {:.6g}",
                                      impl_->options.min_distance));
}

/// The collective variable as rank 0 has it, 0 if there is none. Collective.
double FixALSelect::collective_variable() const {
  if (impl_->options.cv_name.empty())
    return 0.0;
  double value = input->variable->compute_equal(impl_->cv_index);
  MPI_Bcast(&value, 1, MPI_DOUBLE, 0, world);
  return value;
}

/// Completes a frame with what is said of it, and appends it to the file.
void FixALSelect::write_candidate(alrare::Frame frame, const Reading &reading, double cv) const {
  const double to_ev = impl_->to_ev;
  const auto in_ev = [to_ev](std::optional<double> value) {
    return value ? std::optional<double>(*value * to_ev) : std::nullopt;
  };
  if (!impl_->options.cv_name.empty())
    frame.cv = cv;
  for (const double energy : reading.member_energies)
    frame.member_energies.push_back(energy * to_ev);
  frame.energy_std = in_ev(reading.energy_std);
  frame.force_std = in_ev(reading.force_std);
  frame.threshold = *impl_->selection->threshold();
  if (impl_->options.judged == Judged::variable) { // in its own unit, as the threshold
    frame.uncertainty = reading.uncertainty;
    frame.potential_energy = in_ev(reading.energy);
  } else {
    frame.threshold *= to_ev;
  }
  try {
    impl_->file.append(frame);
  } catch (const std::runtime_error &problem) {
    error->one(FLERR, "fix al_select: {}", problem.what());
  }
}

/// Ends the run softly, as fix halt does: after this step, and the input goes on.
/// \param unphysical  what is wrong with the configuration, empty if nothing is
void FixALSelect::halt_if_asked(const std::string &unphysical) {
  const bool cap = impl_->options.halt_at_max && impl_->selection->full();
  const bool broken = impl_->options.halt_at_unphysical && !unphysical.empty();
  if (impl_->halted || !(cap || broken))
    return;
  impl_->halted = true;
  if (comm->me == 0)
    utils::logmesg(lmp, "fix al_select {}: run halted on step {}: {}\n", id, update->ntimestep,
                   broken ? unphysical : "all candidates are selected");
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

/// The kind of selection a saved state belongs to, in bits: 1 with a cv, those of Judged, and
/// calibrated_bit.
int FixALSelect::kind() const {
  return (impl_->options.cv_name.empty() ? 0 : 1) + static_cast<int>(impl_->options.judged) +
         (impl_->options.calibrated ? calibrated_bit : 0);
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
  if (before >> 1 != now >> 1)
    error->all(FLERR,
               "fix al_select: the run in the restart file was judged by the uncertainty of {} and "
               "this one is by that of {}; {}",
               judged_name(before), judged_name(now), advice);
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
