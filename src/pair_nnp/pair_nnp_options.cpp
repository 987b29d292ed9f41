// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/pair_nnp_options.h"

#include "error.h"
#include "lammps.h"
#include "utils.h"

namespace LAMMPS_NS {

namespace {

bool is_device(const std::string &text) {
  if (text == "auto" || text == "cpu" || text == "cuda")
    return true;
  return text.size() > 5 && text.size() < 9 && text.rfind("cuda:", 0) == 0 &&
         text.find_first_not_of("0123456789", 5) == std::string::npos;
}

/// Takes one keyword's value; returns what was expected when it is not that, else "".
std::string take(LAMMPS *lmp, PairNNPOptions &out, const std::string &keyword,
                 const std::string &value) {
  if (keyword == "device") {
    out.open.device = value;
    return is_device(value) ? "" : "auto, cpu, cuda or cuda:N";
  }
  if (keyword == "engine") {
    out.open.engine = value;
    const bool known = value == "auto" || value == "native" || value == "torchscript";
    return known ? "" : "auto, native or torchscript";
  }
  if (keyword == "forces") {
    out.forces = value;
    const bool known = value == "mean" || value == "best" || utils::is_integer(value);
    return known ? "" : "mean, best or a member from 1 to the number of members";
  }
  if (keyword == "every") {
    if (!utils::is_integer(value))
      return "a number of steps, at least 1";
    out.every = utils::inumeric(FLERR, value, false, lmp);
    return out.every >= 1 ? "" : "a number of steps, at least 1";
  }
  out.force_std = value == "yes";
  return value == "yes" || value == "no" ? "" : "yes or no";
}

} // namespace

PairNNPOptions read_pair_nnp_options(LAMMPS *lmp, int narg, char **arg) {
  PairNNPOptions out;
  Error *const error = lmp->error;
  for (int k = 0; k < narg; k += 2) {
    const std::string keyword = arg[k];
    if (keyword != "device" && keyword != "engine" && keyword != "every" && keyword != "forces" &&
        keyword != "force_std")
      error->all(FLERR,
                 "pair_style nnp_ensemble: unknown keyword '{}' (expected device, engine, every, "
                 "forces or force_std)",
                 keyword);
    if (k + 1 == narg)
      error->all(FLERR, "pair_style nnp_ensemble: keyword '{}' has no value", keyword);
    const std::string expected = take(lmp, out, keyword, arg[k + 1]);
    if (!expected.empty())
      error->all(FLERR, "pair_style nnp_ensemble: {} must be {}, got '{}'", keyword, expected,
                 arg[k + 1]);
  }
  if (out.every > 1 && out.forces == "mean")
    error->all(FLERR,
               "pair_style nnp_ensemble: every {} leaves members out between, so one member must "
               "drive the run: add forces best, or forces K",
               out.every);
  return out;
}

} // namespace LAMMPS_NS
