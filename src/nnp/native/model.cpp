// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/model.h"

#include "nnp/file/json.h"
#include "nnp/file/safetensors.h"
#include "nnp/native/kernels/round_up.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace alrare::native {

namespace {

constexpr int max_width = 1 << 16;

[[noreturn]] void refuse(const std::string &key, const std::string &rule) {
  throw std::runtime_error("model metadata: " + key + " must be " + rule);
}

double positive(const Json &json, const std::string &key) {
  const double value = json.at(key).as_number();
  if (!(value > 0.0 && value < 1e6))
    refuse(key, "> 0, got " + std::to_string(value));
  return value;
}

std::vector<double> numbers(const Json &json, const std::string &key) {
  std::vector<double> out;
  for (const Json &value : json.at(key).as_array())
    out.push_back(value.as_number());
  return out;
}

/// Where weight (out, in) of a layer lies: tiles of 8 x 8, see Layer.
std::size_t packed(int out, int in, int padded_in) {
  const int tile = out / 8 * (padded_in / 8) + in / 8;
  return static_cast<std::size_t>(tile) * 64 + static_cast<std::size_t>(in % 8 * 8 + out % 8);
}

/// The metadata as they were when their checksum was made: without it.
std::string without_checksum(const std::string &text, const std::string &sum) {
  const std::string entry = "\"sha256\": \"" + sum + "\"";
  const auto at = text.find(entry);
  if (at == std::string::npos)
    return text;
  const bool last = text.compare(at + entry.size(), 2, ", ") != 0; // else a comma follows
  const bool first = at < 2 || text.compare(at - 2, 2, ", ") != 0;
  std::string out = text;
  return last && !first ? out.erase(at - 2, entry.size() + 2)
                        : out.erase(at, entry.size() + (last ? 0 : 2));
}

/// Throws when metadata or weights are not those that were written; old files have no checksum.
void check_not_damaged(SafetensorsFile &file, const std::string &text, const Json &json) {
  if (!json.has("sha256"))
    return;
  const std::string &sum = json.at("sha256").as_string();
  if (file.sha256_after(without_checksum(text, sum)) != sum)
    throw std::runtime_error("damaged: its weights or metadata are not those that were written "
                             "(checksum sha256); copy the file again, or train again with the "
                             "same command, which keeps finished members");
}

} // namespace

Model::Model(const std::string &path) {
  SafetensorsFile file(path);
  const auto text = file.metadata().find("alrare");
  if (text == file.metadata().end())
    throw std::runtime_error("model file '" + path +
                             "': a safetensors file without alrare's metadata");
  try {
    const Json json = Json::parse(text->second);
    check_not_damaged(file, text->second, json);
    metadata_ = parse_metadata(text->second);
    if (metadata_.family != "ani")
      throw std::runtime_error(
          "the native engine evaluates ANI networks, and these are of family " + metadata_.family +
          ": give the TorchScript export beside it (ensemble.pt)");
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
  descriptor_ = DescriptorTables({positive(json, "radial_cutoff"), positive(json, "angular_cutoff"),
                                  positive(json, "radial_eta"), positive(json, "angular_eta"),
                                  positive(json, "zeta"), numbers(json, "radial_shifts"),
                                  numbers(json, "angular_shifts"), numbers(json, "angle_sections")},
                                 n_elements());
  if (static_cast<float>(metadata_.cutoff) != tables().radial_cutoff ||
      static_cast<float>(metadata_.angular_cutoff) != tables().angular_cutoff)
    refuse("cutoff and angular_cutoff", "those of aev");
}

void Model::read_element(SafetensorsFile &file, const Json &json, int element) {
  const std::string &symbol = metadata_.elements[static_cast<std::size_t>(element)];
  std::vector<int> sizes{static_cast<int>(feature_places().size())};
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
  std::vector<int> widths{tables().features}; // padded
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
          weight[packed(o, l == 0 ? feature_places()[static_cast<std::size_t>(i)] : i, widths[l])] =
              *value++;
        bias[o] =
            biases[l][m * static_cast<std::size_t>(sizes[l + 1]) + static_cast<std::size_t>(o)];
      }
      layers_[at].push_back({widths[l], widths[l + 1], weight, bias});
    }
    float *const last = arena.take(static_cast<std::size_t>(widths.back()));
    for (int i = 0; i < sizes[n_layers - 1]; ++i)
      last[n_layers == 1 ? feature_places()[static_cast<std::size_t>(i)] : i] =
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
    sizes_.widest = std::max(sizes_.widest, widths[l]);
  }
  sizes_.slopes = std::max(sizes_.slopes, hidden);
  sizes_.linear = sizes_.linear || n_layers == 1;
}

} // namespace alrare::native
