// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_NNP_RANKS_H
#define ALRARE_PAIR_NNP_RANKS_H

#include <mpi.h>

#include <exception>
#include <string>

namespace alrare {

/// Rank among the ranks of `world` that share this machine's memory. Collective.
int rank_on_node(MPI_Comm world);

/// The text of the lowest rank that has one, on all ranks; empty when none has. Collective.
std::string first_failure(MPI_Comm world, const std::string &mine);

/// What `action` throws, as text; empty when it does not throw. No exception may reach LAMMPS.
template <typename Action> std::string failure_of(Action action) {
  try {
    action();
  } catch (const std::exception &e) {
    return e.what();
  } catch (...) {
    return "unknown exception";
  }
  return "";
}

} // namespace alrare

#endif
