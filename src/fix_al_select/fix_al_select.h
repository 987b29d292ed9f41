// SPDX-License-Identifier: GPL-2.0-or-later
#ifdef FIX_CLASS
// clang-format off
FixStyle(al_select,FixALSelect);
// clang-format on
#else

#ifndef ALRARE_FIX_AL_SELECT_FIX_AL_SELECT_H
#define ALRARE_FIX_AL_SELECT_FIX_AL_SELECT_H

#include "fix.h"

#include <memory>
#include <string>

namespace alrare {
struct Frame;
}

namespace LAMMPS_NS {

struct Reading;

/// `fix ID group al_select`: chooses, during the run, the configurations that deserve a label.
///
/// Only translates between LAMMPS and the selection core; see docs/fix_al_select.md.
class FixALSelect : public Fix {
public:
  FixALSelect(class LAMMPS *, int, char **);
  ~FixALSelect() override;

  int setmask() override;
  void init() override;
  void setup(int) override;
  void end_of_step() override;
  void post_run() override;
  void write_restart(FILE *) override;
  void restart(char *) override;
  double compute_scalar() override;
  double compute_vector(int) override;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;

  void warn_of_late_box_changes();
  void prepare_file();
  void evaluate(bool unseen);
  void remember_configuration();
  [[nodiscard]] double collective_variable() const;
  void write_candidate(alrare::Frame frame, const Reading &reading, double cv) const;
  int kind() const;
  void halt_if_asked(const std::string &unphysical);
};

} // namespace LAMMPS_NS

#endif
#endif
