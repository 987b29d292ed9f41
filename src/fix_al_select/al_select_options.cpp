// SPDX-License-Identifier: GPL-2.0-or-later
#include "fix_al_select/al_select_options.h"

#include "error.h"
#include "lammps.h"
#include "utils.h"

#include <cstring>

using namespace LAMMPS_NS;

ALSelectOptions LAMMPS_NS::read_al_select_options(LAMMPS *lmp, int narg, char **arg, int first,
                                                  const ALSelectOptions &defaults) {
  auto *const error = lmp->error;
  ALSelectOptions options = defaults;
  int iarg = first;
  std::string keyword;
  const auto word = [&](const char *expected) -> std::string {
    if (iarg >= narg)
      error->all(FLERR, "Fix al_select: expected {} after '{}', got the end of the line", expected,
                 arg[iarg - 1]);
    return arg[iarg++];
  };
  const auto number = [&](const char *expected) {
    return utils::numeric(FLERR, word(expected), false, lmp);
  };
  auto &settings = options.settings;
  while (iarg < narg) {
    keyword = arg[iarg++];
    if (keyword == "threshold") {
      const auto kind = word("adaptive, value or relative");
      settings.threshold.reset();
      settings.relative.reset();
      if (kind == "adaptive") {
        settings.window = utils::bnumeric(FLERR, word("a number of steps"), false, lmp);
        settings.sigma = number("the factor of the standard deviation");
      } else if (kind == "value") {
        settings.threshold = number("the threshold");
      } else if (kind == "relative") {
        const double factor = number("the factor of the size");
        settings.relative = {factor, number("the smallest size")};
      } else {
        error->all(FLERR,
                   "Fix al_select: threshold: expected adaptive, value or relative, got '{}'",
                   kind);
      }
    } else if (keyword == "uncertainty") {
      const auto of = word("energy or force");
      if (of != "energy" && of != "force")
        error->all(FLERR, "Fix al_select: uncertainty: expected energy or force, got '{}'", of);
      options.judges_forces = of == "force";
    } else if (keyword == "cv") {
      const auto name = word("v_name");
      if (name.size() < 3 || name.compare(0, 2, "v_") != 0)
        error->all(FLERR, "Fix al_select: cv: expected v_name of an equal-style variable, got '{}'",
                   name);
      options.cv_name = name.substr(2);
      settings.cv_gap = number("the smallest difference of the cv");
    } else if (keyword == "energy") {
      settings.energy_gap = number("the smallest difference of the energy");
    } else if (keyword == "gap_steps") {
      settings.gap_steps = utils::bnumeric(FLERR, word("a number of steps"), false, lmp);
    } else if (keyword == "max") {
      settings.max = utils::bnumeric(FLERR, word("a number of configurations"), false, lmp);
    } else if (keyword == "upper") {
      const auto value = word("a bound or sigma");
      if (value == "sigma")
        settings.upper_sigma = number("the factor of the standard deviation");
      else
        settings.upper = utils::numeric(FLERR, value, false, lmp);
    } else if (keyword == "min_distance") {
      options.min_distance = number("a distance");
      if (!(options.min_distance >= 0.0))
        error->all(FLERR, "Fix al_select: min_distance = {}: must be >= 0", options.min_distance);
    } else if (keyword == "halt") {
      const auto when = word("no, max or upper");
      if (when == "no")
        options.halt_at_max = options.halt_at_unphysical = false;
      else if (when == "max")
        options.halt_at_max = true;
      else if (when == "upper")
        options.halt_at_unphysical = true;
      else
        error->all(FLERR, "Fix al_select: halt: expected no, max or upper, got '{}'", when);
    } else {
      error->all(FLERR,
                 "Fix al_select: unknown keyword '{}'; the keywords are threshold, uncertainty, "
                 "cv, energy, gap_steps, max, upper, min_distance, halt",
                 keyword);
    }
  }
  return options;
}
