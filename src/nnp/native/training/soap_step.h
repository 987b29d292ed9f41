// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_TRAINING_SOAP_STEP_H
#define ALRARE_NNP_NATIVE_TRAINING_SOAP_STEP_H

#include "nnp/native/training/matrix_product.h"

#include <string>
#include <vector>

namespace alrare::native {

/// A weight matrix with what SOAP keeps of it; all arrays are row-major.
struct SoapMatrix {
  int rows, columns;
  float *weight;           ///< (rows, columns)
  float *first, *second;   ///< (rows, columns): moments in the eigenbases
  float *left;             ///< (rows, rows): running mean of G G^T
  float *right;            ///< (columns, columns): that of G^T G
  const float *base_left;  ///< (rows, rows): eigenvectors in columns
  const float *base_right; ///< (columns, columns)
  const float *goal;       ///< (rows, columns) what the weights decay toward; null: zero
};

/// Numbers of one step.
struct SoapRates {
  float rate;
  float decay; ///< rate times weight decay
  float share; ///< of this gradient in the running means; 0 leaves them
  AdamFactors adam;
};

/// Steps of SOAP for weight matrices (derivation: python/alrare/training/optimizer.py), without the
/// refreshment of the bases; keeps its memory between calls.
class SoapStep {
public:
  explicit SoapStep(const std::string &instruction_set = "auto");

  void take(const SoapMatrix &matrix, const float *gradient, const SoapRates &rates);

private:
  const Kernels &kernels_;
  MatrixProduct product_;
  std::vector<float> half_, rotated_, direction_;
};

} // namespace alrare::native

#endif
