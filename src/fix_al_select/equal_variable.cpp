// SPDX-License-Identifier: GPL-2.0-or-later
#include "fix_al_select/equal_variable.h"

#include "error.h"
#include "input.h"
#include "lammps.h"
#include "variable.h"

namespace LAMMPS_NS {

int find_equal_variable(LAMMPS *lmp, const std::string &keyword, const std::string &name) {
  Variable &variables = *lmp->input->variable;
  const int index = variables.find(name.c_str());
  if (index < 0)
    lmp->error->all(FLERR, "fix al_select: {}: variable '{}' does not exist", keyword, name);
  if (!variables.equalstyle(index))
    lmp->error->all(FLERR, "fix al_select: {}: variable '{}' is not an equal-style variable",
                    keyword, name);
  return index;
}

} // namespace LAMMPS_NS
