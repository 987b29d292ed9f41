// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_NATIVE_EVALUATOR_H
#define ALRARE_NNP_NATIVE_NATIVE_EVALUATOR_H

#include "nnp/evaluator.h"
#include "nnp/native/kernels/kernels.h"
#include "nnp/native/model.h"
#include "nnp/native/tile_builder.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace alrare::native {

/// How the engine runs.
struct NativeOptions {
  std::string instruction_set = "auto"; ///< auto | avx512 | avx2 | portable
  int threads = 1;                      ///< OpenMP threads of this process
};

/// Evaluates `ensemble.safetensors` on a CPU without torch.
///
/// Centers of one element go through descriptor, networks and both backward passes in tiles of up
/// to 48, so the scratch does not grow with the system: per thread it is about 1 MB for two
/// elements, and what grows is the caller's neighborhood and gradient. Triples are found here; the
/// neighborhood's own list is not read and may be empty. The sums over atoms are float64 and
/// in the same order for any number of threads.
class NativeEvaluator final : public Evaluator, public ListEvaluator {
public:
  explicit NativeEvaluator(const std::string &path, const NativeOptions &options = {});

  const Metadata &metadata() const override { return model_.metadata(); }
  std::string description() const override;
  void evaluate(const Neighborhood &neighborhood, const std::vector<double> &weights,
                Evaluation &out) override;
  void evaluate_members(const Neighborhood &neighborhood, int driver,
                        std::vector<double> &member_energies,
                        std::vector<std::vector<double>> &gradients) override;

  /// One member alone, at about the cost of an ensemble of one: `out.member_energies` has one
  /// entry.
  void evaluate_one(const Neighborhood &neighborhood, int member, Evaluation &out) override;
  bool needs_triples() const override { return false; }

  /// Where forces of each member are wanted, on one thread: a gradient of each by the edges would
  /// be written to memory and read again.
  ListEvaluator *list_evaluator(bool each) override {
    return each && threads_ == 1 ? this : nullptr;
  }
  void evaluate_list(const NeighborList &list, bool new_list, int first,
                     const std::vector<double> &weights, bool each, ListEvaluation &out) override;
  const std::vector<double> *center_energies() const override { return &atomic_energies_; }
  double self_energy(int species) const override { return model_.self_energy(species); }

  /// Energies of each member and center of the last evaluation without self energies, eV:
  /// [member * n_local + center]. After evaluate_one there is one member.
  const std::vector<double> &atomic_energies() const { return atomic_energies_; }

  /// Descriptors of the centers in the model's own order, (n_local, F).
  void descriptors(const Neighborhood &neighborhood, std::vector<float> &out);
  int n_features() const { return static_cast<int>(model_.feature_places().size()); }

private:
  struct Batch {
    int element, begin, end; ///< of centers_
  };
  /// Sorts the centers by element and cuts them into tiles.
  void plan(const Neighborhood &neighborhood);
  /// Calls work(builder, tile number) for every tile, on all threads; throws what a thread threw.
  template <class Work> void for_tiles(const Work &work);
  const Tile &build(TileBuilder &builder, const Neighborhood &neighborhood, const Batch &batch);
  /// Energies of members first, first + 1, ..., and the gradient of each: after the way back of a
  /// block of them, take(number of the block, builder, tile, members) has it. Then, unless `driver`
  /// (from `first`) is -1, comes the way back of that one alone, and take_driver(builder, tile).
  template <class Take, class TakeDriver>
  void run_each(const Neighborhood &neighborhood, int first, int count, int driver,
                const Take &take, const TakeDriver &take_driver);
  /// Members first..last-1; gradient of their weighted sum unless every weight is zero.
  void run(const Neighborhood &neighborhood, int first, int last, const double *weights,
           Evaluation &out);
  /// Network of one member on one tile: fills its row of atomic_energies_, and adds its weighted
  /// gradient unless that is null.
  void run_member(TileBuilder &builder, const Tile &tile, const Batch &batch, int member, int row,
                  double weight, float *gradient);
  void sum_energies(const Neighborhood &neighborhood, int members, std::vector<double> &out) const;

  Model model_;
  const Kernels &kernels_;
  int threads_;
  std::vector<std::unique_ptr<TileBuilder>> builders_; // one per thread
  NeighborhoodBuilder list_builder_;
  std::vector<ForceTarget> targets_;                      // of one tile
  std::vector<double> member_forces_;                     // (blocks, atoms, 3, members of a block)
  std::vector<double> driving_gradient_, driving_forces_; // of the only member with a weight
  std::vector<std::int64_t> first_edge_;
  std::vector<int> centers_;
  std::vector<Batch> batches_;
  std::vector<double> atomic_energies_;
  int n_local_ = 0;
};

} // namespace alrare::native

#endif
