// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/cuda/ani_descriptor.h"

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

namespace alrare::cuda {

namespace {

int copy_terms(const char *name, const std::vector<double> &from, float *to) {
  if (from.size() > max_terms)
    throw std::runtime_error("on a GPU the descriptor may have up to " + std::to_string(max_terms) +
                             " " + name + ", and this one has " + std::to_string(from.size()) +
                             ": use device cpu, or the ensemble.pt");
  for (std::size_t k = 0; k < from.size(); ++k)
    to[k] = static_cast<float>(from[k]);
  return static_cast<int>(from.size());
}

} // namespace

AniConstants kernel_constants(const AevConstants &constants, int n_elements) {
  AniConstants out{};
  out.radial_cutoff = static_cast<float>(constants.radial_cutoff);
  out.angular_cutoff = static_cast<float>(constants.angular_cutoff);
  out.radial_eta = static_cast<float>(constants.radial_eta);
  out.angular_eta = static_cast<float>(constants.angular_eta);
  out.zeta = static_cast<float>(constants.zeta);
  out.n_species = n_elements;
  out.n_radial = copy_terms("radial_shifts", constants.radial_shifts, out.radial_shifts);
  out.n_shifts = copy_terms("angular_shifts", constants.angular_shifts, out.angular_shifts);
  std::vector<double> cosines, sines;
  for (const double angle : constants.angle_sections) {
    cosines.push_back(std::cos(angle));
    sines.push_back(std::sin(angle));
  }
  out.n_sections = copy_terms("angle_sections", cosines, out.section_cos);
  copy_terms("angle_sections", sines, out.section_sin);
  return out;
}

} // namespace alrare::cuda
