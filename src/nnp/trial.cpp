// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/trial.h"

#include <algorithm>
#include <array>
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

constexpr double spacing = 0.3;                          // of the atoms of a cluster, in cutoffs
constexpr std::array<double, 3> links = {0.3, 0.6, 0.9}; // of the atoms of a chain, in cutoffs
constexpr double shift = 0.01;                           // of differences of the energy, Å
constexpr double tiny_shift = 1e-7;                      // changes an energy by its rounding, Å
constexpr std::size_t fewest_atoms = 8, most_atoms = 64; // of a cluster
constexpr std::size_t most_compared = 256;               // by compare_engines: all elements, twice
constexpr int n_directions = 2, n_points = 4;
// All relative. What is wrong with a model is far more, and a right one must never be refused.
constexpr double smooth_within = 0.05, right_within = 0.2, equal_within = 0.01, zero_within = 1e-6,
                 same_within = 3e-4;

/// A few atoms in vacuum, each of which is in the list of all others.
class FewAtoms {
public:
  FewAtoms(const Metadata &model, std::size_t n)
      : positions(3 * n), builder_(model.cutoff, model.angular_cutoff), neighbors_(n),
        species_of_type_(model.elements.size()), type_(n) {
    std::iota(species_of_type_.begin(), species_of_type_.end(), 0);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j)
        if (i != j)
          neighbors_[i].push_back(static_cast<int>(j));
  }

  std::size_t size() const { return neighbors_.size(); }

  /// Their neighborhood if all own energy; valid until the next call.
  const Neighborhood &whole() { return build(0, size(), static_cast<int>(size())); }

  /// As a rank sees it that owns one of them; valid until the next call.
  const Neighborhood &around(std::size_t center, int message_shells) {
    return build(center, 1, message_shells);
  }

  /// If so many from `first` on own energy; valid until the next call.
  const Neighborhood &part(std::size_t first, std::size_t n_centers) {
    return build(first, n_centers, 0);
  }

  /// Of all atoms, of which so many from `first` on are centers; valid until the next call.
  const NeighborList &list(std::size_t first, std::size_t n_centers) {
    const std::size_t n = size();
    rows_.resize(n);
    lists_.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
      rows_[i] = &positions[3 * i];
      lists_[i] = neighbors_[i].data();
      type_[i] = static_cast<int>(i % species_of_type_.size());
    }
    n_neighbors_.assign(n, static_cast<int>(n) - 1);
    centers_.resize(n_centers);
    std::iota(centers_.begin(), centers_.end(), static_cast<int>(first));
    list_.n_all = static_cast<int>(n);
    list_.positions = rows_.data();
    list_.type = type_.data();
    list_.species_of_type = species_of_type_.data();
    list_.n_centers = static_cast<int>(n_centers);
    list_.centers = centers_.data();
    list_.n_neighbors = n_neighbors_.data();
    list_.neighbors = lists_.data();
    return list_;
  }

  Numbers positions; ///< (n, 3), Å

private:
  const Neighborhood &build(std::size_t first, std::size_t n_centers, int message_shells) {
    NeighborList list = this->list(first, n_centers);
    list.message_shells = message_shells;
    return builder_.build(list);
  }

  NeighborhoodBuilder builder_;
  std::vector<std::vector<int>> neighbors_;
  std::vector<int> species_of_type_, type_, centers_, n_neighbors_;
  std::vector<const double *> rows_;
  std::vector<const int *> lists_;
  NeighborList list_{};
};

/// Numbers from -1 to 1, the same on every rank and machine: on purpose.
class SomeNumbers { // NOLINT(bugprone-random-generator-seed)
public:
  Numbers operator()(std::size_t n) {
    Numbers out(n);
    for (double &value : out)
      value = 2.0 * static_cast<double>(engine_()) / static_cast<double>(std::mt19937::max()) - 1.0;
    return out;
  }

private:
  std::mt19937 engine_;
};

std::string text_of(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.4g", value);
  return text.data();
}

void require_finite(const Numbers &values, const std::string &what) {
  if (!std::all_of(values.begin(), values.end(), [](double x) { return std::isfinite(x); }))
    throw std::runtime_error("on a few atoms tried before the run, " + what + " is not finite");
}

/// Energies of all members and the gradient of their mean.
Evaluation mean_of(Evaluator &model, const Neighborhood &hood) {
  const auto members = static_cast<std::size_t>(model.metadata().members);
  Evaluation out;
  model.evaluate(hood, Numbers(members, 1.0 / static_cast<double>(members)), out);
  require_finite(out.member_energies, "an energy");
  require_finite(out.gradient, "a gradient");
  return out;
}

/// Atoms of all elements, if they are no more than half of `most_atoms`, on a distorted grid.
FewAtoms make_cluster(const Metadata &model, SomeNumbers &random, std::size_t fewest = fewest_atoms,
                      std::size_t most = most_atoms) {
  const std::size_t n = std::clamp(2 * model.elements.size(), fewest, most);
  std::size_t side = 2;
  while (side * side * side < n)
    ++side;
  FewAtoms out(model, n);
  const Numbers moved = random(3 * n);
  for (std::size_t i = 0; i < n; ++i) {
    const std::array<std::size_t, 3> place = {i % side, i / side % side, i / (side * side)};
    for (std::size_t d = 0; d < 3; ++d)
      out.positions[3 * i + d] =
          model.cutoff * spacing * (static_cast<double>(place[d]) + 0.15 * moved[3 * i + d]);
  }
  return out;
}

/// Moves the atoms along a direction, and back when it goes away.
class Moved {
public:
  Moved(FewAtoms &atoms, const Numbers &direction, double step)
      : atoms_(atoms), before_(atoms.positions) {
    for (std::size_t k = 0; k < before_.size(); ++k)
      atoms.positions[k] += step * direction[k];
  }
  ~Moved() { atoms_.positions = before_; }
  Moved(const Moved &) = delete;
  Moved &operator=(const Moved &) = delete;

private:
  FewAtoms &atoms_;
  Numbers before_;
};

Numbers energies_at(Evaluator &model, FewAtoms &atoms, const Numbers &direction, double step) {
  const Moved moved(atoms, direction, step);
  return mean_of(model, atoms.whole()).member_energies;
}

/// (E(x + h d) - E(x - h d)) / 2h of each member.
Numbers slopes(Evaluator &model, FewAtoms &atoms, const Numbers &direction, double h) {
  Numbers out = energies_at(model, atoms, direction, h);
  const Numbers other = energies_at(model, atoms, direction, -h);
  for (std::size_t m = 0; m < out.size(); ++m)
    out[m] = (out[m] - other[m]) / (2.0 * h);
  return out;
}

/// What a gradient by the edge vectors says of moving the atoms along a direction.
double slope_along(const Neighborhood &hood, const Numbers &gradient, const Numbers &direction) {
  Numbers forces;
  sum_forces(hood, gradient, direction.size() / 3, forces);
  return -std::inner_product(forces.begin(), forces.end(), direction.begin(), 0.0);
}

/// The same of each member, averaged over the way from -h to h: kinks on it count in proportion.
Numbers told_slopes(Evaluator &model, FewAtoms &atoms, const Numbers &direction, double h) {
  Numbers out(static_cast<std::size_t>(model.metadata().members), 0.0), energies;
  std::vector<Numbers> gradients;
  for (int k = 0; k < n_points; ++k) {
    const Moved moved(atoms, direction, h * ((2.0 * k + 1.0) / n_points - 1.0));
    const Neighborhood &hood = atoms.whole();
    model.evaluate_members(hood, -1, energies, gradients);
    for (std::size_t m = 0; m < out.size(); ++m) {
      require_finite(gradients[m], "a gradient");
      out[m] += slope_along(hood, gradients[m], direction) / n_points;
    }
  }
  return out;
}

/// By how much rounding may change each member's energy, eV.
Numbers rounding(Evaluator &model, FewAtoms &atoms, const Numbers &energies, SomeNumbers &random) {
  Numbers out(energies.size(), 0.0);
  for (int k = 0; k < 3; ++k) {
    const Numbers direction = random(atoms.positions.size());
    const Numbers other = energies_at(model, atoms, direction, tiny_shift);
    for (std::size_t m = 0; m < out.size(); ++m)
      out[m] = std::max(out[m], std::abs(other[m] - energies[m]));
  }
  for (std::size_t m = 0; m < out.size(); ++m) {
    const bool is_single = static_cast<double>(static_cast<float>(energies[m])) == energies[m];
    const double epsilon =
        is_single ? std::numeric_limits<float>::epsilon() : std::numeric_limits<double>::epsilon();
    out[m] += 2.0 * epsilon * std::abs(energies[m]);
  }
  return out;
}

void try_gradients(Evaluator &model, FewAtoms &atoms, const Numbers &noise, SomeNumbers &random) {
  const std::size_t members = noise.size();
  std::vector<int> failures(members, 0);
  Numbers told, found;
  for (int trial = 0; trial < n_directions; ++trial) {
    const Numbers direction = random(atoms.positions.size());
    told = told_slopes(model, atoms, direction, shift);
    found = slopes(model, atoms, direction, shift);
    const Numbers coarse = slopes(model, atoms, direction, 2.0 * shift);
    for (std::size_t m = 0; m < members; ++m) {
      const double error = 2.0 * noise[m] / shift;
      // where the energy has a step, differences say nothing
      const bool smooth =
          std::abs(coarse[m] - found[m]) <= smooth_within * std::abs(found[m]) + error;
      const double larger = std::max(std::abs(told[m]), std::abs(found[m]));
      failures[m] += smooth && std::abs(told[m] - found[m]) > right_within * larger + error ? 1 : 0;
    }
  }
  for (std::size_t m = 0; m < members; ++m)
    if (failures[m] == n_directions)
      throw std::runtime_error(
          "the gradient of member " + std::to_string(m + 1) +
          " is not that of its energy: along a displacement of a few atoms it says " +
          text_of(told[m]) + " eV/Angstrom, and differences of the energy say " +
          text_of(found[m]) +
          "; part of what leads from vec to the energy is lost (detach, no_grad, numbers taken out "
          "of tensors), or a formula for the gradient is wrong");
}

double largest(const Numbers &values) {
  double out = 0.0;
  for (const double value : values)
    out = std::max(out, std::abs(value));
  return out;
}

double largest_difference(const Numbers &a, const Numbers &b) {
  double out = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k)
    out = std::max(out, std::abs(a[k] - b[k]));
  return out;
}

/// The mean's gradient must be the mean of the members' gradients.
void try_mean(Evaluator &model, FewAtoms &atoms, const Evaluation &whole) {
  Numbers energies, mean(whole.gradient.size(), 0.0);
  std::vector<Numbers> gradients;
  model.evaluate_members(atoms.whole(), -1, energies, gradients);
  double size = 0.0;
  for (const Numbers &gradient : gradients) {
    size = std::max(size, largest(gradient));
    for (std::size_t k = 0; k < mean.size(); ++k)
      mean[k] += gradient[k] / static_cast<double>(gradients.size());
  }
  const double off = largest_difference(mean, whole.gradient);
  if (off > equal_within * size)
    throw std::runtime_error("the gradient that it gives for the mean differs from the mean of the "
                             "members' gradients by " +
                             text_of(off) + " of " + text_of(size) + " eV/Angstrom");
}

/// What ranks that own one atom each give together must be what one rank gives.
void try_parts(Evaluator &model, FewAtoms &atoms, const Evaluation &whole, const Numbers &noise) {
  const int shells = model.metadata().message_shells();
  const std::size_t n = atoms.size();
  Numbers forces, of_part, energies(noise.size(), 0.0), sum(3 * n, 0.0);
  sum_forces(atoms.whole(), whole.gradient, n, forces);
  for (std::size_t center = 0; center < n; ++center) {
    const Neighborhood &part = atoms.around(center, shells);
    const Evaluation out = mean_of(model, part);
    for (std::size_t m = 0; m < energies.size(); ++m)
      energies[m] += out.member_energies[m];
    sum_forces(part, out.gradient, n, of_part);
    for (std::size_t k = 0; k < sum.size(); ++k)
      sum[k] += of_part[k];
  }
  const double size = std::max(largest(forces), largest(sum)); // also the energy of one Å
  for (std::size_t m = 0; m < energies.size(); ++m) {
    const double off = std::abs(energies[m] - whole.member_energies[m]);
    if (off > equal_within * size + 2.0 * static_cast<double>(n) * noise[m])
      throw std::runtime_error(
          "the energies of atoms alone add up to " + text_of(off) + " eV " +
          (energies[m] > whole.member_energies[m] ? "more" : "less") +
          " than the energy of all of them (member " + std::to_string(m + 1) +
          "): several ranks would give another energy than one. Energies must be those of the "
          "first n_local rows, and depend on nothing but edges within the receptive_field");
  }
  const double off = largest_difference(forces, sum);
  if (off > equal_within * size)
    throw std::runtime_error(
        "the forces that atoms alone give each other differ by " + text_of(off) + " of " +
        text_of(size) +
        " eV/Angstrom from those of all of them: several ranks would give "
        "other forces than one; edges to rows from n_local on need a gradient");
}

/// On a chain whose first atom owns the energy, edges beyond the receptive field must not matter.
void try_receptive_field(Evaluator &model, double link, SomeNumbers &random) {
  const Metadata &metadata = model.metadata();
  const auto shells = static_cast<std::size_t>(metadata.message_shells());
  const auto per_edge = static_cast<std::size_t>(0.97 / link); // atoms that one edge spans
  const std::size_t n = (shells + 4) * per_edge + 1;
  FewAtoms atoms(metadata, n);
  const Numbers moved = random(3 * n);
  for (std::size_t k = 0; k < n; ++k)
    for (std::size_t d = 0; d < 3; ++d)
      atoms.positions[3 * k + d] =
          metadata.cutoff *
          ((d == 0 ? link * static_cast<double>(k) : 0.0) + 0.015 * moved[3 * k + d]);
  const Neighborhood &hood = atoms.around(0, static_cast<int>(n));
  const Evaluation out = mean_of(model, hood);
  const double size = largest(out.gradient);
  std::size_t farthest = 0; // number of messages from an edge that the energy depends on
  for (std::size_t e = 0; e < hood.n_edges(); ++e) {
    const auto atom = static_cast<std::size_t>(hood.atom[static_cast<std::size_t>(hood.edge_i[e])]);
    for (std::size_t d = 0; d < 3; ++d)
      if (std::abs(out.gradient[3 * e + d]) > zero_within * size)
        farthest = std::max(farthest, (atom + per_edge - 1) / per_edge);
  }
  if (farthest <= shells)
    return;
  const std::string stated = ", and its metadata says receptive_field " +
                             text_of(metadata.receptive_field) + " Angstrom, which is " +
                             std::to_string(shells + 1) + " of " + text_of(metadata.cutoff) + ": ";
  if (farthest >= shells + 4)
    throw std::runtime_error("an energy depends on atoms " + std::to_string(farthest) +
                             " or more edges away" + stated +
                             "write the receptive_field that it has; an energy that depends on all "
                             "atoms, however far, has none");
  throw std::runtime_error("an energy depends on atoms " + std::to_string(farthest + 1) +
                           " edges away" + stated +
                           "write the receptive_field that it has, at least " +
                           text_of(static_cast<double>(farthest + 1) * metadata.cutoff));
}

/// Energies of members and forces of each, by edges and, where there is such a way, from a list.
struct Forces {
  Numbers energies;
  std::vector<Numbers> of_members;
};

Forces by_edges(Evaluator &model, FewAtoms &atoms, std::size_t first, std::size_t n_centers) {
  Forces out;
  std::vector<Numbers> gradients;
  const Neighborhood &hood = atoms.part(first, n_centers);
  model.evaluate_members(hood, -1, out.energies, gradients);
  for (const Numbers &gradient : gradients)
    sum_forces(hood, gradient, atoms.size(), out.of_members.emplace_back());
  return out;
}

void require_equal(const Forces &found, const Forces &expected, const Numbers &noise,
                   const std::string &what) {
  require_finite(found.energies, "an energy of " + what);
  for (std::size_t m = 0; m < expected.energies.size(); ++m) {
    require_finite(found.of_members.at(m), "a force of " + what);
    const double size = largest(expected.of_members[m]);
    const double force = largest_difference(found.of_members.at(m), expected.of_members[m]);
    const double energy = std::abs(found.energies.at(m) - expected.energies[m]);
    if (force > same_within * size || energy > same_within * size + 4.0 * noise[m])
      throw std::runtime_error(
          what + " gives other numbers than the CPU for a few atoms tried before the run: forces " +
          text_of(force) + " of " + text_of(size) + " eV/Angstrom, energy " + text_of(energy) +
          " eV (member " + std::to_string(m + 1) +
          "); this alrare does not run there: use device cpu, and report it");
  }
}

} // namespace

void compare_engines(Evaluator &model, Evaluator &trusted) {
  SomeNumbers random;
  FewAtoms atoms = make_cluster(model.metadata(), random, most_atoms, most_compared);
  const std::size_t n = atoms.size();
  const Forces expected = by_edges(trusted, atoms, 0, n);
  const Numbers noise = rounding(trusted, atoms, expected.energies, random);
  const std::string what = model.description();
  require_equal(by_edges(model, atoms, 0, n), expected, noise, what);
  ListEvaluator *const from_list = model.list_evaluator(true);
  if (from_list == nullptr)
    return;
  ListEvaluation out;
  const Numbers weights(noise.size(), 1.0 / static_cast<double>(noise.size()));
  from_list->evaluate_list(atoms.list(0, n), true, 0, weights, true, out);
  require_equal({out.member_energies, out.forces}, expected, noise, what);
  // a part of the atoms, and again with the same list after they have moved, as the last member
  const std::size_t first = n / 4, n_centers = n / 2;
  from_list->evaluate_list(atoms.list(first, n_centers), true, 0, weights, false, out);
  const Moved moved(atoms, random(3 * n), shift);
  const Forces part = by_edges(trusted, atoms, first, n_centers);
  const int last = model.metadata().members - 1;
  from_list->evaluate_list(atoms.list(first, n_centers), false, last, {1.0}, false, out);
  require_equal({out.member_energies, out.forces},
                {{part.energies.back()}, {part.of_members.back()}}, {noise.back()}, what);
}

void try_model(Evaluator &model) {
  SomeNumbers random;
  FewAtoms atoms = make_cluster(model.metadata(), random);
  const Evaluation whole = mean_of(model, atoms.whole());
  const Numbers noise = rounding(model, atoms, whole.member_energies, random);
  try_gradients(model, atoms, noise, random);
  try_mean(model, atoms, whole);
  if (model.metadata().format_version > 1)
    for (const double link : links)
      try_receptive_field(model, link, random);
  try_parts(model, atoms, whole, noise);
}

} // namespace alrare
