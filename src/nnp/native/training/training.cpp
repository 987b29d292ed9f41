// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/training/training.h"

#include "nnp/native/kernels/instruction_set.h"
#include "nnp/native/size.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

namespace alrare::native {

namespace {

constexpr int tile_rows = 64;     // atoms that go through all layers together
constexpr long part_atoms = 4096; // of which energies alone are computed at a time: bounds memory

int padded(int width) { return round_up(width, width_block); }

void lay_out_layer(Arena &arena, int n_rows, TrainingLayer &layer) {
  const std::size_t weights = size(layer.in) * size(layer.out);
  const std::size_t stride = size(row_stride(layer.out));
  for (float **array : {&layer.forward, &layer.backward, &layer.weight_gradient})
    *array = arena.take(weights);
  for (float **array : {&layer.bias, &layer.bias_gradient})
    *array = arena.take(size(layer.out));
  for (float **array : {&layer.value, &layer.slope, &layer.bend, &layer.adjoint})
    *array = arena.take(size(n_rows) * stride);
  layer.tangent = arena.take(size(tile_rows) * stride);
}

[[noreturn]] void refuse(const std::string &what, long at, long got, const std::string &expected) {
  throw std::runtime_error("training batch: " + what + "[" + std::to_string(at) +
                           "] = " + std::to_string(got) + ", expected " + expected);
}

void check_networks(const TrainingAtoms &atoms, const std::vector<DenseNetwork> &networks) {
  if (networks.size() != size(atoms.n_elements))
    throw std::runtime_error("expected " + std::to_string(atoms.n_elements) +
                             " networks, one per element, got " + std::to_string(networks.size()));
  for (const DenseNetwork &network : networks) {
    int width = atoms.n_features;
    for (const DenseLayer &layer : network.layers) {
      if (layer.in != width)
        throw std::runtime_error("a layer takes " + std::to_string(layer.in) +
                                 " features, but what comes before it has " +
                                 std::to_string(width));
      width = layer.out;
    }
    if (network.layers.empty() || width != 1)
      throw std::runtime_error("the last layer of a network must have one output");
  }
}

void within(const char *what, long at, std::int64_t value, long end) {
  if (value < 0 || value >= end)
    refuse(what, at, value, "0 to " + std::to_string(end - 1));
}

/// Weight times the mean square of the nine errors; bar (3, 3) gets its derivatives.
double strain_loss(const double *strain, const float *label, double weight, float *bar) {
  double squares = 0.0;
  for (int k = 0; k < 9; ++k) {
    const double error = strain[k] - static_cast<double>(label[k]);
    squares += error * error;
    bar[k] = static_cast<float>(2.0 * weight / 9.0 * error);
  }
  return weight / 9.0 * squares;
}

} // namespace

void TrainingAtoms::check_atoms() const {
  for (long a = 0; a < n_atoms; ++a) {
    within("species", a, species[a], n_elements);
    within("configuration", a, configuration[a], n_configurations);
    if (a > 0 && configuration[a] < configuration[a - 1])
      refuse("configuration", a, configuration[a], "ascending numbers");
  }
}

void TrainingBatch::check() const {
  check_atoms();
  if (n_features != count_features())
    throw std::runtime_error("training batch: " + std::to_string(n_features) +
                             " features, expected " + std::to_string(count_features()));
  for (long e = 0; e < n_edges; ++e) {
    within("edge_i", e, edge_i[e], n_atoms);
    within("edge_j", e, edge_j[e], n_atoms);
    const std::int64_t owner = configuration[edge_i[e]];
    if (configuration[edge_j[e]] != owner)
      refuse("edge_j", e, edge_j[e], "an atom of configuration " + std::to_string(owner));
    if (e > 0 && owner < configuration[edge_i[e - 1]])
      refuse("edge_i", e, edge_i[e], "edges in the order of the configurations");
  }
  for (long a = 0; a < n_short; ++a) {
    within("short", a, short_edges[a], n_edges);
    if (a > 0 && short_edges[a] <= short_edges[a - 1])
      refuse("short", a, short_edges[a], "ascending edges");
  }
}

void TrainingLabels::check(const TrainingBatch &batch) const {
  for (long k = 0; k < n_strained; ++k) {
    within("strained", k, strained[k], batch.n_configurations);
    if (k > 0 && strained[k] <= strained[k - 1])
      refuse("strained", k, strained[k], "ascending configurations");
  }
}

MemberGradient::MemberGradient(const std::string &instruction_set)
    : kernels_(find_kernels(instruction_set)), product_(instruction_set) {}

void MemberGradient::place_atoms(const TrainingAtoms &atoms) {
  for (Element &element : elements_)
    element.n_atoms = 0;
  place_.resize(size(atoms.n_atoms));
  for (std::size_t a = 0; a < place_.size(); ++a)
    place_[a] = elements_[size(atoms.species[a])].n_atoms++;
  for (Element &element : elements_)
    element.n_rows = round_up(element.n_atoms, row_block);
}

void MemberGradient::lay_out(Arena &arena, const std::vector<DenseNetwork> &networks) {
  const std::size_t stride = size(row_stride(networks[0].layers[0].in));
  std::size_t rows = 0;
  for (const Element &element : elements_)
    rows += size(element.n_rows);
  gradient_ = arena.take(rows * stride);
  direction_ = arena.take(rows * stride);
  std::size_t first = 0;
  for (std::size_t k = 0; k < elements_.size(); ++k) {
    Element &element = elements_[k];
    element.hidden.resize(networks[k].layers.size() - 1);
    int width = padded(networks[k].layers[0].in);
    element.network.features = width;
    for (std::size_t l = 0; l < element.hidden.size(); ++l) {
      element.hidden[l].in = width;
      element.hidden[l].out = width = padded(networks[k].layers[l].out);
      lay_out_layer(arena, element.n_rows, element.hidden[l]);
    }
    TrainingNetwork &network = element.network;
    network.n_hidden = static_cast<int>(element.hidden.size());
    network.hidden = element.hidden.data();
    network.last_in = width;
    network.last_weight = arena.take(size(width));
    network.last_gradient = arena.take(size(width));
    network.energies = arena.take(size(element.n_rows));
    network.bar_energies = arena.take(size(element.n_rows));
    network.input = arena.take(size(element.n_rows) * stride);
    network.gradient = gradient_ == nullptr ? nullptr : gradient_ + first * stride;
    network.direction = direction_ == nullptr ? nullptr : direction_ + first * stride;
    first += size(element.n_rows);
  }
}

void MemberGradient::pack(const DenseNetwork &from, Element &to) {
  std::vector<DenseLayer> layers = from.layers;
  DenseLayer &first = layers.front();
  first_weight_.resize(size(first.out) * size(first.in));
  product_.multiply({first.weight, first.out, first.in, first.in, 1},
                    {from.transform, first.in, first.in, 1, first.in}, first_weight_.data());
  first.weight = first_weight_.data();
  for (std::size_t l = 0; l < to.hidden.size(); ++l) {
    const DenseLayer &layer = layers[l];
    const TrainingLayer &out = to.hidden[l];
    const MatrixView weight{layer.weight, layer.out, layer.in, layer.in, 1};
    const MatrixView transposed{layer.weight, layer.in, layer.out, 1, layer.in};
    pack_panels(kernels_, transposed, out.in, out.out, out.forward);
    pack_panels(kernels_, weight, out.out, out.in, out.backward);
    std::fill_n(out.bias, out.out, 0.0f);
    std::copy_n(layer.bias, layer.out, out.bias);
  }
  const DenseLayer &last = layers.back();
  std::fill_n(to.network.last_weight, to.network.last_in, 0.0f);
  std::copy_n(last.weight, last.in, to.network.last_weight);
  to.network.last_bias = last.bias[0];
}

void MemberGradient::load_inputs(const TrainingAtoms &atoms,
                                 const std::vector<DenseNetwork> &networks) {
  const int features = atoms.n_features;
  const long stride = row_stride(features);
  for (Element &element : elements_)
    std::fill_n(element.network.input, element.n_rows * stride, 0.0f);
  row_.resize(place_.size());
  for (std::size_t a = 0; a < place_.size(); ++a) {
    const std::size_t k = size(atoms.species[a]);
    const TrainingNetwork &network = elements_[k].network;
    row_[a] = network.gradient - gradient_ + place_[a] * stride;
    float *const out = network.input + place_[a] * stride;
    const float *const aev = atoms.aev + static_cast<long>(a) * features;
    for (int f = 0; f < features; ++f)
      out[f] = aev[f] - networks[k].center[f];
  }
}

void MemberGradient::prepare(const TrainingAtoms &atoms,
                             const std::vector<DenseNetwork> &networks) {
  check_networks(atoms, networks);
  elements_.resize(networks.size());
  place_atoms(atoms);
  Arena measure;
  lay_out(measure, networks);
  memory_.reserve(measure.used());
  Arena arena(memory_.data());
  lay_out(arena, networks);
  for (std::size_t k = 0; k < elements_.size(); ++k)
    pack(networks[k], elements_[k]);
  load_inputs(atoms, networks);
  for (const Element &element : elements_)
    for (int row = 0; row < element.n_rows; row += tile_rows)
      kernels_.training.energy_pass(element.network, row,
                                    std::min(tile_rows, element.n_rows - row));
}

void MemberGradient::add_energies(const TrainingAtoms &atoms, std::vector<double> &out) const {
  for (std::size_t a = 0; a < place_.size(); ++a)
    out[size(atoms.configuration[a])] +=
        static_cast<double>(elements_[size(atoms.species[a])].network.energies[place_[a]]);
}

template <class Work>
void MemberGradient::for_configurations(const TrainingBatch &batch, const Work &work) {
  const int n = batch.n_elements;
  pair_feature_.resize(size(n) * size(n));
  int feature = n * batch.radial_length;
  for (int s = 0; s < n; ++s)
    for (int t = s; t < n; ++t, feature += batch.angular_length)
      pair_feature_[size(s * n + t)] = pair_feature_[size(t * n + s)] = feature;
  ForceTerms terms{batch.n_elements,
                   batch.radial_length,
                   batch.angular_length,
                   pair_feature_.data(),
                   batch.species,
                   row_.data(),
                   batch.edge_i,
                   batch.edge_j,
                   batch.length,
                   batch.unit,
                   batch.slope,
                   batch.short_edges,
                   batch.jacobian,
                   0,
                   0,
                   0,
                   0};
  long atom = 0;
  for (long c = 0; c < batch.n_configurations; ++c) {
    const long first_atom = atom;
    while (atom < batch.n_atoms && batch.configuration[atom] == c)
      ++atom;
    terms.first_edge = terms.end_edge;
    while (terms.end_edge < batch.n_edges && batch.edge_i[terms.end_edge] < atom)
      ++terms.end_edge;
    terms.first_short = terms.end_short;
    while (terms.end_short < batch.n_short && batch.short_edges[terms.end_short] < terms.end_edge)
      ++terms.end_short;
    work(terms, first_atom, atom);
  }
}

void MemberGradient::energies(const TrainingAtoms &atoms, const std::vector<DenseNetwork> &networks,
                              std::vector<double> &out) {
  out.assign(size(atoms.n_configurations), 0.0);
  for (long first = 0; first < atoms.n_atoms; first += part_atoms) {
    TrainingAtoms part = atoms;
    part.n_atoms = std::min(part_atoms, atoms.n_atoms - first);
    part.species += first;
    part.configuration += first;
    part.aev += first * atoms.n_features;
    prepare(part, networks);
    add_energies(part, out);
  }
}

void MemberGradient::predict(const TrainingBatch &batch, const std::vector<DenseNetwork> &networks,
                             Prediction &out) {
  prepare(batch, networks);
  out.energies.assign(size(batch.n_configurations), 0.0);
  add_energies(batch, out.energies);
  out.forces.assign(3 * size(batch.n_atoms), 0.0f);
  for_configurations(batch, [&](const ForceTerms &terms, long, long) {
    kernels_.training.forces(terms, gradient_, out.forces.data());
  });
}

void MemberGradient::strain_derivatives(const TrainingBatch &batch,
                                        const std::vector<DenseNetwork> &networks,
                                        std::vector<double> &out) {
  prepare(batch, networks);
  out.assign(9 * size(batch.n_configurations), 0.0);
  std::vector<float> forces(3 * size(batch.n_atoms), 0.0f);
  double *strain = out.data();
  for_configurations(batch, [&](const ForceTerms &terms, long, long) {
    kernels_.training.forces_and_strain(terms, gradient_, forces.data(), strain);
    strain += 9;
  });
}

void MemberGradient::clear_gradients() {
  for (const Element &element : elements_) {
    const TrainingNetwork &network = element.network;
    for (const TrainingLayer &layer : element.hidden) {
      std::fill_n(layer.weight_gradient, size(layer.in) * size(layer.out), 0.0f);
      std::fill_n(layer.bias_gradient, layer.out, 0.0f);
    }
    std::fill_n(network.last_gradient, network.last_in, 0.0f);
    std::fill_n(network.bar_energies, element.n_rows, 0.0f);
    std::fill_n(network.direction, size(element.n_rows) * size(row_stride(network.features)), 0.0f);
  }
}

double MemberGradient::loss_gradient(const TrainingBatch &batch,
                                     const std::vector<DenseNetwork> &networks,
                                     const TrainingLabels &labels, const LossWeights &weights,
                                     std::vector<std::vector<LayerGradient>> &out) {
  labels.check(batch);
  Prediction prediction;
  prepare(batch, networks);
  prediction.energies.assign(size(batch.n_configurations), 0.0);
  add_energies(batch, prediction.energies);
  clear_gradients();
  prediction.forces.assign(3 * size(batch.n_atoms), 0.0f);
  float *const forces = prediction.forces.data();
  const auto count = static_cast<double>(batch.n_configurations);
  double loss = 0.0;
  const long n_strained = weights.stress > 0.0 ? labels.n_strained : 0;
  long c = 0, at_label = 0;
  for_configurations(batch, [&](const ForceTerms &terms, long first, long end) {
    // forces and their transpose one after the other: the Jacobian is in the cache
    const bool strained = at_label < n_strained && labels.strained[at_label] == c;
    double strain[9] = {};
    if (strained)
      kernels_.training.forces_and_strain(terms, gradient_, forces, strain);
    else
      kernels_.training.forces(terms, gradient_, forces);
    const auto atoms = static_cast<double>(end - first);
    const double per_atom = weights.force / count / atoms;
    double squares = 0.0;
    for (long k = 3 * first; k < 3 * end; ++k) {
      const double error = static_cast<double>(forces[k]) - static_cast<double>(labels.forces[k]);
      squares += error * error;
      forces[k] = static_cast<float>(2.0 * per_atom * error); // now their adjoint
    }
    const double error = prediction.energies[size(c)] - static_cast<double>(labels.energies[c]);
    const double scale = 1.0 / (std::sqrt(atoms) * count);
    loss += scale * error * error + per_atom * squares;
    if (strained) {
      float bar_strain[9];
      loss +=
          strain_loss(strain, labels.strain + 9 * at_label++, weights.stress * scale, bar_strain);
      kernels_.training.forces_and_strain_backward(terms, forces, bar_strain, direction_);
    } else
      kernels_.training.forces_backward(terms, forces, direction_);
    for (std::size_t a = size(first); a < size(end); ++a)
      elements_[size(batch.species[a])].network.bar_energies[place_[a]] =
          static_cast<float>(2.0 * scale * error);
    ++c;
  });
  for (const Element &element : elements_)
    for (int row = 0; row < element.n_rows; row += tile_rows)
      kernels_.training.tangent_pass(element.network, row,
                                     std::min(tile_rows, element.n_rows - row));
  unpack(networks, out);
  return loss;
}

void MemberGradient::unpack(const std::vector<DenseNetwork> &networks,
                            std::vector<std::vector<LayerGradient>> &out) {
  out.assign(networks.size(), {});
  for (std::size_t k = 0; k < networks.size(); ++k) {
    const Element &element = elements_[k];
    for (std::size_t l = 0; l < element.hidden.size(); ++l) {
      const DenseLayer &shape = networks[k].layers[l];
      const TrainingLayer &layer = element.hidden[l];
      LayerGradient gradient;
      gradient.weight.reserve(size(shape.out) * size(shape.in));
      for (long o = 0; o < shape.out; ++o) {
        const float *const row = layer.weight_gradient + o * layer.in;
        gradient.weight.insert(gradient.weight.end(), row, row + shape.in);
      }
      gradient.bias.assign(layer.bias_gradient, layer.bias_gradient + shape.out);
      out[k].push_back(std::move(gradient));
    }
    const TrainingNetwork &network = element.network;
    const double bias =
        std::accumulate(network.bar_energies, network.bar_energies + element.n_rows, 0.0);
    out[k].push_back({{network.last_gradient, network.last_gradient + networks[k].layers.back().in},
                      {static_cast<float>(bias)}});
    const DenseLayer &first = networks[k].layers.front();
    std::vector<float> &weight = out[k].front().weight;
    first_weight_.swap(weight);
    weight.resize(first_weight_.size());
    product_.multiply({first_weight_.data(), first.out, first.in, first.in, 1},
                      {networks[k].transform, first.in, first.in, first.in, 1}, weight.data());
  }
}

} // namespace alrare::native
