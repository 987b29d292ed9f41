// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/file/metadata.h"

#include "nnp/file/json.h"

#include <set>
#include <stdexcept>

namespace alrare {

namespace {

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

void check_format(const Json &json) {
  if (!json.is_object() || !json.has("format") ||
      json.at("format").as_string() != "alrare-ensemble")
    throw std::runtime_error("model metadata: this is not an alrare ensemble (expected "
                             "\"format\": \"alrare-ensemble\")");
  const int version = json.at("format_version").as_int();
  if (version != 1)
    throw std::runtime_error("model metadata: format version " + std::to_string(version) +
                             " is not known here (expected 1); export the model again with the "
                             "alrare that runs, or update the plugin");
  if (json.has("units")) {
    const Json &units = json.at("units");
    if (units.at("length").as_string() != "angstrom" || units.at("energy").as_string() != "eV")
      refuse("units", "angstrom and eV",
             units.at("length").as_string() + " and " + units.at("energy").as_string());
  }
}

} // namespace

Metadata parse_metadata(const std::string &json_text) {
  const Json json = Json::parse(json_text);
  check_format(json);

  Metadata out;
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

  if (json.has("dtype")) {
    const std::string &dtype = json.at("dtype").as_string();
    if (dtype != "float32" && dtype != "float64")
      refuse("dtype", "float32 or float64", dtype);
    out.double_precision = dtype == "float64";
  }
  if (json.has("alrare_version"))
    out.alrare_version = json.at("alrare_version").as_string();
  if (json.has("calibration"))
    read_calibration(json.at("calibration"), out);
  return out;
}

} // namespace alrare
