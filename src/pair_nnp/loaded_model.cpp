// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/loaded_model.h"

#include "pair_nnp/tally.h"

#include <numeric>
#include <stdexcept>
#include <utility>

namespace alrare {

namespace {

NeighborhoodBuilder make_builder(const Evaluator &evaluator) {
  const Metadata &model = evaluator.metadata();
  return {model.cutoff, evaluator.needs_triples() ? model.angular_cutoff : 0.0};
}

TypeMap map_types(const std::string &path, const Metadata &model,
                  const std::vector<std::string> &names) {
  std::vector<const char *> words;
  words.reserve(names.size());
  for (const std::string &name : names)
    words.push_back(name.c_str());
  TypeMap types;
  types.assign(path, model.elements, static_cast<int>(words.size()), words.data());
  return types;
}

/// The member that `forces` names, from 0; -1 = the mean.
int find_driver(const std::string &forces, const Metadata &model) {
  if (forces == "mean")
    return -1;
  if (forces == "best")
    return model.best_member;
  for (int m = 0; m < model.members; ++m)
    if (forces == std::to_string(m + 1))
      return m;
  throw std::runtime_error("forces must be mean, best or a member from 1 to " +
                           std::to_string(model.members) + ", got " + forces);
}

} // namespace

LoadedModel::LoadedModel(std::shared_ptr<Evaluator> opened, std::string file,
                         std::vector<std::string> elements, const std::string &forces)
    : evaluator(std::move(opened)), path(std::move(file)), names(std::move(elements)),
      types(map_types(path, metadata(), names)), driver(find_driver(forces, metadata())),
      builder(make_builder(*evaluator)) {
  if (driver < 0)
    weights.assign(metadata().members, 1.0 / metadata().members);
  else
    weights.assign(metadata().members, 0.0);
  if (driver >= 0)
    weights[driver] = 1.0;
}

void LoadedModel::evaluate_members(const Neighborhood &hood, Evaluation &out,
                                   std::vector<std::vector<double>> &gradients) const {
  evaluator->evaluate_members(hood, driver, out.member_energies, gradients);
  out.gradient.assign(hood.vec.size(), 0.0);
  add_weighted(weights, gradients, out.gradient);
}

double LoadedModel::driving_energy(const std::vector<double> &member_energies) const {
  return std::inner_product(weights.begin(), weights.end(), member_energies.begin(), 0.0);
}

std::vector<double> LoadedModel::center_energies(const Neighborhood &hood, bool whole) const {
  const std::vector<double> *const of_members = evaluator->center_energies();
  if (of_members == nullptr)
    return {};
  const auto n = static_cast<std::size_t>(hood.n_local);
  std::vector<double> out(n);
  for (std::size_t c = 0; c < n; ++c) {
    out[c] = evaluator->self_energy(static_cast<int>(hood.species[c]));
    for (std::size_t m = 0; m < (whole ? weights.size() : 1); ++m)
      out[c] += (whole ? weights[m] : 1.0) * (*of_members)[m * n + c];
  }
  return out;
}

} // namespace alrare
