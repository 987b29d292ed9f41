// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/file/metadata.h"

#include "nnp/file/json.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>
#include <stdexcept>

namespace alrare {

namespace {

constexpr int max_shells = 100; // a receptive field of 1e300 Å is no number of shells

[[noreturn]] void refuse(const std::string &key, const std::string &rule, const std::string &got) {
  throw std::runtime_error("model metadata: " + key + " must be " + rule + ", got " + got);
}

double length(const Json &json, const std::string &key) {
  const double value = json.at(key).as_number();
  if (value < 0.0)
    refuse(key, ">= 0", std::to_string(value));
  return value;
}

void read_calibration(const Json &calibration, Metadata &out) {
  if (calibration.kind() == Json::Kind::null)
    return;
  out.energy_calibration = calibration.at("energy").as_number();
  out.force_calibration = calibration.at("force").as_number();
  if (out.energy_calibration <= 0.0 || out.force_calibration <= 0.0)
    refuse("calibration", "two factors > 0",
           std::to_string(out.energy_calibration) + " and " +
               std::to_string(out.force_calibration));
}

/// Checks what kind of file this is; returns the format version.
int check_format(const Json &json) {
  if (!json.is_object() || !json.has("format") ||
      json.at("format").as_string() != "alrare-ensemble")
    throw std::runtime_error("model metadata: this is not an alrare ensemble (expected "
                             "\"format\": \"alrare-ensemble\")");
  const int version = json.at("format_version").as_int();
  if (version != 1 && version != 2)
    throw std::runtime_error(
        "model metadata: format version " + std::to_string(version) +
        " is not known here (expected 1 or 2); export the model again with the "
        "alrare that runs, or update the plugin");
  if (json.has("units")) {
    const Json &units = json.at("units");
    if (units.at("length").as_string() != "angstrom" || units.at("energy").as_string() != "eV")
      refuse("units", "angstrom and eV",
             units.at("length").as_string() + " and " + units.at("energy").as_string());
  }
  return version;
}

/// An atom's energy sees no further than its messages travel, and in version 1 there are none.
void check_receptive_field(const Metadata &model) {
  std::ostringstream text;
  if (model.format_version == 1 && model.receptive_field > model.cutoff)
    text << "at most the cutoff, " << model.cutoff
         << ", in format version 1 (models that pass messages between atoms need version 2)";
  if (model.format_version == 2 && model.receptive_field < model.cutoff)
    text << "at least the cutoff, " << model.cutoff;
  if (model.message_shells() >= max_shells)
    text << "less than " << max_shells << " cutoffs";
  if (text.str().empty())
    return;
  std::ostringstream got;
  got << model.receptive_field;
  refuse("receptive_field", text.str(), got.str());
}

} // namespace

int Metadata::message_shells() const {
  if (!(receptive_field > cutoff))
    return 0;
  // 15.0 of 5.0 are two shells, whatever the last digit
  const double shells = std::ceil(receptive_field / cutoff - 1e-6) - 1.0;
  return static_cast<int>(std::clamp(shells, 0.0, static_cast<double>(max_shells)));
}

Metadata parse_metadata(const std::string &json_text) {
  const Json json = Json::parse(json_text);
  Metadata out;
  out.format_version = check_format(json);
  for (const Json &element : json.at("elements").as_array())
    out.elements.push_back(element.as_string());
  const std::set<std::string> different(out.elements.begin(), out.elements.end());
  if (out.elements.empty() || different.size() != out.elements.size())
    refuse("elements", "a list of different symbols",
           std::to_string(out.elements.size()) + " entries");

  out.members = json.at("members").as_int();
  if (out.members < 1)
    refuse("members", ">= 1", std::to_string(out.members));
  out.best_member = json.at("best_member").as_int();
  if (out.best_member < 0 || out.best_member >= out.members)
    refuse("best_member", "in 0..members-1", std::to_string(out.best_member));

  out.cutoff = length(json, "cutoff");
  if (out.cutoff <= 0.0)
    refuse("cutoff", "> 0", std::to_string(out.cutoff));
  out.angular_cutoff = length(json, "angular_cutoff");
  if (out.angular_cutoff > out.cutoff)
    refuse("angular_cutoff", "<= cutoff", std::to_string(out.angular_cutoff));
  out.receptive_field = length(json, "receptive_field");
  check_receptive_field(out);

  if (json.has("dtype")) {
    const std::string &dtype = json.at("dtype").as_string();
    if (dtype != "float32" && dtype != "float64")
      refuse("dtype", "float32 or float64", dtype);
    out.double_precision = dtype == "float64";
  }
  if (json.has("family"))
    out.family = json.at("family").as_string();
  if (json.has("alrare_version"))
    out.alrare_version = json.at("alrare_version").as_string();
  if (json.has("calibration"))
    read_calibration(json.at("calibration"), out);
  return out;
}

} // namespace alrare
