// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/ranks.h"

namespace alrare {

int rank_on_node(MPI_Comm world) {
  MPI_Comm node;
  int me = 0, rank = 0;
  MPI_Comm_rank(world, &me);
  MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, me, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &rank);
  MPI_Comm_free(&node);
  return rank;
}

std::string first_failure(MPI_Comm world, const std::string &mine) {
  int me = 0, n_ranks = 1;
  MPI_Comm_rank(world, &me);
  MPI_Comm_size(world, &n_ranks);
  const int claim = mine.empty() ? n_ranks : me;
  int first = 0;
  MPI_Allreduce(&claim, &first, 1, MPI_INT, MPI_MIN, world);
  if (first == n_ranks)
    return "";
  int length = static_cast<int>(mine.size());
  MPI_Bcast(&length, 1, MPI_INT, first, world);
  std::string text = me == first ? mine : std::string(static_cast<std::size_t>(length), ' ');
  MPI_Bcast(text.data(), length, MPI_CHAR, first, world);
  return text;
}

} // namespace alrare
