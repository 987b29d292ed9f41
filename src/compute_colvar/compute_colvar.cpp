// SPDX-License-Identifier: GPL-2.0-or-later
#include "compute_colvar/compute_colvar.h"

#include "loader/host_function.h"

#include "comm.h"
#include "error.h"
#include "modify.h"
#include "update.h"

#include <mpi.h>

#include <cstdlib>
#include <cstring>
#include <string>

using namespace LAMMPS_NS;

/// What rank 0 learned, as it is sent to the others.
struct ComputeColvar::Answer {
  double value;
  bool found;  // there is a variable of that name
  bool scalar; // its value is one number
};

ComputeColvar::ComputeColvar(LAMMPS *host, int narg, char **arg)
    : Compute(host, narg, arg),
      run_command_(alrare::find_host_function<RunCommand>("run_colvarscript_command")),
      get_result_(alrare::find_host_function<GetResult>("get_colvarscript_result")) {
  if (narg != 4)
    error->all(FLERR, "compute colvar: expected the name of one collective variable, got {} words",
               narg - 3);
  name_ = arg[3];
  if (igroup != 0)
    error->all(FLERR,
               "compute colvar: the group must be all (the Colvars file says which atoms '{}' is "
               "of), got '{}'",
               name_, arg[1]);
  if (run_command_ == nullptr || get_result_ == nullptr)
    error->all(FLERR, "compute colvar: this LAMMPS has no fix colvars; use one that was built with "
                      "its COLVARS package (-D PKG_COLVARS=yes)");
  scalar_flag = 1;
  extscalar = 0;
}

double ComputeColvar::compute_scalar() {
  if (modify->get_fix_by_style("^colvars$").empty())
    error->all(FLERR,
               "compute colvar: there is no fix colvars, whose variable '{}' is asked for; define "
               "it before the run",
               name_);
  Answer answer{};
  if (comm->me == 0) // only it has the Colvars library's state
    answer = ask_colvars();
  MPI_Bcast(&answer, sizeof answer, MPI_BYTE, 0, world);
  if (!answer.found)
    error->all(FLERR,
               "compute colvar: fix colvars has no variable '{}'; it reads its file where a run is "
               "set up, so define it before the fixes that use this compute",
               name_);
  if (!answer.scalar)
    error->all(FLERR, "compute colvar: expected a scalar variable, and '{}' is a vector", name_);
  invoked_scalar = update->ntimestep;
  return scalar = answer.value;
}

ComputeColvar::Answer ComputeColvar::ask_colvars() {
  std::string words[] = {"cv", "colvar", name_, "value"};
  unsigned char *command[4];
  for (int word = 0; word < 4; ++word)
    command[word] = reinterpret_cast<unsigned char *>(words[word].data());
  Answer answer{};
  answer.found = run_command_(4, command) == 0;
  const char *const text = get_result_();
  char *end = nullptr;
  answer.value = std::strtod(text, &end);
  answer.scalar = end != text && std::strspn(end, " \n") == std::strlen(end);
  return answer;
}
