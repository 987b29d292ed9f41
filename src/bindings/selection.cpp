// SPDX-License-Identifier: GPL-2.0-or-later
//
// alrare._core.Selection: the criterion of fix al_select.
#include "selection/selection.h"
#include "bindings/bindings.h"

#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace py = pybind11;

namespace {

using alrare::Selection;

Selection make(std::optional<double> threshold, std::optional<double> relative,
               std::optional<double> relative_floor, std::int64_t screening_steps, double sigma,
               double energy_gap, double cv_gap, std::int64_t gap_steps, std::int64_t max_per_run,
               std::optional<double> upper, std::optional<double> upper_sigma) {
  alrare::SelectionSettings settings;
  settings.threshold = threshold;
  settings.relative = relative;
  settings.relative_floor = relative_floor.value_or(0.0);
  settings.screening_steps = screening_steps;
  settings.sigma = sigma;
  settings.energy_gap = energy_gap;
  settings.cv_gap = cv_gap;
  settings.gap_steps = gap_steps;
  settings.max_per_run = max_per_run;
  settings.upper = upper;
  settings.upper_sigma = upper_sigma;
  return Selection(settings);
}

std::string judge(Selection &selection, double uncertainty, double energy, double cv,
                  std::int64_t step, std::optional<double> size,
                  const std::function<bool()> &geometry_is_sound) {
  return alrare::name_of(selection.judge({uncertainty, energy, cv, step, size}, geometry_is_sound));
}

} // namespace

void alrare::bind_selection(py::module_ &module) {
  const alrare::SelectionSettings usual;
  py::class_<Selection>(
      module, "Selection",
      "The criterion of fix al_select: configurations pass through it one by one.\n\n"
      "threshold: fixed; relative, relative_floor: threshold = relative * max(size,\n"
      "relative_floor); screening_steps, sigma: of the adaptive threshold, when neither is given;\n"
      "the others as docs/fix_al_select.md has them.")
      .def(py::init(&make), py::kw_only(), py::arg("threshold") = py::none(),
           py::arg("relative") = py::none(), py::arg("relative_floor") = py::none(),
           py::arg("screening_steps") = usual.screening_steps, py::arg("sigma") = usual.sigma,
           py::arg("energy_gap") = usual.energy_gap, py::arg("cv_gap") = usual.cv_gap,
           py::arg("gap_steps") = usual.gap_steps, py::arg("max_per_run") = usual.max_per_run,
           py::arg("upper") = py::none(), py::arg("upper_sigma") = py::none())
      .def(
          "judge", &judge, py::arg("uncertainty"), py::arg("energy"), py::kw_only(),
          py::arg("cv") = 0.0, py::arg("step") = 0, py::arg("size") = py::none(),
          py::arg("geometry_is_sound"),
          "Verdict on the next configuration: screening, below, unphysical, too_similar, over_cap\n"
          "or selected. geometry_is_sound() is called only above the threshold.")
      .def_property_readonly("threshold", &Selection::threshold, "None while screening.")
      .def_property_readonly("mean", &Selection::mean)
      .def_property_readonly("std", &Selection::std)
      .def_property_readonly("selected", &Selection::selected)
      .def_property_readonly("above", &Selection::above)
      .def_property_readonly("too_similar", &Selection::too_similar)
      .def_property_readonly("unphysical", &Selection::unphysical)
      .def_property_readonly("full", &Selection::full);
}
