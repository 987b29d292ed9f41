// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/file/ani_file.h"

#include "nnp/file/json.h"
#include "nnp/file/safetensors.h"

#include <cstddef>
#include <stdexcept>

namespace alrare {

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

AevConstants read_constants(const Json &json, const Metadata &model) {
  AevConstants out{positive(json, "radial_cutoff"), positive(json, "angular_cutoff"),
                   positive(json, "radial_eta"),    positive(json, "angular_eta"),
                   positive(json, "zeta"),          numbers(json, "radial_shifts"),
                   numbers(json, "angular_shifts"), numbers(json, "angle_sections")};
  out.check(static_cast<int>(model.elements.size()));
  if (static_cast<float>(model.cutoff) != static_cast<float>(out.radial_cutoff) ||
      static_cast<float>(model.angular_cutoff) != static_cast<float>(out.angular_cutoff))
    refuse("cutoff and angular_cutoff", "those of aev");
  return out;
}

void read_activation(const Json &json, AniFile &out) {
  const std::string &activation = json.at("activation").as_string();
  if (activation != "gelu" && activation != "celu")
    refuse("activation", "gelu or celu, got " + activation);
  out.gelu = activation == "gelu";
  if (json.has("celu_alpha"))
    out.celu_alpha = positive(json, "celu_alpha");
}

ElementNetworks read_element(SafetensorsFile &file, const Json &json, const std::string &symbol,
                             const AniFile &model) {
  ElementNetworks out;
  const int members = model.metadata.members;
  out.sizes = {model.constants.features(static_cast<int>(model.metadata.elements.size()))};
  for (const Json &width : json.at("hidden").at(symbol).as_array()) {
    out.sizes.push_back(width.as_int());
    if (out.sizes.back() < 1 || out.sizes.back() > max_width || out.sizes.size() > 64)
      refuse("hidden", "up to 63 widths from 1 to 65536 for " + symbol);
  }
  out.sizes.push_back(1);
  // shapes are checked before memory is taken: what is taken then fits what the file holds
  for (std::size_t l = 0; l + 1 < out.sizes.size(); ++l) {
    const std::string name = symbol + "." + std::to_string(l);
    out.weights.push_back(file.read(name + ".weight", {members, out.sizes[l + 1], out.sizes[l]}));
    out.biases.push_back(file.read(name + ".bias", {members, out.sizes[l + 1]}));
  }
  return out;
}

AniFile read_all(SafetensorsFile &file, const std::string &text) {
  const Json json = Json::parse(text);
  check_not_damaged(file, text, json);
  AniFile out;
  out.metadata = parse_metadata(text);
  if (out.metadata.family != "ani")
    throw std::runtime_error("the native engine evaluates ANI networks, and these are of family " +
                             out.metadata.family +
                             ": give the TorchScript export beside it (ensemble.pt)");
  if (out.metadata.members > 1024)
    refuse("members", "<= 1024");
  out.constants = read_constants(json.at("aev"), out.metadata);
  for (const Json &value : json.at("self_energies").as_array())
    out.self_energies.push_back(value.as_number());
  if (out.self_energies.size() != out.metadata.elements.size())
    refuse("self_energies", "one number per element");
  read_activation(json, out);
  for (const std::string &symbol : out.metadata.elements)
    out.networks.push_back(read_element(file, json, symbol, out));
  return out;
}

} // namespace

AniFile read_ani_file(const std::string &path) {
  SafetensorsFile file(path);
  const auto text = file.metadata().find("alrare");
  if (text == file.metadata().end())
    throw std::runtime_error("model file '" + path +
                             "': a safetensors file without alrare's metadata");
  try {
    return read_all(file, text->second);
  } catch (const std::runtime_error &error) {
    const std::string why = error.what();
    throw std::runtime_error(why.rfind("model file", 0) == 0 ? why
                                                             : "model file '" + path + "': " + why);
  }
}

} // namespace alrare
