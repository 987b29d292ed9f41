// SPDX-License-Identifier: GPL-2.0-or-later
//
// alrare._core, the part that changes weights: Adam and SOAP on numpy arrays.
#include "bindings/bindings.h"
#include "nnp/native/kernels/instruction_set.h"
#include "nnp/native/training/soap.h"

#include <pybind11/stl.h>

#include <array>
#include <cmath>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

namespace py = pybind11;

namespace {

using alrare::native::Soap;
using alrare::native::SoapParameter;
using alrare::native::SoapSettings;

/// An array that is changed in place: neither converted nor copied.
using Changed = py::array_t<float>;
using alrare::Floats;

using Betas = std::array<double, 2>;

bool is_plain(const py::array &array) { return (array.flags() & py::array::c_style) != 0; }

void require_size(const py::array &array, const char *name, py::ssize_t count) {
  if (array.size() != count || !is_plain(array))
    throw std::invalid_argument(std::string(name) + " must be contiguous and have " +
                                std::to_string(count) + " values, got " +
                                std::to_string(array.size()));
}

/// The optimizer, and the arrays that it changes.
class HeldSoap {
public:
  HeldSoap(std::vector<Changed> weights, std::vector<Floats> goals, const SoapSettings &settings,
           const std::string &instruction_set)
      : weights_(std::move(weights)), goals_(std::move(goals)),
        soap_(parameters(), settings, instruction_set) {}

  void begin(std::size_t number, const Floats &left, const Floats &right) {
    const std::vector<SoapParameter> &all = soap_.parameters();
    if (number >= all.size() || !all[number].is_matrix())
      throw std::invalid_argument("there is no matrix " + std::to_string(number));
    const py::ssize_t rows = all[number].rows, columns = all[number].columns;
    require_size(left, "left", rows * rows);
    require_size(right, "right", columns * columns);
    soap_.begin(number, left.data(), right.data());
  }

  void step(const std::vector<Floats> &gradients, double rate) {
    std::vector<const float *> from;
    for (std::size_t k = 0; k < gradients.size() && k < weights_.size(); ++k)
      require_size(gradients[k], "a gradient", weights_[k].size());
    from.reserve(gradients.size());
    for (const Floats &gradient : gradients)
      from.push_back(gradient.data());
    const py::gil_scoped_release release;
    soap_.step(from, rate);
  }

private:
  std::vector<SoapParameter> parameters() {
    if (!goals_.empty() && goals_.size() != weights_.size())
      throw std::invalid_argument("expected one goal per parameter");
    std::vector<SoapParameter> out;
    for (std::size_t k = 0; k < weights_.size(); ++k) {
      Changed &weight = weights_[k];
      if (weight.ndim() < 1 || weight.ndim() > 2 || !is_plain(weight))
        throw std::invalid_argument("a parameter must be contiguous and of one or two dimensions");
      if (!goals_.empty())
        require_size(goals_[k], "a goal", weight.size());
      const auto columns = static_cast<int>(weight.shape(weight.ndim() - 1));
      out.push_back({weight.ndim() == 2 ? static_cast<int>(weight.shape(0)) : 1, columns,
                     weight.mutable_data(), goals_.empty() ? nullptr : goals_[k].data()});
    }
    return out;
  }

  std::vector<Changed> weights_;
  std::vector<Floats> goals_;
  Soap soap_;
};

void adam_step(Changed parameter, const Floats &gradient, Changed first, Changed second,
               double rate, double weight_decay, const Betas &betas, int step) {
  const py::ssize_t count = parameter.size();
  for (const py::array *array :
       std::initializer_list<const py::array *>{&parameter, &gradient, &first, &second})
    if (array->size() != count || (array->flags() & py::array::c_style) == 0)
      throw std::invalid_argument("parameter, gradient, first and second must be contiguous and "
                                  "of one size");
  static thread_local std::vector<float> direction;
  direction.resize(static_cast<std::size_t>(count));
  alrare::native::find_kernels("auto").training.adam(
      alrare::native::adam_factors(betas, step), gradient.data(), first.mutable_data(),
      second.mutable_data(), direction.data(), count);
  const auto kept = static_cast<float>(1.0 - rate * weight_decay);
  const auto by = static_cast<float>(rate);
  float *const out = parameter.mutable_data();
  for (std::size_t k = 0; k < direction.size(); ++k)
    out[k] = out[k] * kept - direction[k] * by;
}

} // namespace

void alrare::bind_optimizer(py::module_ &module) {
  module.def("adam_step", &adam_step, py::arg("parameter").noconvert(), py::kw_only(),
             py::arg("gradient"), py::arg("first").noconvert(), py::arg("second").noconvert(),
             py::arg("rate"), py::arg("weight_decay"), py::arg("betas"), py::arg("step"),
             "Change a parameter and its two moments by a gradient of float32, all of one size;\n"
             "step counts from 1.");
  py::class_<HeldSoap>(
      module, "Soap",
      "SOAP for the matrices of `parameters`, Adam for the vectors; keeps the arrays, which it\n"
      "changes in place. One thread; see alrare.training.optimizer. An empty list of goals means\n"
      "zero.")
      .def(py::init([](std::vector<Changed> parameters, std::vector<Floats> goals,
                       const Betas &betas, double weight_decay, int refresh, int statistics,
                       double clip, const std::string &instruction_set) {
             if (refresh < 1 || statistics < 1)
               throw std::invalid_argument("refresh and statistics must be at least 1");
             return HeldSoap(std::move(parameters), std::move(goals),
                             {betas, weight_decay, refresh, statistics, clip}, instruction_set);
           }),
           py::arg("parameters").noconvert(), py::kw_only(), py::arg("goals"), py::arg("betas"),
           py::arg("weight_decay"), py::arg("refresh"), py::arg("statistics"), py::arg("clip"),
           py::arg("instruction_set") = "auto")
      .def("begin", &HeldSoap::begin, py::arg("parameter"), py::arg("left"), py::arg("right"),
           "Set the first bases of a parameter that is a matrix, by its number: the rows of left\n"
           "(R, R) and right (C, C).")
      .def("step", &HeldSoap::step, py::arg("gradients"), py::arg("rate"),
           "Take one step by gradients in the order and of the shapes of the parameters. The\n"
           "first leaves the matrices, whose bases come from it.");
}
