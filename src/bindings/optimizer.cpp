// SPDX-License-Identifier: GPL-2.0-or-later
//
// alrare._core, the part that changes weights: matrix products and steps of SOAP on numpy arrays.
#include "bindings/bindings.h"
#include "nnp/native/kernels/instruction_set.h"
#include "nnp/native/training/matrix_product.h"
#include "nnp/native/training/soap_step.h"

#include <pybind11/stl.h>

#include <array>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace py = pybind11;

namespace {

using alrare::native::AdamFactors;
using alrare::native::MatrixProduct;
using alrare::native::MatrixView;
using alrare::native::SoapMatrix;
using alrare::native::SoapRates;
using alrare::native::SoapStep;

/// An array that is changed in place: neither converted nor copied.
using Changed = py::array_t<float>;
using alrare::Floats;

constexpr float adam_epsilon = 1e-8f; // as EPSILON in python/alrare/training/optimizer.py

using Betas = std::array<double, 2>;

float single(double value) { return static_cast<float>(value); }

AdamFactors adam_factors(const Betas &betas, int step) {
  return {single(1.0 - betas[0]), single(1.0 - betas[1]),
          single(1.0 / (1.0 - std::pow(betas[0], step))),
          single(1.0 / std::sqrt(1.0 - std::pow(betas[1], step))), adam_epsilon};
}

MatrixView view(const py::array_t<float> &matrix) {
  if (matrix.ndim() != 2)
    throw std::invalid_argument("a factor must have shape (rows, columns)");
  constexpr auto bytes = static_cast<py::ssize_t>(sizeof(float));
  return {matrix.data(), static_cast<int>(matrix.shape(0)), static_cast<int>(matrix.shape(1)),
          matrix.strides(0) / bytes, matrix.strides(1) / bytes};
}

py::array_t<float> multiply(MatrixProduct &product, const py::array_t<float> &left,
                            const py::array_t<float> &right) {
  const MatrixView a = view(left), b = view(right);
  py::array_t<float> out({left.shape(0), right.shape(1)});
  float *const to = out.mutable_data();
  const py::gil_scoped_release release;
  product.multiply(a, b, to);
  return out;
}

void require(const py::array &array, const char *name, py::ssize_t rows, py::ssize_t columns) {
  const bool plain = (array.flags() & py::array::c_style) != 0;
  if (array.ndim() != 2 || array.shape(0) != rows || array.shape(1) != columns || !plain)
    throw std::invalid_argument(std::string(name) + " must be a contiguous array of shape (" +
                                std::to_string(rows) + ", " + std::to_string(columns) + ")");
}

void take(SoapStep &soap, Changed weight, const Floats &gradient, Changed first, Changed second,
          Changed left, Changed right, const Floats &base_left, const Floats &base_right,
          const std::optional<Floats> &goal, double rate, double weight_decay, double share,
          const Betas &betas, int step) {
  if (weight.ndim() != 2)
    throw std::invalid_argument("weight must have shape (rows, columns)");
  const py::ssize_t rows = weight.shape(0), columns = weight.shape(1);
  require(weight, "weight", rows, columns);
  require(gradient, "gradient", rows, columns);
  require(first, "first", rows, columns);
  require(second, "second", rows, columns);
  require(left, "left", rows, rows);
  require(right, "right", columns, columns);
  require(base_left, "base_left", rows, rows);
  require(base_right, "base_right", columns, columns);
  if (goal)
    require(*goal, "goal", rows, columns);
  const SoapMatrix matrix{static_cast<int>(rows), static_cast<int>(columns),
                          weight.mutable_data(),  first.mutable_data(),
                          second.mutable_data(),  left.mutable_data(),
                          right.mutable_data(),   base_left.data(),
                          base_right.data(),      goal ? goal->data() : nullptr};
  const SoapRates rates{single(rate), single(rate * weight_decay), single(share),
                        adam_factors(betas, step)};
  const float *const from = gradient.data();
  const py::gil_scoped_release release;
  soap.take(matrix, from, rates);
}

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
  alrare::native::find_kernels("auto").training.adam(adam_factors(betas, step), gradient.data(),
                                                     first.mutable_data(), second.mutable_data(),
                                                     direction.data(), count);
  const auto kept = static_cast<float>(1.0 - rate * weight_decay);
  const auto by = static_cast<float>(rate);
  float *const out = parameter.mutable_data();
  for (std::size_t k = 0; k < direction.size(); ++k)
    out[k] = out[k] * kept - direction[k] * by;
}

} // namespace

void alrare::bind_optimizer(py::module_ &module) {
  py::class_<MatrixProduct>(
      module, "MatrixProduct",
      "Products of matrices on one thread; keeps its memory between calls; not for two threads\n"
      "at a time.")
      .def(py::init<const std::string &>(), py::kw_only(), py::arg("instruction_set") = "auto")
      .def("multiply", &multiply, py::arg("left"), py::arg("right"),
           "The product (M, N) of two float32 matrices (M, K) and (K, N), which may be transposed\n"
           "views.");
  module.def("adam_step", &adam_step, py::arg("parameter").noconvert(), py::kw_only(),
             py::arg("gradient"), py::arg("first").noconvert(), py::arg("second").noconvert(),
             py::arg("rate"), py::arg("weight_decay"), py::arg("betas"), py::arg("step"),
             "Change a parameter and its two moments by a gradient of float32, all of one size;\n"
             "step counts from 1.");
  py::class_<SoapStep>(
      module, "SoapStep",
      "Steps of SOAP for weight matrices, on one thread; keeps its memory between calls; not for\n"
      "two threads at a time.")
      .def(py::init<const std::string &>(), py::kw_only(), py::arg("instruction_set") = "auto")
      .def("take", &take, py::arg("weight").noconvert(), py::kw_only(), py::arg("gradient"),
           py::arg("first").noconvert(), py::arg("second").noconvert(), py::arg("left").noconvert(),
           py::arg("right").noconvert(), py::arg("base_left"), py::arg("base_right"),
           py::arg("goal"), py::arg("rate"), py::arg("weight_decay"), py::arg("share"),
           py::arg("betas"), py::arg("step"),
           "Change the weight (R, C) and its moments (R, C) by a gradient (R, C) of float32; left\n"
           "(R, R) and right (C, C) are the running means, which take it with the given share;\n"
           "step counts from 1.");
}
