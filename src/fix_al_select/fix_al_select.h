// SPDX-License-Identifier: GPL-2.0-or-later
/// \file
/// `fix ID group al_select`: choose, during the run, the configurations that deserve a label.
/// Only translates between LAMMPS and the selection core; see docs/fix_al_select.md.

#ifdef FIX_CLASS
FixStyle(al_select, FixALSelect);
#else

#ifndef LMP_FIX_AL_SELECT_H
#define LMP_FIX_AL_SELECT_H

#include "fix.h"

#include <memory>
#include <vector>

namespace LAMMPS_NS {

class FixALSelect : public Fix {
public:
  FixALSelect(class LAMMPS *, int, char **);
  ~FixALSelect() override;

  int setmask() override;
  void init() override;
  void setup(int) override;
  void end_of_step() override;
  void write_restart(FILE *) override;
  void restart(char *) override;
  double compute_scalar() override;
  double compute_vector(int) override;

private:
  struct Impl;
  struct Look;
  std::unique_ptr<Impl> impl;

  void find_pair();
  void find_variable();
  void warn_of_late_box_changes();
  void prepare_file();
  void evaluate();
  bool geometry_is_sound() const;
  std::vector<double> gather_atoms() const;
  void write_candidate(const std::vector<double> &, const Look &) const;
  int kind() const;
  void halt_if_asked(bool);
};

} // namespace LAMMPS_NS

#endif
#endif
