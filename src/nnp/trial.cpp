// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/trial.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace alrare {

namespace {

using Numbers = std::vector<double>;

constexpr double spacing = 0.3;                            // of the atoms of a cluster, in cutoffs
constexpr double link = 0.9;                               // of the atoms of a chain, in cutoffs
constexpr double shift = 0.01;                             // of differences of the energy, Å
constexpr std::size_t fewest_atoms = 8, most_atoms = 64;   // of a cluster
constexpr double smooth_within = 0.05, right_within = 0.2; // relative; what is lost is far more
constexpr std::uint32_t seed = 20231;

/// A few atoms in vacuum, each of which is next to all others within the cutoff.
class FewAtoms {
public:
  FewAtoms(const Metadata &model, std::size_t n)
      : builder_(model.cutoff, model.angular_cutoff), positions(3 * n),
        n_elements_(model.elements.size()), neighbors_(n) {
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j)
        if (i != j)
          neighbors_[i].push_back(static_cast<int>(j));
  }

  /// Their neighborhood, of which the first `n_centers` own energy; valid until the next call.
  const Neighborhood &neighborhood(std::size_t n_centers) {
    const std::size_t n = neighbors_.size();
    std::vector<const double *> rows(n);
    std::vector<const int *> lists(n);
    std::vector<int> type(n), centers(n), n_neighbors(n, static_cast<int>(n) - 1);
    for (std::size_t i = 0; i < n; ++i) {
      rows[i] = &positions[3 * i];
      lists[i] = neighbors_[i].data();
      type[i] = static_cast<int>(i % n_elements_);
      centers[i] = static_cast<int>(i);
    }
    std::vector<int> species_of_type(n_elements_);
    std::iota(species_of_type.begin(), species_of_type.end(), 0);
    NeighborList list{};
    list.n_all = static_cast<int>(n);
    list.positions = rows.data();
    list.type = type.data();
    list.species_of_type = species_of_type.data();
    list.n_centers = static_cast<int>(n_centers);
    list.centers = centers.data();
    list.n_neighbors = n_neighbors.data();
    list.neighbors = lists.data();
    list.message_shells = static_cast<int>(n);
    return builder_.build(list);
  }

private:
  NeighborhoodBuilder builder_;

public:
  Numbers positions; ///< (n, 3), Å

private:
  std::size_t n_elements_;
  std::vector<std::vector<int>> neighbors_;
};

/// Numbers from -1 to 1, the same on every machine.
Numbers some_numbers(std::size_t n, std::mt19937 &random) {
  Numbers out(n);
  for (double &value : out)
    value = 2.0 * static_cast<double>(random()) / static_cast<double>(std::mt19937::max()) - 1.0;
  return out;
}

std::string text_of(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

void require_finite(const Numbers &values, const std::string &what) {
  if (!std::all_of(values.begin(), values.end(), [](double x) { return std::isfinite(x); }))
    throw std::runtime_error("on a few atoms tried before the run, " + what + " is not finite");
}

Numbers energies_of(Evaluator &model, const Neighborhood &hood) {
  const auto members = static_cast<std::size_t>(model.metadata().members);
  Evaluation out;
  model.evaluate(hood, Numbers(members, 1.0 / static_cast<double>(members)), out);
  require_finite(out.member_energies, "an energy");
  return out.member_energies;
}

/// As many atoms as the model has elements, or more, on a distorted grid.
FewAtoms make_cluster(const Metadata &model, std::mt19937 &random) {
  const std::size_t n = std::clamp(model.elements.size(), fewest_atoms, most_atoms);
  FewAtoms out(model, n);
  const Numbers moved = some_numbers(3 * n, random);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t place[3] = {i % 2, i / 2 % 2, i / 4};
    for (std::size_t d = 0; d < 3; ++d)
      out.positions[3 * i + d] =
          model.cutoff * spacing * (static_cast<double>(place[d]) + 0.15 * moved[3 * i + d]);
  }
  return out;
}

/// (E(x + h d) - E(x - h d)) / 2h of each member.
Numbers slopes(Evaluator &model, FewAtoms &atoms, const Numbers &direction, double h) {
  const Numbers before = atoms.positions;
  const auto energies_at = [&](double step) {
    for (std::size_t k = 0; k < before.size(); ++k)
      atoms.positions[k] = before[k] + step * direction[k];
    return energies_of(model, atoms.neighborhood(before.size() / 3));
  };
  Numbers out = energies_at(h);
  const Numbers other = energies_at(-h);
  for (std::size_t m = 0; m < out.size(); ++m)
    out[m] = (out[m] - other[m]) / (2.0 * h);
  atoms.positions = before;
  return out;
}

/// What the gradient by the edge vectors (E, 3) says of moving the atoms along `direction`.
double slope_along(const Neighborhood &hood, const Numbers &gradient, const Numbers &direction) {
  double out = 0.0;
  for (std::size_t e = 0; e < hood.n_edges(); ++e)
    for (std::size_t d = 0; d < 3; ++d) {
      const auto i = static_cast<std::size_t>(hood.atom[static_cast<std::size_t>(hood.edge_i[e])]);
      const auto j = static_cast<std::size_t>(hood.atom[static_cast<std::size_t>(hood.edge_j[e])]);
      out += gradient[3 * e + d] * (direction[3 * j + d] - direction[3 * i + d]);
    }
  return out;
}

void try_gradients(Evaluator &model) {
  const Metadata &metadata = model.metadata();
  std::mt19937 random(seed);
  FewAtoms atoms = make_cluster(metadata, random);
  const std::size_t n = atoms.positions.size() / 3;
  const Neighborhood hood = atoms.neighborhood(n);
  Numbers energies;
  std::vector<Numbers> gradients;
  model.evaluate_members(hood, energies, gradients);
  for (const Numbers &gradient : gradients)
    require_finite(gradient, "a gradient");

  const double epsilon = metadata.double_precision ? std::numeric_limits<double>::epsilon()
                                                   : std::numeric_limits<float>::epsilon();
  for (int trial = 0; trial < 2; ++trial) {
    const Numbers direction = some_numbers(3 * n, random);
    const Numbers coarse = slopes(model, atoms, direction, 2.0 * shift);
    const Numbers fine = slopes(model, atoms, direction, shift);
    for (std::size_t m = 0; m < fine.size(); ++m) {
      const double told = slope_along(hood, gradients[m], direction);
      const double noise = 8.0 * epsilon * std::abs(energies[m]) / shift;
      const double larger = std::max(std::abs(told), std::abs(fine[m]));
      // where the energy is not smooth, differences say nothing
      const bool smooth =
          std::abs(coarse[m] - fine[m]) <= smooth_within * std::abs(fine[m]) + noise;
      if (smooth && std::abs(told - fine[m]) > right_within * larger + noise)
        throw std::runtime_error(
            "the gradient of member " + std::to_string(m + 1) +
            " is not that of its energy: along a displacement of a few atoms it says " +
            text_of(told) + " eV/Angstrom, and differences of the energy say " + text_of(fine[m]) +
            "; part of what leads from vec to the energy is lost (detach, no_grad, numbers taken "
            "out of tensors), or a formula for the gradient is wrong");
    }
  }

  const Numbers weights = some_numbers(gradients.size(), random);
  Evaluation whole;
  model.evaluate(hood, weights, whole);
  double largest = 0.0, off = 0.0;
  for (std::size_t k = 0; k < whole.gradient.size(); ++k) {
    double sum = 0.0, size = 0.0;
    for (std::size_t m = 0; m < gradients.size(); ++m) {
      sum += weights[m] * gradients[m][k];
      size += std::abs(weights[m] * gradients[m][k]);
    }
    largest = std::max(largest, size);
    off = std::max(off, std::abs(sum - whole.gradient[k]));
  }
  if (!(off <= 0.01 * largest))
    throw std::runtime_error("the gradient that it gives for weighted members differs from the sum "
                             "of the members' gradients by " +
                             text_of(off) + " of " + text_of(largest) + " eV/Angstrom");
}

/// A chain in which only neighbors are within the cutoff, and the first atom owns the energy: the
/// edges of atom k reach it through k messages.
void try_receptive_field(Evaluator &model) {
  const Metadata &metadata = model.metadata();
  const auto shells = static_cast<std::size_t>(metadata.message_shells());
  const std::size_t n = shells + 5;
  FewAtoms atoms(metadata, n);
  std::mt19937 random(seed);
  const Numbers moved = some_numbers(3 * n, random);
  for (std::size_t k = 0; k < n; ++k)
    for (std::size_t d = 0; d < 3; ++d)
      atoms.positions[3 * k + d] =
          metadata.cutoff *
          ((d == 0 ? link * static_cast<double>(k) : 0.0) + 0.03 * moved[3 * k + d]);
  const Neighborhood &hood = atoms.neighborhood(1);
  const auto members = static_cast<std::size_t>(metadata.members);
  Evaluation out;
  model.evaluate(hood, Numbers(members, 1.0 / static_cast<double>(members)), out);
  std::size_t farthest = 0; // center of an edge that the energy depends on
  for (std::size_t e = 0; e < hood.n_edges(); ++e)
    for (std::size_t d = 0; d < 3; ++d)
      if (out.gradient[3 * e + d] != 0.0)
        farthest =
            std::max(farthest,
                     static_cast<std::size_t>(hood.atom[static_cast<std::size_t>(hood.edge_i[e])]));
  if (farthest > shells)
    throw std::runtime_error("an energy depends on atoms " + std::to_string(farthest + 1) +
                             (farthest + 1 == n ? " or more" : "") +
                             " edges away, and its metadata says receptive_field " +
                             text_of(metadata.receptive_field) + " Angstrom, which is " +
                             std::to_string(shells + 1) + " of " + text_of(metadata.cutoff) +
                             ": write the receptive_field that it has, at least " +
                             text_of(static_cast<double>(farthest + 1) * metadata.cutoff));
}

} // namespace

void try_model(Evaluator &model) {
  try_gradients(model);
  if (model.metadata().format_version > 1)
    try_receptive_field(model);
}

} // namespace alrare
