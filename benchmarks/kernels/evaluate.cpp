// SPDX-License-Identifier: GPL-2.0-or-later
//
// CPU time of one evaluation (member energies and the gradient of their mean), its stages, and the
// fraction of the sgemm floor: flops of descriptor and networks over the rate of the BLAS given.
//
//   bench_evaluate MODEL.safetensors [--set avx512|avx2|portable|auto] [--cells N] [--blas LIB.so]
//                  [--seconds S] [--threads N]
//
// --cells 0 is one hexane molecule, N > 0 a periodic lattice of 4 x 4 x 4N of them. Prints one line
// of JSON. The model must be of the elements H and C, in this order.
#include "nnp/native/native_evaluator.h"
#include "nnp/native/neighbor_search.h"

#include <dlfcn.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

using namespace alrare::native;

namespace {

double seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct System {
  std::vector<double> positions;
  std::vector<std::int64_t> species;
  Box box;
};

void add_hexane(System &system, double x0, double y0, double z0, std::mt19937_64 &random) {
  std::normal_distribution<double> noise(0.0, 0.03);
  const auto add = [&](int species, double x, double y, double z) {
    for (const double value : {x0 + x, y0 + y, z0 + z})
      system.positions.push_back(value + noise(random));
    system.species.push_back(species);
  };
  for (int i = 0; i < 6; ++i) {
    const double x = 1.27 * i, y = i % 2 * 0.86, up = i % 2 ? 1.0 : -1.0;
    add(1, x, y, 0.0);
    add(0, x, y + up * 0.63, 0.89);
    add(0, x, y + up * 0.63, -0.89);
  }
  add(0, -0.9, 0.62, 0.0);
  add(0, 6.35 + 0.9, 0.86 - 0.62, 0.0);
}

void make(System &system, int cells) {
  std::mt19937_64 random(1);
  if (cells == 0) {
    add_hexane(system, 0, 0, 0, random);
  } else {
    const double a = 9.6, b = 4.75, c = 4.75; // 216.6 Å^3 a molecule: the liquid's density
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 4; ++j)
        for (int k = 0; k < 4 * cells; ++k)
          add_hexane(system, a * i, b * j, c * k, random);
    system.box.cell = {4 * a, 0, 0, 0, 4 * b, 0, 0, 0, 4 * c * cells};
    system.box.periodic = {true, true, true};
  }
  system.box.n_atoms = static_cast<int>(system.species.size());
  system.box.positions = system.positions.data();
  system.box.species = system.species.data();
}

/// Row-major C = A B through whatever CBLAS the library has.
class Blas {
public:
  explicit Blas(const char *library) {
    void *const handle = dlopen(library, RTLD_NOW);
    if (handle == nullptr)
      throw std::runtime_error(dlerror());
    short_ = reinterpret_cast<Short *>(dlsym(handle, "cblas_sgemm"));
    long_ = reinterpret_cast<Long *>(dlsym(handle, "scipy_cblas_sgemm64_"));
    if (short_ == nullptr && long_ == nullptr)
      throw std::runtime_error("no cblas_sgemm in the library");
  }
  void operator()(int m, int n, int k, const float *a, const float *b, float *c) const {
    if (short_ != nullptr)
      short_(101, 111, 111, m, n, k, 1.0f, a, k, b, n, 0.0f, c, n);
    else
      long_(101, 111, 111, m, n, k, 1.0f, a, k, b, n, 0.0f, c, n);
  }

private:
  using Short = void(int, int, int, int, int, int, float, const float *, int, const float *, int,
                     float, float *, int);
  using Long = void(int, int, int, long, long, long, float, const float *, long, const float *,
                    long, float, float *, long);
  Short *short_ = nullptr;
  Long *long_ = nullptr;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Multiplications and additions of the networks, forward and backward, unpadded.
double network_flops(const alrare::Neighborhood &neighborhood, const Model &model) {
  double out = 0.0;
  for (int i = 0; i < neighborhood.n_local; ++i) {
    const Network &network =
        model.network(static_cast<int>(neighborhood.species[static_cast<std::size_t>(i)]), 0);
    double parameters = network.last_in;
    for (int l = 0; l < network.n_hidden; ++l)
      parameters += static_cast<double>(network.hidden[l].in) * network.hidden[l].out;
    out += 4.0 * parameters * model.n_members();
  }
  return out;
}

/// The descriptor's multiply-adds alone: each feature of an edge or triple once forward, and twice
/// back. Exponentials and roots are not counted.
double aev_flops(const alrare::Neighborhood &neighborhood, const Model &model) {
  const AevTables &tables = model.tables();
  std::vector<double> near(static_cast<std::size_t>(neighborhood.n_local), 0.0);
  for (std::size_t e = 0; e < neighborhood.n_edges(); ++e) {
    const double *v = &neighborhood.vec[3 * e];
    if (v[0] * v[0] + v[1] * v[1] + v[2] * v[2] < tables.angular_cutoff * tables.angular_cutoff)
      near[static_cast<std::size_t>(neighborhood.edge_i[e])] += 1.0;
  }
  double triples = 0.0;
  for (const double n : near)
    triples += n * (n - 1) / 2;
  return 6.0 * (triples * tables.pair_size() +
                static_cast<double>(neighborhood.n_edges()) * tables.radial_size);
}

} // namespace

int main(int argc, char **argv) try {
  std::map<std::string, std::string> option{
      {"--set", "auto"}, {"--cells", "1"}, {"--seconds", "3"}, {"--threads", "1"}, {"--blas", ""}};
  if (argc < 2 || argc % 2 != 0)
    throw std::runtime_error("usage: bench_evaluate MODEL.safetensors [--set S] [--cells N] "
                             "[--blas LIB.so] [--seconds S] [--threads N]");
  for (int k = 2; k + 1 < argc; k += 2)
    option[argv[k]] = argv[k + 1];
  setenv("OPENBLAS_NUM_THREADS", "1", 1); // before the library is opened
  NativeOptions options;
  options.instruction_set = option["--set"];
  options.threads = std::atoi(option["--threads"].c_str());
  NativeEvaluator engine(argv[1], options);
  const Model model(argv[1]);
  System system;
  make(system, std::atoi(option["--cells"].c_str()));
  const alrare::Neighborhood neighborhood = find_neighbors(system.box, engine.metadata().cutoff);
  const auto members = static_cast<std::size_t>(engine.metadata().members);
  const std::vector<double> mean(members, 1.0 / static_cast<double>(members));

  const double flops = network_flops(neighborhood, model) + aev_flops(neighborhood, model);
  const Kernels &kernels = find_kernels(options.instruction_set);
  std::map<std::string, std::vector<double>> times;
  std::vector<double> fractions, rates;
  const clockid_t clock = options.threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  const auto time = [&](const std::string &name, int repeats, const auto &work) {
    const double start = seconds(clock);
    for (int r = 0; r < repeats; ++r)
      work();
    times[name].push_back((seconds(clock) - start) / repeats);
    return times[name].back();
  };

  constexpr int gemm_m = 1024, gemm_n = 192, gemm_k = 256;
  std::vector<float> a(gemm_m * gemm_k, 0.5f), b(gemm_k * gemm_n, 0.25f), c(gemm_m * gemm_n);
  std::unique_ptr<Blas> blas;
  if (!option["--blas"].empty())
    blas = std::make_unique<Blas>(option["--blas"].c_str());

  alrare::Evaluation out;
  std::vector<double> energies;
  std::vector<std::vector<double>> gradients;
  TileBuilder builder(model, kernels);
  std::vector<int> centers[2];
  std::vector<std::int64_t> first(static_cast<std::size_t>(neighborhood.n_local) + 1, 0);
  for (const std::int64_t i : neighborhood.edge_i)
    ++first[static_cast<std::size_t>(i) + 1];
  for (std::size_t i = 1; i < first.size(); ++i)
    first[i] += first[i - 1];
  for (int i = 0; i < neighborhood.n_local; ++i)
    centers[neighborhood.species[static_cast<std::size_t>(i)]].push_back(i);
  const auto descriptor_only = [&](bool forward, bool back) {
    for (const std::vector<int> &some : centers)
      for (std::size_t begin = 0; begin < some.size(); begin += max_tile) {
        const int n = static_cast<int>(std::min<std::size_t>(max_tile, some.size() - begin));
        const Tile &tile = builder.build(neighborhood, first.data(), some.data() + begin, n);
        if (forward)
          kernels.aev_forward(model.tables(), tile);
        if (back)
          kernels.aev_backward(model.tables(), tile, builder.gradient());
      }
  };

  engine.evaluate(neighborhood, mean, out);
  const int repeats = std::max(1, static_cast<int>(0.02 / (flops / 5e10))); // about 20 ms at a time
  const double end = seconds(CLOCK_MONOTONIC) + std::atof(option["--seconds"].c_str());
  do {
    double rate = 0.0;
    if (blas) {
      const double gemm =
          time("sgemm", 20, [&] { (*blas)(gemm_m, gemm_n, gemm_k, a.data(), b.data(), c.data()); });
      rate = 2.0 * gemm_m * gemm_n * gemm_k / gemm;
      rates.push_back(rate);
    }
    const double whole = time("mean", repeats, [&] { engine.evaluate(neighborhood, mean, out); });
    if (blas)
      fractions.push_back(flops / rate / whole);
    time("one", repeats, [&] { engine.evaluate_one(neighborhood, 0, out); });
    time("members", repeats, [&] { engine.evaluate_members(neighborhood, energies, gradients); });
    time("sort", repeats, [&] { descriptor_only(false, false); });
    time("sort_aev", repeats, [&] { descriptor_only(true, false); });
    time("sort_aev_back", repeats, [&] { descriptor_only(true, true); });
  } while (seconds(CLOCK_MONOTONIC) < end);

  std::printf(
      "{\"set\": \"%s\", \"atoms\": %d, \"members\": %zu, \"edges\": %zu, \"gflop\": %.4f, ",
      kernels.name, neighborhood.n_local, members, neighborhood.n_edges(), flops * 1e-9);
  for (const auto &entry : times)
    std::printf("\"ms_%s\": %.4f, ", entry.first.c_str(), 1e3 * median(entry.second));
  if (blas)
    std::printf("\"sgemm_gflops\": %.1f, \"fraction_of_floor\": %.3f, ", 1e-9 * median(rates),
                median(fractions));
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  std::printf("\"gflops\": %.1f, \"resident_mb\": %.1f}\n", 1e-9 * flops / median(times["mean"]),
              static_cast<double>(usage.ru_maxrss) / 1024.0);
  return 0;
} catch (const std::exception &error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
