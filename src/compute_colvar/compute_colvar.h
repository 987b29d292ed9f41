// SPDX-License-Identifier: GPL-2.0-or-later
#ifdef COMPUTE_CLASS
// clang-format off
ComputeStyle(colvar,ComputeColvar);
// clang-format on
#else

#ifndef ALRARE_COMPUTE_COLVAR_COMPUTE_COLVAR_H
#define ALRARE_COMPUTE_COLVAR_COMPUTE_COLVAR_H

#include "compute.h"

#include <string>

namespace LAMMPS_NS {

/// `compute ID all colvar NAME`: the value of a scalar collective variable of fix colvars.
///
/// For releases before 30 Mar 2026, whose fix colvars gives only the energy of its biases. Asks the
/// Colvars library through its C functions, which it finds by their symbols: a LAMMPS without the
/// COLVARS package has none, and must open the plugin all the same. See docs/compute_colvar.md.
class ComputeColvar : public Compute {
public:
  ComputeColvar(class LAMMPS *, int, char **);

  void init() override {}
  double compute_scalar() override;

private:
  using RunCommand = int(int, unsigned char *const *);
  using GetResult = const char *();

  struct Answer;
  Answer ask_colvars();

  std::string name_;
  RunCommand *run_command_; // of a script of the Colvars library
  GetResult *get_result_;   // of the last command
};

} // namespace LAMMPS_NS

#endif
#endif
