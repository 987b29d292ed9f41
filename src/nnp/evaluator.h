// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_EVALUATOR_H
#define ALRARE_NNP_EVALUATOR_H

#include "nnp/file/metadata.h"
#include "nnp/neighborhood.h"

#include <memory>
#include <string>
#include <vector>

namespace alrare {

/// What one evaluation gives.
struct Evaluation {
  std::vector<double> member_energies; ///< (M) eV, self energies included, local centers only
  std::vector<double> gradient;        ///< (E, 3) d(sum_m w_m E_m)/d vec, eV/Å
};

/// What an evaluation from a neighbor list gives.
struct ListEvaluation {
  std::vector<double> member_energies; ///< as in Evaluation
  /// Of the weighted sum, or of each member: forces (N, 3) on the caller's atoms, eV/Å.
  std::vector<std::vector<double>> forces;
  /// Valid until the next call; it may have no edges, but n_local, atom and species.
  const Neighborhood *centers = nullptr;
};

/// An engine that sums forces where it computes them, in place of a gradient by the edges.
class ListEvaluator {
public:
  virtual ~ListEvaluator() = default;

  /// Members `first`, first + 1, ..., one for each weight. Where one weight alone is not zero, the
  /// forces of that member are those of evaluate_one(), to the last bit.
  ///
  /// \param new_list  whether the list may be another one than that of the last call
  /// \param each      forces of each member, not of the weighted sum
  /// 	hrows std::runtime_error as NeighborhoodBuilder::build and Evaluator::evaluate
  virtual void evaluate_list(const NeighborList &list, bool new_list, int first,
                             const std::vector<double> &weights, bool each,
                             ListEvaluation &out) = 0;
};

/// An ensemble ready to be evaluated, whatever computes it.
///
/// The seam between the adapters and the engines. Not safe for concurrent use.
class Evaluator {
public:
  virtual ~Evaluator() = default;

  virtual const Metadata &metadata() const = 0;

  /// The engine and where it runs, for the log: "TorchScript on cpu".
  virtual std::string description() const = 0;

  /// Energies of all members and the gradient of their weighted sum.
  ///
  /// \param neighborhood  edges within the cutoff; may have no center and no edge
  /// \param weights       (M) one per member: 1/M each for the mean, a unit vector for one
  /// \param out           resized to fit
  /// \throws std::runtime_error when the engine fails.
  virtual void evaluate(const Neighborhood &neighborhood, const std::vector<double> &weights,
                        Evaluation &out) = 0;

  /// One member alone: `out.member_energies` has one entry, the gradient is that of this member.
  ///
  /// The numbers are those that evaluate() gives with a unit vector as weights, to the last bit.
  /// An engine that can leave out the other members overrides this.
  virtual void evaluate_one(const Neighborhood &neighborhood, int member, Evaluation &out) {
    std::vector<double> weights(static_cast<std::size_t>(metadata().members), 0.0);
    weights.at(static_cast<std::size_t>(member)) = 1.0;
    evaluate(neighborhood, weights, out);
    out.member_energies = {out.member_energies[static_cast<std::size_t>(member)]};
  }

  /// Energies of all members and the gradient of each, `gradients[m]` = (E, 3).
  ///
  /// One evaluation per member here; an engine that can do better overrides this.
  ///
  /// \param driver  the member that drives the run, -1 if none does alone: its gradient is that of
  ///                evaluate_one(), to the last bit
  virtual void evaluate_members(const Neighborhood &neighborhood, int /*driver*/,
                                std::vector<double> &member_energies,
                                std::vector<std::vector<double>> &gradients) {
    const auto members = static_cast<std::size_t>(metadata().members);
    gradients.resize(members);
    Evaluation one;
    for (std::size_t m = 0; m < members; ++m) {
      std::vector<double> weights(members, 0.0);
      weights[m] = 1.0;
      evaluate(neighborhood, weights, one);
      gradients[m] = one.gradient;
    }
    member_energies = one.member_energies;
  }

  /// The engine's own way from a neighbor list to forces; null where it has none.
  ///
  /// \param each  forces of each member are wanted, not of the weighted sum alone
  virtual ListEvaluator *list_evaluator(bool /*each*/) { return nullptr; }

  /// Whether the engine reads `Neighborhood::triples`; one that finds them itself says no.
  virtual bool needs_triples() const { return true; }

  /// Energies of each member and center of the last evaluation in eV, without self_energy():
  /// [member * n_local + center]. Null when the engine has only sums over centers.
  virtual const std::vector<double> *center_energies() const { return nullptr; }

  /// Whether there are such energies; center_energies() may have to fetch them.
  virtual bool has_center_energies() const { return center_energies() != nullptr; }

  /// What a center of this species has beside center_energies(), eV.
  virtual double self_energy(int /*species*/) const { return 0.0; }
};

/// How an ensemble file is opened.
struct OpenOptions {
  std::string engine = "auto"; ///< auto | native | torchscript
  std::string device = "auto"; ///< auto | cpu | cuda | cuda:N | emulated (kernels of CUDA, tests)
  int node_rank = 0;           ///< rank among the processes of this machine: picks the GPU
  int threads = 1;             ///< CPU threads of this process
};

/// Opens an ensemble file with the engine that fits it: `.safetensors` natively, on the CPU unless
/// a CUDA device is asked for, anything else as TorchScript.
///
/// \throws std::runtime_error with one sentence: file missing, foreign or damaged, engine not
/// there, device not there, a model whose forces would be wrong (try_model).
std::unique_ptr<Evaluator> open_evaluator(const std::string &path, const OpenOptions &options);

/// What the library of the engines on torch exports under these names.
using EvaluatorFactory = Evaluator *(const char *path, const OpenOptions *options);
constexpr const char *torchscript_factory_name = "alrare_open_torchscript";
constexpr const char *cuda_factory_name = "alrare_open_cuda";

} // namespace alrare

#endif
