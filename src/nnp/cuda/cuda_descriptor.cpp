// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/cuda/ani_descriptor.h"
#include "nnp/cuda/cuda_library.h"

#include "ani_kernels_text.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>
#include <vector>

namespace alrare::cuda {

namespace {

// of cuda.h
constexpr int capability_major = 75, capability_minor = 76, shared_bytes_of_block = 97;
constexpr int dynamic_shared_bytes = 8;

constexpr int most_warps = 4;                // of a block
constexpr int usual_shared_bytes = 48 << 10; // of a block that asks for nothing special

std::string option_of(const CudaLibrary &cuda) {
  int device = 0, major = 0, minor = 0;
  cuda.check(cuda.current_device(&device), "which device");
  cuda.check(cuda.device_attribute(&major, capability_major, device), "its capability");
  cuda.check(cuda.device_attribute(&minor, capability_minor, device), "its capability");
  return "--gpu-architecture=sm_" + std::to_string(10 * major + minor);
}

std::vector<char> compile(const CudaLibrary &cuda, const std::string &source) {
  void *program = nullptr;
  if (const int failed =
          cuda.create_program(&program, source.c_str(), "ani_kernels", 0, nullptr, nullptr))
    throw std::runtime_error(std::string("CUDA's compiler: ") + cuda.compiler_error(failed));
  const std::string architecture = option_of(cuda);
  const std::array<const char *, 2> options = {architecture.c_str(), "--std=c++17"};
  const int failed =
      cuda.compile_program(program, static_cast<int>(options.size()), options.data());
  std::size_t size = 0;
  if (failed != 0) {
    std::string text = cuda.compiler_error(failed);
    if (cuda.log_size(program, &size) == 0 && size > 1) {
      std::string log(size, '\0');
      cuda.log(program, log.data());
      text += ": " + log.substr(0, log.find('\n'));
    }
    cuda.destroy_program(&program);
    throw std::runtime_error("CUDA's compiler does not compile the kernels of the descriptor (" +
                             architecture + "): " + text);
  }
  cuda.cubin_size(program, &size);
  std::vector<char> code(size);
  cuda.cubin(program, code.data());
  cuda.destroy_program(&program);
  return code;
}

class CudaDescriptor final : public AniDescriptor {
public:
  CudaDescriptor(const AniConstants &constants, int features)
      : cuda_(cuda_library()), constants_(constants), features_(features) {
    const auto define = [](const char *name, int value) {
      return std::string("#define ") + name + " " + std::to_string(value) + "\n";
    };
    const std::string source = define("N_SPECIES", constants.n_species) +
                               define("N_RADIAL", constants.n_radial) +
                               define("N_SHIFTS", constants.n_shifts) +
                               define("N_SECTIONS", constants.n_sections) + ani_kernels_text;
    const std::vector<char> code = compile(cuda_, source);
    cuda_.check(cuda_.load_module(&module_, code.data()), "loading the kernels");
    const auto find = [&](void *&function, const char *name) {
      cuda_.check(cuda_.find_function(&function, module_, name), name);
    };
    find(find_, "ani_find_kernel");
    find(forward_, "ani_forward_kernel");
    find(backward_, "ani_backward_kernel");
    find(add_forces_, "ani_add_forces_kernel");
    int device = 0;
    cuda_.check(cuda_.current_device(&device), "which device");
    cuda_.check(cuda_.device_attribute(&most_shared_, shared_bytes_of_block, device),
                "its shared memory");
    if (4 * ani_shared_words(features, 0) > most_shared_)
      throw std::runtime_error("a descriptor of " + std::to_string(features) +
                               " terms is more than this GPU has shared memory for: use device "
                               "cpu, or the ensemble.pt");
    for (void *const function : {forward_, backward_})
      cuda_.check(cuda_.set_attribute(function, dynamic_shared_bytes, most_shared_),
                  "asking for shared memory");
  }

  ~CudaDescriptor() override {
    cuda_.unload_module(module_); // fails where the program ends and the device is closed already
  }
  CudaDescriptor(const CudaDescriptor &) = delete;
  CudaDescriptor &operator=(const CudaDescriptor &) = delete;

  void find(const AniList &list, const AniFound &out) override {
    launch("the neighbors", find_, list.n_centers, most_warps, 0, list, out);
  }

  void forward(const AniEdges &edges, float *rows) override {
    const int bytes = bytes_of_warp(edges);
    launch("the descriptor", forward_, edges.n_centers, warps(bytes), bytes, constants_, edges,
           features_, rows);
  }

  void backward(const AniEdges &edges, const float *rows, float *gradient) override {
    const int bytes = bytes_of_warp(edges);
    launch("the derivative of the descriptor", backward_, edges.n_centers, warps(bytes), bytes,
           constants_, edges, features_, rows, gradient);
  }

  void add_forces(const AniEdges &edges, const float *gradient, const AniForces &out) override {
    launch("the forces", add_forces_, edges.n_centers, most_warps, 0, edges, gradient, out);
  }

private:
  [[nodiscard]] int bytes_of_warp(const AniEdges &edges) const {
    const int bytes = 4 * ani_shared_words(features_, edges.capacity);
    if (bytes > most_shared_)
      throw std::runtime_error("an atom has " + std::to_string(edges.capacity) +
                               " neighbors within the angular cutoff, more than this GPU has "
                               "shared memory for: use device cpu");
    return bytes;
  }

  /// Warps of a block.
  static int warps(int bytes) { return std::clamp(usual_shared_bytes / bytes, 1, most_warps); }

  /// One warp for each center, with so many bytes of its own; the arguments are those of the
  /// kernel.
  template <class... Arguments>
  void launch(const char *what, void *function, int n_centers, int warps, int bytes,
              Arguments... arguments) {
    if (n_centers == 0)
      return;
    std::array<void *, sizeof...(arguments)> pointers = {static_cast<void *>(&arguments)...};
    const auto blocks = static_cast<unsigned>((n_centers + warps - 1) / warps);
    cuda_.check(cuda_.launch(function, blocks, 1, 1, static_cast<unsigned>(32 * warps), 1, 1,
                             static_cast<unsigned>(bytes * warps), nullptr, pointers.data(),
                             nullptr),
                what);
  }

  const CudaLibrary &cuda_;
  AniConstants constants_;
  int features_;
  void *module_ = nullptr;
  void *find_ = nullptr, *forward_ = nullptr, *backward_ = nullptr, *add_forces_ = nullptr;
  int most_shared_ = 0; // bytes of a block
};

} // namespace

std::unique_ptr<AniDescriptor> open_cuda_descriptor(const AniConstants &constants, int features) {
  return std::make_unique<CudaDescriptor>(constants, features);
}

} // namespace alrare::cuda
