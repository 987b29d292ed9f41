// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_NNP_PAIR_NNP_OPTIONS_H
#define ALRARE_PAIR_NNP_PAIR_NNP_OPTIONS_H

#include "nnp/evaluator.h"
#include "pair_nnp/bias.h"

#include <string>

namespace LAMMPS_NS {
class LAMMPS;

/// The keywords of pair_style nnp_ensemble, with their defaults.
struct PairNNPOptions {
  alrare::OpenOptions open;    ///< engine, device
  std::string forces = "mean"; ///< mean | best | 1..M
  int every = 1;               ///< all members on steps that are multiples of this
  bool force_std = false;
  alrare::Bias bias; ///< in the energy unit of the run
};

/// Reads `keyword value ...`; ends the run with one sentence on what is wrong.
PairNNPOptions read_pair_nnp_options(LAMMPS *lmp, int narg, char **arg);

} // namespace LAMMPS_NS

#endif
