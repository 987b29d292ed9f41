// SPDX-License-Identifier: GPL-2.0-or-later
#ifdef PAIR_CLASS
// clang-format off
PairStyle(labeller,PairLabeller);
// clang-format on
#else

#ifndef ALRARE_PAIR_LABELLER_PAIR_LABELLER_H
#define ALRARE_PAIR_LABELLER_PAIR_LABELLER_H

#include "pair.h"

#include <memory>

namespace LAMMPS_NS {

/// Energy, forces and virial of a labeller, which a label server computes (docs/labellers.md).
///
/// Translates between LAMMPS and alrare::LabelClient, which rank 0 alone holds; units and ranks
/// cross here and nowhere else.
class PairLabeller : public Pair {
public:
  PairLabeller(class LAMMPS *);
  ~PairLabeller() override;

  void compute(int, int) override;
  void settings(int, char **) override;
  void coeff(int, char **) override;
  void init_style() override;
  double init_one(int, int) override;

private:
  void connect();
  void gather();
  void exchange();
  void tally();
  void tally_virial();
  void refuse_missing_stress();

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace LAMMPS_NS

#endif
#endif
