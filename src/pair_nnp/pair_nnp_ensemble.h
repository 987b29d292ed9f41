// SPDX-License-Identifier: GPL-2.0-or-later
#ifdef PAIR_CLASS
// clang-format off
PairStyle(nnp_ensemble,PairNNPEnsemble);
// clang-format on
#else

#ifndef ALRARE_PAIR_NNP_PAIR_NNP_ENSEMBLE_H
#define ALRARE_PAIR_NNP_PAIR_NNP_ENSEMBLE_H

#include "pair.h"

#include <memory>
#include <string>
#include <vector>

namespace alrare {
class Evaluator;
class ListEvaluator;
struct NeighborList;
} // namespace alrare

namespace LAMMPS_NS {

struct PairNNPOptions;

/// An ensemble of neural-network potentials (docs/pair_nnp_ensemble.md).
///
/// Translates between LAMMPS and alrare::Evaluator; units and ranks cross here and nowhere else.
/// A step is an ensemble step when all members are evaluated (keyword `every`). After it `extract`
/// gives, in the energy units of the run and equal on all ranks:
///
/// | name            | dim | type     | meaning                                           |
/// |-----------------|-----|----------|---------------------------------------------------|
/// | energy_std      | 0   | double * | standard deviation of the members' energies       |
/// | force_std       | 0   | double * | largest deviation of the force on an atom         |
/// | calibrated_energy_std | 0 | double * | energy_std as an error: times the model's factor  |
/// | calibrated_force_std  | 0 | double * | the same for force_std                            |
/// | force_max       | 0   | double * | largest norm of the members' mean force on one    |
/// | member_energies | 1   | double * | (M) energies of the whole system                  |
/// | bias_energy     | 0   | double * | what the bias adds to the energy; null without    |
/// | n_members       | 0   | int *    | M                                                 |
/// | n_excluded      | 0   | int *    | atoms that exclusions leave out of the system     |
/// | element_of_type | 1   | char **  | (ntypes + 1) symbols, from 1; null where NULL     |
/// | ensemble_step   | 0   | bigint * | timestep these values are of; -1 = none yet       |
///
/// All are null before pair_coeff; those of forces also without the keyword force_std, and the
/// calibrated ones for a model that is not calibrated.
/// `extract_peratom` gives energy_std (native engine, format version 2) and force_std
/// (keyword force_std) of the owned atoms, zero on steps between. `pvector` holds [energy_std,
/// force_std, member energies..., the two calibrated ones, the bias energy if there is one] on rank
/// 0 and zeros elsewhere: compute pair adds the ranks up.
class PairNNPEnsemble : public Pair {
public:
  PairNNPEnsemble(class LAMMPS *);
  ~PairNNPEnsemble() override;

  void compute(int, int) override;
  void settings(int, char **) override;
  void coeff(int, char **) override;
  void init_style() override;
  double init_one(int, int) override;
  void *extract(const char *, int &) override;
  void *extract_peratom(const char *, int &) override;
  int pack_forward_comm(int, int *, double *, int, int *) override;
  void unpack_forward_comm(int, int, double *) override;
  int pack_reverse_comm(int, int, double *) override;
  void unpack_reverse_comm(int, int *, double *) override;
  double memory_usage() override;

private:
  void allocate();
  void load(const char *command, const std::string &path, const std::vector<std::string> &names,
            const PairNNPOptions &options, std::shared_ptr<alrare::Evaluator> evaluator);
  void make_pvector(bool with_bias);
  void find_centers();
  void find_owners();
  void apply_bias();
  void evaluate(bool whole_ensemble);
  void evaluate_list(alrare::ListEvaluator &engine, const alrare::NeighborList &in,
                     bool whole_ensemble, bool each);
  void tally(bool whole_ensemble);
  void tally_atom_energies(bool whole_ensemble);
  void judge_ensemble();
  void judge_forces();

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace LAMMPS_NS

#endif
#endif
