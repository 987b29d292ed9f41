// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_NNP_LOADED_MODEL_H
#define ALRARE_PAIR_NNP_LOADED_MODEL_H

#include "nnp/evaluator.h"
#include "nnp/neighborhood.h"
#include "pair_nnp/type_map.h"

#include <memory>
#include <string>
#include <vector>

namespace alrare {

/// What pair_coeff and the keywords of pair_style make of a model file.
///
/// It exists whole or not at all: whatever is wrong is found here, before another is given up.
class LoadedModel {
public:
  /// \param path    the file, for errors
  /// \param names   (n_types) an element or "NULL"
  /// \param forces  mean | best | 1..M
  /// \throws std::runtime_error when they do not go together.
  LoadedModel(std::shared_ptr<Evaluator> opened, std::string path, std::vector<std::string> names,
              const std::string &forces);

  const Metadata &metadata() const { return evaluator->metadata(); }

  /// As Evaluator::evaluate with the driving weights, with the gradient (E, 3) of each member too.
  void evaluate_members(const Neighborhood &hood, Evaluation &out,
                        std::vector<std::vector<double>> &gradients) const;

  /// Energy of the weighted sum, eV.
  double driving_energy(const std::vector<double> &member_energies) const;

  /// Energy of each center in the last evaluation, eV, self energies included; empty when the
  /// engine has only sums over centers.
  ///
  /// \param whole  all members were evaluated, not only the driving one
  std::vector<double> center_energies(const Neighborhood &hood, bool whole) const;

  std::shared_ptr<Evaluator> evaluator;
  std::string path;
  std::vector<std::string> names;
  TypeMap types;
  std::vector<double> weights; ///< (M) the weighted sum of the members drives the run
  int driver = -1;             ///< the one member that drives it, from 0; -1 = the mean
  NeighborhoodBuilder builder;
};

} // namespace alrare

#endif
