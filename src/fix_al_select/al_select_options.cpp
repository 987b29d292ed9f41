// SPDX-License-Identifier: GPL-2.0-or-later
#include "fix_al_select/al_select_options.h"

#include "keywords/keyword_reader.h"
#include "pair_nnp/element_masses.h"

#include "atom.h"
#include "error.h"
#include "lammps.h"
#include "utils.h"

namespace LAMMPS_NS {

namespace {

void read_threshold(KeywordReader &in, alrare::SelectionSettings &settings) {
  const std::string kind = in.one_of({"adaptive", "value", "relative"});
  settings.threshold.reset();
  settings.relative.reset();
  if (kind == "adaptive") {
    settings.screening_steps = in.integer("threshold adaptive: screening_steps");
    settings.sigma = in.number("threshold adaptive: sigma");
  } else if (kind == "value") {
    settings.threshold = in.number("threshold");
  } else {
    settings.relative = in.number("threshold relative: relative");
    settings.relative_floor = in.number("threshold relative: relative_floor");
  }
}

bool is_variable(const std::string &text) {
  return text.size() > 2 && text.compare(0, 2, "v_") == 0;
}

void read_uncertainty(KeywordReader &in, ALSelectOptions &options) {
  const std::string value =
      in.word("energy, force or v_name of an equal-style variable", [](const std::string &text) {
        return text == "energy" || text == "force" || is_variable(text);
      });
  options.judged = value == "energy"  ? Judged::energy
                   : value == "force" ? Judged::force
                                      : Judged::variable;
  options.uncertainty_name = options.judged == Judged::variable ? value.substr(2) : "";
}

/// One symbol for each atom type. A symbol begins with a capital, a keyword does not.
void read_elements(LAMMPS *lmp, KeywordReader &in, ALSelectOptions &options) {
  const int types = lmp->atom->ntypes;
  options.elements = in.words_while(
      [](const std::string &text) { return text.front() >= 'A' && text.front() <= 'Z'; });
  if (static_cast<int>(options.elements.size()) != types)
    in.refuse("elements", std::to_string(types) + " chemical symbols, one for each atom type",
              std::to_string(options.elements.size()));
  for (const std::string &element : options.elements)
    if (!alrare::is_element(element))
      in.refuse("elements", "chemical symbols", "'" + element + "'");
}

/// What the pair style nnp_ensemble knows, a variable does not, and the other way round.
void refuse_contradictions(LAMMPS *lmp, const ALSelectOptions &options) {
  const bool variable = options.judged == Judged::variable;
  if (variable && options.settings.relative)
    lmp->error->all(FLERR, "fix al_select: threshold relative needs the members' energies or "
                           "forces; with uncertainty v_name give threshold value or adaptive, or a "
                           "variable that is relative itself");
  if (variable && options.calibrated)
    lmp->error->all(FLERR, "fix al_select: calibrated yes is for the uncertainty of pair style "
                           "nnp_ensemble; with uncertainty v_name scale the variable itself");
  if (!variable && !options.elements.empty())
    lmp->error->all(FLERR, "fix al_select: elements belongs to uncertainty v_name; otherwise the "
                           "pair_coeff of nnp_ensemble names the elements");
}

void read_cv(KeywordReader &in, ALSelectOptions &options) {
  options.cv_name = in.word("v_name of an equal-style variable", is_variable).substr(2);
  options.settings.cv_gap = in.number("cv_gap");
}

void read_upper(LAMMPS *lmp, KeywordReader &in, alrare::SelectionSettings &settings) {
  const std::string value = in.word("a number or sigma", [](const std::string &) { return true; });
  if (value == "sigma")
    settings.upper_sigma = in.number("upper sigma");
  else
    settings.upper = utils::numeric(FLERR, value, false, lmp);
}

void read_halt(KeywordReader &in, ALSelectOptions &options) {
  const std::string when = in.one_of({"no", "max", "upper"});
  if (when == "no")
    options.halt_at_max = options.halt_at_unphysical = false;
  else if (when == "max")
    options.halt_at_max = true;
  else
    options.halt_at_unphysical = true;
}

} // namespace

ALSelectOptions read_al_select_options(LAMMPS *lmp, int narg, char **arg, int first,
                                       const ALSelectOptions &defaults) {
  ALSelectOptions options = defaults;
  alrare::SelectionSettings &settings = options.settings;
  KeywordReader in(lmp, "fix al_select", narg, arg, first);
  while (in.next()) {
    if (in.keyword() == "threshold")
      read_threshold(in, settings);
    else if (in.keyword() == "uncertainty")
      read_uncertainty(in, options);
    else if (in.keyword() == "calibrated")
      options.calibrated = in.one_of({"yes", "no"}) == "yes";
    else if (in.keyword() == "elements")
      read_elements(lmp, in, options);
    else if (in.keyword() == "cv")
      read_cv(in, options);
    else if (in.keyword() == "energy")
      settings.energy_gap = in.number("energy_gap");
    else if (in.keyword() == "gap_steps")
      settings.gap_steps = in.integer("gap_steps");
    else if (in.keyword() == "max")
      settings.max_per_run = in.integer("max_per_run");
    else if (in.keyword() == "upper")
      read_upper(lmp, in, settings);
    else if (in.keyword() == "min_distance")
      options.min_distance = in.number("min_distance");
    else if (in.keyword() == "halt")
      read_halt(in, options);
    else
      in.refuse_keyword({"threshold", "uncertainty", "calibrated", "elements", "cv", "energy",
                         "gap_steps", "max", "upper", "min_distance", "halt"});
  }
  refuse_contradictions(lmp, options);
  if (!(options.min_distance >= 0.0))
    lmp->error->all(FLERR, "fix al_select: min_distance must be >= 0, got {}",
                    options.min_distance);
  return options;
}

} // namespace LAMMPS_NS
