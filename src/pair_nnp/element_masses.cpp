// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/element_masses.h"

#include <cmath>
#include <map>

namespace alrare {

namespace {

constexpr double tolerance = 0.02; // of a mass: isotopes of another kind differ by more

/// Standard atomic weights, g/mol (IUPAC 2016), to four digits; mass numbers where there is none.
const std::map<std::string, double> &masses() {
  static const std::map<std::string, double> table = {
      {"H", 1.008},  {"He", 4.003}, {"Li", 6.94},  {"Be", 9.012}, {"B", 10.81},  {"C", 12.01},
      {"N", 14.01},  {"O", 16},     {"F", 19},     {"Ne", 20.18}, {"Na", 22.99}, {"Mg", 24.3},
      {"Al", 26.98}, {"Si", 28.09}, {"P", 30.97},  {"S", 32.06},  {"Cl", 35.45}, {"Ar", 39.95},
      {"K", 39.1},   {"Ca", 40.08}, {"Sc", 44.96}, {"Ti", 47.87}, {"V", 50.94},  {"Cr", 52},
      {"Mn", 54.94}, {"Fe", 55.84}, {"Co", 58.93}, {"Ni", 58.69}, {"Cu", 63.55}, {"Zn", 65.38},
      {"Ga", 69.72}, {"Ge", 72.63}, {"As", 74.92}, {"Se", 78.97}, {"Br", 79.9},  {"Kr", 83.8},
      {"Rb", 85.47}, {"Sr", 87.62}, {"Y", 88.91},  {"Zr", 91.22}, {"Nb", 92.91}, {"Mo", 95.95},
      {"Tc", 97.91}, {"Ru", 101.1}, {"Rh", 102.9}, {"Pd", 106.4}, {"Ag", 107.9}, {"Cd", 112.4},
      {"In", 114.8}, {"Sn", 118.7}, {"Sb", 121.8}, {"Te", 127.6}, {"I", 126.9},  {"Xe", 131.3},
      {"Cs", 132.9}, {"Ba", 137.3}, {"La", 138.9}, {"Ce", 140.1}, {"Pr", 140.9}, {"Nd", 144.2},
      {"Pm", 144.9}, {"Sm", 150.4}, {"Eu", 152},   {"Gd", 157.2}, {"Tb", 158.9}, {"Dy", 162.5},
      {"Ho", 164.9}, {"Er", 167.3}, {"Tm", 168.9}, {"Yb", 173.1}, {"Lu", 175},   {"Hf", 178.5},
      {"Ta", 180.9}, {"W", 183.8},  {"Re", 186.2}, {"Os", 190.2}, {"Ir", 192.2}, {"Pt", 195.1},
      {"Au", 197},   {"Hg", 200.6}, {"Tl", 204.4}, {"Pb", 207.2}, {"Bi", 209},   {"Po", 209},
      {"At", 210},   {"Rn", 222},   {"Fr", 223},   {"Ra", 226},   {"Ac", 227},   {"Th", 232},
      {"Pa", 231},   {"U", 238},    {"Np", 237},   {"Pu", 244},   {"Am", 243},   {"Cm", 247},
      {"Bk", 247},   {"Cf", 251},   {"Es", 252},   {"Fm", 257},   {"Md", 258},   {"No", 259},
      {"Lr", 262}};
  return table;
}

bool has_mass(const std::string &element, double mass) {
  const auto found = masses().find(element);
  return found != masses().end() && std::abs(mass - found->second) < tolerance * found->second;
}

} // namespace

bool is_element(const std::string &text) { return masses().count(text) != 0; }

std::string element_of_mass(const std::string &element, double mass,
                            const std::vector<std::string> &elements) {
  if (has_mass(element, mass))
    return "";
  for (const std::string &other : elements)
    if (has_mass(other, mass))
      return other;
  return "";
}

} // namespace alrare
