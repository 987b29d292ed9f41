// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/native_evaluator.h"

#include "nnp/native/kernels/instruction_set.h"
#include "nnp/native/size.h"

#include <algorithm>
#include <exception>
#include <numeric>
#include <stdexcept>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace alrare::native {

namespace {

/// Calls use(slot, edge) for the slots of the tile that are edges.
template <class Use> void for_edges(const TileBuilder &builder, const Tile &tile, const Use &use) {
  for (int slot = 0; slot < tile.n_slots; ++slot)
    if (const std::int64_t edge = builder.edges()[size(slot)]; edge >= 0)
      use(slot, edge);
}

/// Writes d/dvec of the tile's slots to the edges' gradient; each edge belongs to one tile.
void write_gradient(const TileBuilder &builder, const Tile &tile, double *gradient) {
  for_edges(builder, tile, [&](int slot, std::int64_t edge) {
    gradient[3 * edge] = tile.bend_x[slot];
    gradient[3 * edge + 1] = tile.bend_y[slot];
    gradient[3 * edge + 2] = tile.bend_z[slot];
  });
}

/// Where in the forces (N, 3) those of each slot of the tile go, slots of one center together.
void find_targets(const Neighborhood &neighborhood, const TileBuilder &builder, const Tile &tile,
                  std::vector<ForceTarget> &out) {
  out.clear();
  for_edges(builder, tile, [&](int slot, std::int64_t edge) {
    const auto place_of = [&](const std::vector<std::int64_t> &rows) {
      return 3 * neighborhood.atom[static_cast<std::size_t>(rows[static_cast<std::size_t>(edge)])];
    };
    out.push_back({slot, place_of(neighborhood.edge_i), place_of(neighborhood.edge_j)});
  });
}

/// The number of the only weight that is not zero; -1 if there are several.
int only_one(const std::vector<double> &weights) {
  int found = -1;
  for (std::size_t m = 0; m < weights.size(); ++m)
    if (weights[m] != 0.0) {
      if (found >= 0)
        return -1;
      found = static_cast<int>(m);
    }
  return found;
}

} // namespace

NativeEvaluator::NativeEvaluator(const std::string &path, const NativeOptions &options)
    : model_(path), kernels_(find_kernels(options.instruction_set)), threads_(options.threads),
      list_builder_(model_.metadata().cutoff, 0.0) {
  if (threads_ < 1)
    throw std::runtime_error("threads must be >= 1, got " + std::to_string(threads_));
  for (int t = 0; t < threads_; ++t)
    builders_.push_back(
        std::make_unique<TileBuilder>(model_.descriptor(), model_.layer_sizes(), kernels_));
}

std::string NativeEvaluator::description() const {
  return std::string("native on cpu (") + kernels_.name + ", " + std::to_string(threads_) +
         (threads_ == 1 ? " thread)" : " threads)");
}

void NativeEvaluator::plan(const Neighborhood &neighborhood) {
  const int n = neighborhood.n_local;
  first_edge_.assign(size(n) + 1, 0);
  for (const std::int64_t i : neighborhood.edge_i)
    ++first_edge_[size(i) + 1];
  for (std::size_t i = 0; i < size(n); ++i)
    first_edge_[i + 1] += first_edge_[i];

  std::vector<int> start(size(model_.n_elements()) + 1, 0);
  for (std::size_t i = 0; i < size(n); ++i) {
    const std::int64_t species = neighborhood.species[i];
    if (species < 0 || species >= model_.n_elements())
      throw std::runtime_error("species " + std::to_string(species) + " is unknown to a model of " +
                               std::to_string(model_.n_elements()) + " elements");
    ++start[size(species) + 1];
  }
  for (std::size_t s = 1; s < start.size(); ++s)
    start[s] += start[s - 1];

  // every thread gets at least a few tiles, if there are centers enough for tiles of 16
  int width = max_tile;
  while (threads_ > 1 && width > 16 && n / width < 4 * threads_)
    width -= 8;
  batches_.clear();
  for (int element = 0; element < model_.n_elements(); ++element)
    for (int begin = start[size(element)]; begin < start[size(element) + 1]; begin += width)
      batches_.push_back({element, begin, std::min(begin + width, start[size(element) + 1])});
  centers_.resize(size(n));
  for (int i = 0; i < n; ++i)
    centers_[size(start[size(neighborhood.species[size(i)])]++)] = i;
  n_local_ = n;
}

template <class Work> void NativeEvaluator::for_tiles(const Work &work) {
  const int n = static_cast<int>(batches_.size());
  if (threads_ == 1 || n < 2) {
    for (int k = 0; k < n; ++k)
      work(*builders_[0], k);
    return;
  }
  std::vector<std::exception_ptr> thrown(builders_.size());
#pragma omp parallel for num_threads(threads_) schedule(dynamic)
  for (int k = 0; k < n; ++k) {
#ifdef _OPENMP
    const std::size_t thread = size(omp_get_thread_num());
#else
    const std::size_t thread = 0;
#endif
    if (thrown[thread])
      continue;
    try {
      work(*builders_[thread], k);
    } catch (...) {
      thrown[thread] = std::current_exception();
    }
  }
  for (const std::exception_ptr &one : thrown)
    if (one)
      std::rethrow_exception(one);
}

const Tile &NativeEvaluator::build(TileBuilder &builder, const Neighborhood &neighborhood,
                                   const Batch &batch) {
  return builder.build(neighborhood, first_edge_.data(), centers_.data() + batch.begin,
                       batch.end - batch.begin);
}

void NativeEvaluator::run_member(TileBuilder &builder, const Tile &tile, const Batch &batch,
                                 int member, int row, double weight, float *gradient) {
  const auto scale = static_cast<float>(weight);
  kernels_.network(model_.network(batch.element, member), tile, scale, builder.energies(),
                   scale != 0.0f ? gradient : nullptr);
  double *const out = &atomic_energies_[size(row) * size(n_local_)];
  for (int c = 0; c < tile.n_centers; ++c)
    out[centers_[size(batch.begin + c)]] = static_cast<double>(builder.energies()[c]);
}

void NativeEvaluator::sum_energies(const Neighborhood &neighborhood, int members,
                                   std::vector<double> &out) const {
  double self = 0.0;
  for (std::size_t i = 0; i < size(n_local_); ++i)
    self += model_.self_energy(static_cast<int>(neighborhood.species[i]));
  out.resize(size(members));
  const double *atomic = atomic_energies_.data();
  for (double &energy : out) {
    energy = std::accumulate(atomic, atomic + n_local_, 0.0) + self;
    atomic += n_local_;
  }
}

void NativeEvaluator::run(const Neighborhood &neighborhood, int first, int last,
                          const double *weights, Evaluation &out) {
  plan(neighborhood);
  atomic_energies_.resize(size(last - first) * size(n_local_));
  const bool back = std::any_of(weights, weights + (last - first),
                                [](double weight) { return static_cast<float>(weight) != 0.0f; });
  out.gradient.resize(3 * neighborhood.n_edges());
  if (!back)
    std::fill(out.gradient.begin(), out.gradient.end(), 0.0);
  const AevTables &tables = model_.tables();
  for_tiles([&](TileBuilder &builder, int k) {
    const Batch &batch = batches_[size(k)];
    const Tile &tile = build(builder, neighborhood, batch);
    kernels_.aev_forward(tables, tile);
    std::fill_n(builder.gradient(), size(tables.features) * size(tile.lanes), 0.0f);
    for (int m = first; m < last; ++m)
      run_member(builder, tile, batch, m, m - first, weights[m - first], builder.gradient());
    if (!back)
      return;
    kernels_.aev_backward(tables, tile, builder.gradient());
    write_gradient(builder, tile, out.gradient.data());
  });
  sum_energies(neighborhood, last - first, out.member_energies);
}

void NativeEvaluator::evaluate(const Neighborhood &neighborhood, const std::vector<double> &weights,
                               Evaluation &out) {
  const int members = model_.n_members();
  if (weights.size() != size(members))
    throw std::runtime_error("expected " + std::to_string(members) + " weights, got " +
                             std::to_string(weights.size()));
  run(neighborhood, 0, members, weights.data(), out);
}

void NativeEvaluator::evaluate_one(const Neighborhood &neighborhood, int member, Evaluation &out) {
  if (member < 0 || member >= model_.n_members())
    throw std::runtime_error("member " + std::to_string(member) + " of " +
                             std::to_string(model_.n_members()) + " does not exist");
  const double one = 1.0;
  run(neighborhood, member, member + 1, &one, out);
}

template <class Take, class TakeDriver>
void NativeEvaluator::run_each(const Neighborhood &neighborhood, int first, int count, int driver,
                               const Take &take, const TakeDriver &take_driver) {
  plan(neighborhood);
  atomic_energies_.resize(size(count) * size(n_local_));
  const AevTables &tables = model_.tables();
  for_tiles([&](TileBuilder &builder, int k) {
    const Batch &batch = batches_[size(k)];
    const Tile &tile = build(builder, neighborhood, batch);
    kernels_.aev_forward(tables, tile);
    for (int number = 0, begin = 0; begin < count; ++number, begin += kernels_.members) {
      const MemberTile &members = builder.members(std::min(kernels_.members, count - begin));
      for (int m = 0; m < members.count; ++m) {
        float *const gradient = builder.member_gradient(m);
        std::fill_n(gradient, size(tables.features) * size(tile.lanes), 0.0f);
        run_member(builder, tile, batch, first + begin + m, begin + m, 1.0, gradient);
      }
      kernels_.aev_backward_members(tables, tile, members);
      take(number, builder, tile, members);
      if (driver < begin || driver >= begin + members.count)
        continue;
      kernels_.aev_backward(tables, tile, builder.member_gradient(driver - begin));
      take_driver(builder, tile);
    }
  });
}

void NativeEvaluator::evaluate_members(const Neighborhood &neighborhood, int driver,
                                       std::vector<double> &member_energies,
                                       std::vector<std::vector<double>> &gradients) {
  const int members = model_.n_members();
  gradients.resize(size(members));
  for (std::vector<double> &gradient : gradients)
    gradient.resize(3 * neighborhood.n_edges());
  const auto take = [&](int number, const TileBuilder &builder, const Tile &tile,
                        const MemberTile &of) {
    std::vector<int> slots;
    for_edges(builder, tile, [&](int slot, std::int64_t) { slots.push_back(slot); });
    std::vector<float> values(3 * slots.size() * size(kernels_.members));
    kernels_.member_gradients(tile, of, slots.data(), static_cast<long>(slots.size()),
                              values.data());
    const float *from = values.data();
    for_edges(builder, tile, [&](int, std::int64_t edge) {
      for (std::int64_t d = 0; d < 3; ++d, from += kernels_.members)
        for (int m = 0; m < of.count; ++m)
          gradients[size(number * kernels_.members + m)][size(3 * edge + d)] =
              static_cast<double>(from[m]);
    });
  };
  run_each(neighborhood, 0, members, driver, take,
           [&](const TileBuilder &builder, const Tile &tile) {
             write_gradient(builder, tile, gradients[size(driver)].data());
           });
  sum_energies(neighborhood, members, member_energies);
}

void NativeEvaluator::evaluate_list(const NeighborList &list, bool /*new_list*/, int first,
                                    const std::vector<double> &weights, bool each,
                                    ListEvaluation &out) {
  const Neighborhood &neighborhood = list_builder_.build(list);
  const std::size_t count = weights.size(), values = 3 * size(list.n_all);
  const std::size_t block_of = size(kernels_.members);
  out.centers = &neighborhood;
  member_forces_.assign((count + block_of - 1) / block_of * values * block_of, 0.0);
  const int driver = only_one(weights);
  driving_gradient_.resize(driver < 0 ? 0 : 3 * neighborhood.n_edges());
  const auto take = [&](int number, const TileBuilder &builder, const Tile &tile,
                        const MemberTile &of) {
    if (number == 0)
      find_targets(neighborhood, builder, tile, targets_);
    kernels_.add_member_forces(tile, of, targets_.data(), static_cast<long>(targets_.size()),
                               member_forces_.data() + size(number) * values * block_of);
  };
  run_each(neighborhood, first, static_cast<int>(count), driver, take,
           [&](const TileBuilder &builder, const Tile &tile) {
             write_gradient(builder, tile, driving_gradient_.data());
           });
  if (driver >= 0)
    sum_forces(neighborhood, driving_gradient_, size(list.n_all), driving_forces_);
  out.forces.resize(each ? count : 1);
  for (std::vector<double> &forces : out.forces)
    forces.assign(values, 0.0);
  for (std::size_t m = 0; m < count; ++m) {
    const double *from = member_forces_.data() + m / block_of * values * block_of + m % block_of;
    std::size_t step = block_of;
    if (static_cast<int>(m) == driver) {
      from = driving_forces_.data();
      step = 1;
    }
    const double weight = each ? 1.0 : weights[m];
    for (double &force : out.forces[each ? m : 0]) {
      force += weight * *from;
      from += step;
    }
  }
  sum_energies(neighborhood, static_cast<int>(count), out.member_energies);
}

void NativeEvaluator::descriptors(const Neighborhood &neighborhood, std::vector<float> &out) {
  plan(neighborhood);
  const std::vector<int> &places = model_.feature_places();
  out.assign(places.size() * size(neighborhood.n_local), 0.0f);
  const AevTables &tables = model_.tables();
  for_tiles([&](TileBuilder &builder, int k) {
    const Batch &batch = batches_[size(k)];
    const Tile &tile = build(builder, neighborhood, batch);
    kernels_.aev_forward(tables, tile);
    for (int c = 0; c < tile.n_centers; ++c) {
      const float *const row = tile.rows_aev + size(c) * size(tables.features);
      float *const to = &out[size(centers_[size(batch.begin + c)]) * places.size()];
      for (std::size_t f = 0; f < places.size(); ++f)
        to[f] = row[places[f]];
    }
  });
}

} // namespace alrare::native
