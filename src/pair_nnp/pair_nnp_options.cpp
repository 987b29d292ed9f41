// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/pair_nnp_options.h"

#include "keywords/keyword_reader.h"

#include "error.h"
#include "lammps.h"
#include "utils.h"

#include <cmath>

namespace LAMMPS_NS {

namespace {

bool is_device(const std::string &text) {
  if (text == "auto" || text == "cpu" || text == "cuda" || text == "emulated")
    return true;
  return text.size() > 5 && text.size() < 9 && text.rfind("cuda:", 0) == 0 &&
         text.find_first_not_of("0123456789", 5) == std::string::npos;
}

bool is_driver(const std::string &text) {
  return text == "mean" || text == "best" || utils::is_integer(text);
}

int read_every(LAMMPS *lmp, KeywordReader &in) {
  const auto to_int = [&](const std::string &text) {
    return utils::inumeric(FLERR, text, false, lmp);
  };
  return to_int(in.word("a number of steps, at least 1", [&](const std::string &text) {
    return utils::is_integer(text) && to_int(text) >= 1;
  }));
}

double read_energy(LAMMPS *lmp, KeywordReader &in, const char *what) {
  const auto to_number = [&](const std::string &text) {
    return utils::numeric(FLERR, text, false, lmp);
  };
  return to_number(in.word(what, [&](const std::string &text) {
    return utils::is_double(text) && to_number(text) > 0.0 && std::isfinite(to_number(text));
  }));
}

alrare::Bias read_bias(LAMMPS *lmp, KeywordReader &in) {
  const std::string form = in.one_of({"none", "linear", "bounded"});
  if (form == "none")
    return {};
  if (form == "linear") {
    const auto is_factor = [&](const std::string &text) {
      return utils::is_double(text) && std::isfinite(utils::numeric(FLERR, text, false, lmp));
    };
    const std::string factor = in.word("a number, the factor of energy_std", is_factor);
    return alrare::Bias::linear(utils::numeric(FLERR, factor, false, lmp));
  }
  const double depth = read_energy(lmp, in, "a depth > 0, energy");
  const double width = read_energy(lmp, in, "a width > 0, energy");
  const alrare::Bias out = alrare::Bias::bounded(depth, width);
  if (!std::isfinite(out.largest_slope()))
    lmp->error->all(FLERR,
                    "pair_style nnp_ensemble: bias bounded {} {}: the width is too small for this "
                    "depth, the force of the bias has no number",
                    depth, width);
  return out;
}

} // namespace

PairNNPOptions read_pair_nnp_options(LAMMPS *lmp, int narg, char **arg) {
  PairNNPOptions out;
  KeywordReader in(lmp, "pair_style nnp_ensemble", narg, arg, 0);
  while (in.next()) {
    if (in.keyword() == "device")
      out.open.device = in.word("auto, cpu, cuda or cuda:N", is_device);
    else if (in.keyword() == "bias")
      out.bias = read_bias(lmp, in);
    else if (in.keyword() == "engine")
      out.open.engine = in.one_of({"auto", "native", "torchscript"});
    else if (in.keyword() == "every")
      out.every = read_every(lmp, in);
    else if (in.keyword() == "forces")
      out.forces = in.word("mean, best or a member from 1 to the number of members", is_driver);
    else if (in.keyword() == "force_std")
      out.force_std = in.one_of({"yes", "no"}) == "yes";
    else
      in.refuse_keyword({"bias", "device", "engine", "every", "forces", "force_std"});
  }
  if (out.every > 1 && out.forces == "mean")
    lmp->error->all(FLERR,
                    "pair_style nnp_ensemble: every {} leaves members out between, so one member "
                    "must drive the run: add forces best, or forces K",
                    out.every);
  if (out.every > 1 && out.bias)
    lmp->error->all(
        FLERR,
        "pair_style nnp_ensemble: a bias needs the spread of the members on every step: "
        "leave out every {}",
        out.every);
  return out;
}

} // namespace LAMMPS_NS
