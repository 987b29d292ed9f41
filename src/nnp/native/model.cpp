// SPDX-License-Identifier: GPL-2.0-or-later
#include "model.h"

#include "../json.h"
#include "../safetensors.h"
#include "power_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace alrare::native {

namespace {

constexpr int max_width = 1 << 16;

int round_up(int n, int to) { return (n + to - 1) / to * to; }

[[noreturn]] void refuse(const std::string &key, const std::string &rule) {
  throw std::runtime_error("model metadata: " + key + " must be " + rule);
}

double positive(const Json &json, const std::string &key) {
  const double value = json.at(key).as_number();
  if (!(value > 0.0 && value < 1e6))
    refuse(key, "> 0, got " + std::to_string(value));
  return value;
}

/// A list of numbers, padded to a multiple of `to` with `padding`.
std::vector<double> numbers(const Json &json, const std::string &key) {
  std::vector<double> out;
  for (const Json &value : json.at(key).as_array())
    out.push_back(value.as_number());
  if (out.empty() || out.size() > 1024)
    refuse(key, "a list of 1 to 1024 numbers, got " + std::to_string(out.size()));
  return out;
}

std::vector<float> padded(const std::vector<double> &values, int to, float padding) {
  std::vector<float> out(values.begin(), values.end());
  out.resize(static_cast<std::size_t>(round_up(static_cast<int>(out.size()), to)), padding);
  return out;
}

/// Where weight (out, in) of a layer lies: tiles of 8 x 8, see Layer.
std::size_t packed(int out, int in, int padded_in) {
  const int tile = out / 8 * (padded_in / 8) + in / 8;
  return static_cast<std::size_t>(tile) * 64 + static_cast<std::size_t>(in % 8 * 8 + out % 8);
}

} // namespace

Model::Model(const std::string &path) {
  SafetensorsFile file(path);
  const auto text = file.metadata().find("alrare");
  if (text == file.metadata().end())
    throw std::runtime_error("model file '" + path +
                             "': a safetensors file without alrare's metadata");
  try {
    metadata_ = parse_metadata(text->second);
    const Json json = Json::parse(text->second);
    if (metadata_.members > 1024)
      refuse("members", "<= 1024");
    read_aev(json.at("aev"));
    for (const Json &value : json.at("self_energies").as_array())
      self_energies_.push_back(value.as_number());
    if (self_energies_.size() != metadata_.elements.size())
      refuse("self_energies", "one number per element");
    layers_.resize(metadata_.elements.size() * static_cast<std::size_t>(n_members()));
    networks_.resize(layers_.size());
    weights_.resize(metadata_.elements.size());
    for (int element = 0; element < n_elements(); ++element)
      read_element(file, json, element);
  } catch (const std::runtime_error &error) {
    const std::string why = error.what();
    throw std::runtime_error(why.rfind("model file", 0) == 0 ? why
                                                             : "model file '" + path + "': " + why);
  }
}

void Model::read_aev(const Json &json) {
  tables_.n_species = n_elements();
  if (n_elements() > 118)
    refuse("elements", "at most 118");
  tables_.radial_cutoff = static_cast<float>(positive(json, "radial_cutoff"));
  tables_.angular_cutoff = static_cast<float>(positive(json, "angular_cutoff"));
  if (static_cast<float>(metadata_.cutoff) != tables_.radial_cutoff ||
      static_cast<float>(metadata_.angular_cutoff) != tables_.angular_cutoff)
    refuse("cutoff and angular_cutoff", "those of aev");
  tables_.radial_eta = static_cast<float>(positive(json, "radial_eta"));
  tables_.angular_eta = static_cast<float>(positive(json, "angular_eta"));
  const double zeta = positive(json, "zeta");
  if (zeta < 1.0)
    refuse("zeta", ">= 1");
  tables_.zeta = static_cast<float>(zeta);
  const PowerFit power = fit_power(zeta - 1.0);
  tables_.power = power.power;
  tables_.power_degree = static_cast<int>(power.coefficients.size()) - 1;
  std::copy(power.coefficients.begin(), power.coefficients.end(), tables_.power_coefficients);

  const auto radial = numbers(json, "radial_shifts");
  const auto shifts = numbers(json, "angular_shifts");
  const auto sections = numbers(json, "angle_sections");
  std::vector<double> cosines, sines;
  for (const double angle : sections) {
    cosines.push_back(std::cos(angle));
    sines.push_back(std::sin(angle));
  }
  radial_shifts_ = padded(radial, block, 1e4f); // the Gaussian of a padding shift vanishes
  angular_shifts_ = padded(shifts, 4, 1e4f);
  section_cos_ = padded(cosines, 4, 0.0f);
  section_sin_ = padded(sines, 4, 0.0f);
  tables_.radial_shifts = radial_shifts_.data();
  tables_.angular_shifts = angular_shifts_.data();
  tables_.section_cos = section_cos_.data();
  tables_.section_sin = section_sin_.data();
  tables_.radial_size = static_cast<int>(radial_shifts_.size());
  tables_.n_shifts = static_cast<int>(angular_shifts_.size());
  tables_.n_sections = static_cast<int>(section_cos_.size());
  const std::int64_t pairs = std::int64_t(n_elements()) * (n_elements() + 1) / 2;
  if (n_elements() * std::int64_t(tables_.radial_size) + pairs * tables_.pair_size() > 1 << 20)
    refuse("aev", "at most 2^20 features");
  place_features(static_cast<int>(radial.size()), static_cast<int>(shifts.size()),
                 static_cast<int>(sections.size()));
}

void Model::place_features(int n_radial, int n_shifts, int n_sections) {
  const int n = n_elements();
  for (int s = 0; s < n; ++s)
    for (int k = 0; k < n_radial; ++k)
      places_.push_back(s * tables_.radial_size + k);
  pair_features_.assign(static_cast<std::size_t>(n * n), 0);
  int first = n * tables_.radial_size;
  for (int s = 0; s < n; ++s)
    for (int t = s; t < n; ++t, first += tables_.pair_size()) {
      pair_features_[static_cast<std::size_t>(s * n + t)] = first;
      pair_features_[static_cast<std::size_t>(t * n + s)] = first;
      for (int k = 0; k < n_shifts; ++k)
        for (int z = 0; z < n_sections; ++z)
          places_.push_back(first + k / 4 * 4 * tables_.n_sections + z / 4 * block + k % 4 * 4 +
                            z % 4);
    }
  tables_.features = first;
}

void Model::read_element(SafetensorsFile &file, const Json &json, int element) {
  const std::string &symbol = metadata_.elements[static_cast<std::size_t>(element)];
  std::vector<int> sizes{static_cast<int>(places_.size())};
  for (const Json &width : json.at("hidden").at(symbol).as_array()) {
    sizes.push_back(width.as_int());
    if (sizes.back() < 1 || sizes.back() > max_width || sizes.size() > 64)
      refuse("hidden", "up to 63 widths from 1 to 65536 for " + symbol);
  }
  sizes.push_back(1);
  const std::string &activation = json.at("activation").as_string();
  if (activation != "gelu" && activation != "celu")
    refuse("activation", "gelu or celu, got " + activation);
  const double alpha = json.has("celu_alpha") ? positive(json, "celu_alpha") : 0.1;

  // Shapes are checked before memory is taken: what is taken then fits what the file holds.
  const auto members = static_cast<std::size_t>(n_members());
  const std::size_t n_layers = sizes.size() - 1;
  std::vector<std::vector<float>> values, biases;
  for (std::size_t l = 0; l < n_layers; ++l) {
    const std::string name = symbol + "." + std::to_string(l);
    values.push_back(file.read(name + ".weight", {n_members(), sizes[l + 1], sizes[l]}));
    biases.push_back(file.read(name + ".bias", {n_members(), sizes[l + 1]}));
  }
  std::vector<int> widths{tables_.features}; // padded
  for (std::size_t l = 1; l + 1 < sizes.size(); ++l)
    widths.push_back(round_up(sizes[l], 8));
  std::size_t total = 0;
  for (std::size_t l = 0; l + 1 < n_layers; ++l)
    total += static_cast<std::size_t>(widths[l]) * static_cast<std::size_t>(widths[l + 1]) +
             static_cast<std::size_t>(round_up(widths[l + 1], 16));
  total += static_cast<std::size_t>(round_up(widths.back(), 16));
  AlignedBuffer &buffer = weights_[static_cast<std::size_t>(element)];
  buffer.reserve(total * members);

  Arena arena(buffer.data());
  for (std::size_t m = 0; m < members; ++m) {
    const std::size_t at = static_cast<std::size_t>(element) * members + m;
    for (std::size_t l = 0; l + 1 < n_layers; ++l) {
      float *const weight =
          arena.take(static_cast<std::size_t>(widths[l]) * static_cast<std::size_t>(widths[l + 1]));
      float *const bias = arena.take(static_cast<std::size_t>(widths[l + 1]));
      const float *value = &values[l][m * static_cast<std::size_t>(sizes[l + 1]) *
                                      static_cast<std::size_t>(sizes[l])];
      for (int o = 0; o < sizes[l + 1]; ++o) {
        for (int i = 0; i < sizes[l]; ++i)
          weight[packed(o, l == 0 ? places_[static_cast<std::size_t>(i)] : i, widths[l])] =
              *value++;
        bias[o] =
            biases[l][m * static_cast<std::size_t>(sizes[l + 1]) + static_cast<std::size_t>(o)];
      }
      layers_[at].push_back({widths[l], widths[l + 1], weight, bias});
    }
    float *const last = arena.take(static_cast<std::size_t>(widths.back()));
    for (int i = 0; i < sizes[n_layers - 1]; ++i)
      last[n_layers == 1 ? places_[static_cast<std::size_t>(i)] : i] =
          values.back()[m * static_cast<std::size_t>(sizes[n_layers - 1]) +
                        static_cast<std::size_t>(i)];
    networks_[at] = {static_cast<int>(layers_[at].size()),
                     layers_[at].data(),
                     widths.back(),
                     last,
                     biases.back()[m],
                     activation == "gelu" ? Activation::gelu : Activation::celu,
                     static_cast<float>(alpha)};
  }
  int hidden = 0;
  for (std::size_t l = 1; l < widths.size(); ++l) {
    hidden += widths[l];
    widest_ = std::max(widest_, widths[l]);
  }
  slopes_ = std::max(slopes_, hidden);
  linear_ = linear_ || n_layers == 1;
}

} // namespace alrare::native
