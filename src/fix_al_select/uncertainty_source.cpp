// SPDX-License-Identifier: GPL-2.0-or-later
#include "fix_al_select/uncertainty_source.h"

#include "fix_al_select/equal_variable.h"
#include "pair_nnp/requirements.h"

#include "atom.h"
#include "comm.h"
#include "compute.h"
#include "error.h"
#include "force.h"
#include "input.h"
#include "lammps.h"
#include "modify.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair.h"
#include "update.h"
#include "variable.h"

#include <cmath>
#include <numeric>
#include <string>
#include <utility>

namespace LAMMPS_NS {

namespace {

/// Rank 0 decides for all: sums over ranks need not be the same on each to the last bit.
std::vector<double> from_rank_0(MPI_Comm world, std::vector<double> values) {
  MPI_Bcast(values.data(), static_cast<int>(values.size()), MPI_DOUBLE, 0, world);
  return values;
}

/// The spread of the members of pair style nnp_ensemble.
class EnsembleSource : public UncertaintySource {
public:
  EnsembleSource(LAMMPS *host, const ALSelectOptions &options)
      : lmp_(host), judges_forces_(options.judged == Judged::force),
        calibrated_(options.calibrated), min_distance_(options.min_distance) {}

  void init() override;
  std::optional<Reading> read() override;
  [[nodiscard]] const char *const *element_of_type() const override { return element_of_type_; }
  const NeighList &neighbors() override { return *pair_->list; }

private:
  void refuse_unfit_model() const;

  LAMMPS *lmp_;
  bool judges_forces_, calibrated_;
  double min_distance_;
  Pair *pair_ = nullptr;
  int n_members_ = 0;
  const double *judged_ = nullptr;                                  // owned by the pair
  const double *energy_std_ = nullptr, *member_energies_ = nullptr; // likewise
  // likewise; null if the pair style does not give them
  const double *force_std_ = nullptr, *force_max_ = nullptr;
  const int *n_excluded_ = nullptr;
  char **element_of_type_ = nullptr;
  const bigint *ensemble_step_ = nullptr; // timestep of these values
};

void EnsembleSource::init() {
  pair_ = lmp_->force->pair_match("nnp_ensemble", 1);
  if (!pair_)
    lmp_->error->all(
        FLERR,
        "fix al_select: needs exactly one pair style nnp_ensemble (alone or within a hybrid "
        "style), and the pair style is {}; for another one give uncertainty v_name",
        lmp_->force->pair_style ? lmp_->force->pair_style : "none");
  int dim = -1;
  const auto *members = static_cast<int *>(pair_->extract("n_members", dim));
  energy_std_ = static_cast<double *>(pair_->extract("energy_std", dim));
  member_energies_ = static_cast<double *>(pair_->extract("member_energies", dim));
  n_excluded_ = static_cast<int *>(pair_->extract("n_excluded", dim));
  element_of_type_ = static_cast<char **>(pair_->extract("element_of_type", dim));
  ensemble_step_ = static_cast<bigint *>(pair_->extract("ensemble_step", dim));
  force_std_ = static_cast<double *>(pair_->extract("force_std", dim));
  force_max_ = static_cast<double *>(pair_->extract("force_max", dim));
  if (judges_forces_ && (!force_std_ || !force_max_))
    lmp_->error->all(FLERR,
                     "fix al_select: uncertainty force: the pair style does not compute it; give "
                     "it 'force_std yes' (pair_style nnp_ensemble force_std yes)");
  if (!members || !energy_std_ || !member_energies_ || !n_excluded_ || !element_of_type_ ||
      !ensemble_step_)
    lmp_->error->all(FLERR, "fix al_select: pair style nnp_ensemble and this fix are of different "
                            "versions of alrare; install both from one");
  const std::string judged = judges_forces_ ? "force_std" : "energy_std";
  judged_ = static_cast<double *>(
      pair_->extract((calibrated_ ? "calibrated_" + judged : judged).c_str(), dim));
  if (!judged_)
    lmp_->error->all(FLERR,
                     "fix al_select: calibrated yes: the model of pair style nnp_ensemble is not "
                     "calibrated; 'alrare evaluate MODEL DATA --calibrate' does it");
  n_members_ = *members;
  refuse_unfit_model();
}

void EnsembleSource::refuse_unfit_model() const {
  for (int type = 1; type <= lmp_->atom->ntypes; ++type)
    if (!element_of_type_[type])
      lmp_->error->all(
          FLERR,
          "fix al_select: atom type {} is NULL in the pair_coeff of nnp_ensemble; a candidate "
          "needs the element of every type",
          type);
  if (n_members_ < 2)
    lmp_->error->all(
        FLERR,
        "fix al_select: the model of pair style nnp_ensemble has {} member; the uncertainty "
        "needs at least 2",
        n_members_);
  const double cutoff = pair_->init_one(1, 1); // cutforce is not set within a hybrid style
  if (min_distance_ > cutoff)
    lmp_->error->all(
        FLERR, "fix al_select: min_distance must not exceed the cutoff of the model, {}, got {}",
        cutoff, min_distance_);
}

std::optional<Reading> EnsembleSource::read() {
  const bigint step = lmp_->update->ntimestep;
  if (step != *ensemble_step_)
    return std::nullopt; // the pair style left members out
  if (*n_excluded_ > 0)
    lmp_->error->all(
        FLERR,
        "fix al_select: neigh_modify exclude leaves {} of {} atoms out of the system on step "
        "{}, and a candidate is a whole one; delete these atoms (delete_atoms)",
        *n_excluded_, lmp_->atom->natoms, step);

  std::vector<double> values(member_energies_, member_energies_ + n_members_);
  values.insert(values.end(), {*judged_, *energy_std_, force_std_ ? *force_std_ : 0.0,
                               force_max_ ? *force_max_ : 0.0});
  values = from_rank_0(lmp_->world, std::move(values));
  const double force_max = values.back(), force_std = values.end()[-2];
  Reading reading;
  reading.uncertainty = values.end()[-4];
  reading.energy_std = values.end()[-3];
  if (force_std_)
    reading.force_std = force_std;
  values.resize(n_members_);
  reading.energy = std::accumulate(values.begin(), values.end(), 0.0) / n_members_;
  reading.member_energies = std::move(values);
  if (judges_forces_)
    reading.size = force_max;
  return reading;
}

/// A variable, whatever it stands for, and the potential energy of any pair style.
class VariableSource : public UncertaintySource {
public:
  VariableSource(Fix *fix, LAMMPS *host, const ALSelectOptions &options)
      : lmp_(host), fix_(fix), name_(options.uncertainty_name), elements_(options.elements),
        min_distance_(options.min_distance) {}

  void init() override;
  std::optional<Reading> read() override;
  [[nodiscard]] const char *const *element_of_type() const override { return symbols_.data(); }
  const NeighList &neighbors() override;

private:
  void take_elements();
  void check_min_distance() const;

  LAMMPS *lmp_;
  Fix *fix_;
  std::string name_;
  std::vector<std::string> elements_; // as the command gives them; empty: the pair style does
  double min_distance_;
  std::vector<const char *> symbols_; // (ntypes + 1)
  int index_ = -1;
  Compute *potential_energy_ = nullptr;
  bool warned_ = false; // in this run
};

void VariableSource::init() {
  if (!lmp_->force->pair)
    lmp_->error->all(FLERR,
                     "fix al_select: needs a pair style; give pair_style zero and a cutoff if the "
                     "forces come from elsewhere");
  check_min_distance();
  take_elements();
  index_ = find_equal_variable(lmp_, "uncertainty", name_);
  potential_energy_ = lmp_->modify->get_compute_by_id("thermo_pe");
  if (!potential_energy_)
    lmp_->error->all(FLERR,
                     "fix al_select: uncertainty v_name needs the compute thermo_pe, which was "
                     "deleted; remove its uncompute");
  warned_ = false;
  // of its own: that of a pair style may leave types out, and a hybrid one has none
  lmp_->neighbor->add_request(fix_, NeighConst::REQ_OCCASIONAL);
}

/// The list of pairs reaches as far as the pair style does for each pair of types.
void VariableSource::check_min_distance() const {
  const int types = lmp_->atom->ntypes;
  for (int i = 1; i <= types; ++i)
    for (int j = i; j <= types; ++j) {
      const double cutoff = std::sqrt(lmp_->force->pair->cutsq[i][j]);
      if (min_distance_ > cutoff)
        lmp_->error->all(FLERR,
                         "fix al_select: min_distance must not exceed the cutoff of the pair "
                         "style, {} for atom types {} and {}, got {}",
                         cutoff, i, j, min_distance_);
    }
}

/// The elements of the command, of pair style nnp_ensemble where there is one, or of both.
void VariableSource::take_elements() {
  symbols_.assign(lmp_->atom->ntypes + 1, nullptr);
  Pair *const ensemble = lmp_->force->pair_match("nnp_ensemble", 1);
  int dim = -1;
  const auto *const known =
      ensemble ? static_cast<char **>(ensemble->extract("element_of_type", dim)) : nullptr;
  for (int type = 1; type <= lmp_->atom->ntypes; ++type) {
    const char *const own = known ? known[type] : nullptr;
    symbols_[type] = elements_.empty() ? own : elements_[type - 1].c_str();
    if (!symbols_[type])
      lmp_->error->all(FLERR,
                       "fix al_select: the pair style names no element for atom type {}; give the "
                       "keyword elements, one for each of the {} atom types",
                       type, lmp_->atom->ntypes);
    if (own && symbols_[type] != std::string(own))
      lmp_->error->all(
          FLERR,
          "fix al_select: elements: atom type {} is {} here and {} in the pair_coeff of "
          "nnp_ensemble",
          type, symbols_[type], own);
  }
  if (!elements_.empty())
    warn_of_masses(lmp_, "fix al_select", "elements", elements_, elements_);
}

std::optional<Reading> VariableSource::read() {
  if (potential_energy_->invoked_scalar != lmp_->update->ntimestep)
    potential_energy_->compute_scalar();
  potential_energy_->invoked_flag |= Compute::INVOKED_SCALAR; // for addstep_compute
  const double value = lmp_->input->variable->compute_equal(index_);
  const auto values = from_rank_0(lmp_->world, {value, potential_energy_->scalar});
  if (!std::isfinite(values[0]) && !warned_ && lmp_->comm->me == 0)
    lmp_->error->warning(
        FLERR,
        "fix al_select: uncertainty: variable '{}' is {} on step {}; a configuration "
        "whose uncertainty is no finite number counts as unphysical",
        name_, values[0], lmp_->update->ntimestep);
  warned_ = warned_ || !std::isfinite(values[0]);
  Reading reading;
  reading.uncertainty = values[0];
  reading.energy = values[1];
  return reading;
}

const NeighList &VariableSource::neighbors() {
  NeighList *const list = lmp_->neighbor->find_list(fix_);
  lmp_->neighbor->build_one(list);
  return *list;
}

} // namespace

std::unique_ptr<UncertaintySource> make_uncertainty_source(Fix *fix, LAMMPS *lmp,
                                                           const ALSelectOptions &options) {
  if (options.judged == Judged::variable)
    return std::make_unique<VariableSource>(fix, lmp, options);
  return std::make_unique<EnsembleSource>(lmp, options);
}

} // namespace LAMMPS_NS
