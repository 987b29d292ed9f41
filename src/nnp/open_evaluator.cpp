// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/evaluator.h"
#include "nnp/native/native_evaluator.h"
#include "nnp/torch_version.h"
#include "nnp/trial.h"
#include "own_folder.h"

#include <dlfcn.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>

namespace alrare {

namespace {

#ifdef ALRARE_TORCH_VERSION
constexpr const char *torch_of_build = ALRARE_TORCH_VERSION;
#else
constexpr const char *torch_of_build = "";
#endif

EvaluatorFactory *torch_factory(const char *name) {
  if (*torch_of_build == '\0')
    throw std::runtime_error(
        "this alrare was built without torch, which TorchScript and CUDA need: "
        "use the ensemble.safetensors on the CPU, or build with "
        "-DALRARE_TORCH=ON");
  const std::string folder = own_folder();
  // installed: site-packages/alrare/lib beside site-packages/torch
  const std::string torch_here = torch_version_in(folder + "../../torch");
  const std::string library = torch_engine_in(folder, torch_of_build, torch_here);
  if (library.empty())
    throw std::runtime_error("there is no TorchScript engine for this torch: " +
                             torch_advice(torch_of_build, torch_here));
  // never closed: libtorch does not survive being unloaded
  void *const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) {
    const char *const why = dlerror();
    std::string told = std::string("the TorchScript engine could not be opened: ") +
                       (why != nullptr ? why : library.c_str());
    if (library == folder + build_engine)
      told += "; " + torch_advice(torch_of_build, torch_here);
    throw std::runtime_error(told);
  }
  void *const symbol = dlsym(handle, name);
  if (symbol == nullptr)
    throw std::runtime_error("the TorchScript engine " + library + " lacks " + name +
                             ": it belongs to another alrare");
  return reinterpret_cast<EvaluatorFactory *>(symbol);
}

bool ends_with(const std::string &text, const std::string &tail) {
  return text.size() >= tail.size() &&
         text.compare(text.size() - tail.size(), tail.size(), tail) == 0;
}

/// The TorchScript export that the trainer writes beside a master file.
std::string export_beside(const std::string &path) {
  return path.substr(0, path.rfind('.')) + ".pt";
}

/// Throws when a `.safetensors` file is asked to run by another engine than the native one.
void check_native(const std::string &path, const OpenOptions &options) {
  const std::string beside = export_beside(path);
  const std::string advice =
      "; give its TorchScript export" +
      (std::ifstream(beside).good() ? " '" + beside + "'" : std::string(" (ensemble.pt)"));
  if (options.engine == "torchscript")
    throw std::runtime_error("model file '" + path +
                             "' is not one that the TorchScript engine reads" + advice);
}

/// Errors begin with the file.
template <typename Action> void with_path(const std::string &path, const Action &action) {
  try {
    action();
  } catch (const std::runtime_error &error) {
    throw std::runtime_error("model file '" + path + "': " + error.what());
  }
}

} // namespace

std::unique_ptr<Evaluator> open_evaluator(const std::string &path, const OpenOptions &options) {
  if (options.engine != "auto" && options.engine != "native" && options.engine != "torchscript")
    throw std::runtime_error("unknown engine '" + options.engine +
                             "' (expected auto, native or torchscript)");
  if (!std::ifstream(path).good())
    throw std::runtime_error("model file '" + path + "' does not exist or cannot be read");
  if (ends_with(path, ".safetensors")) {
    check_native(path, options);
    auto native = std::make_unique<native::NativeEvaluator>(
        path, native::NativeOptions{"auto", std::max(1, options.threads)});
    if (options.device == "auto" || options.device == "cpu")
      return native;
    std::unique_ptr<Evaluator> there(torch_factory(cuda_factory_name)(path.c_str(), &options));
    with_path(path, [&] { compare_engines(*there, *native); });
    return there;
  }
  if (options.device == "emulated")
    throw std::runtime_error("model file '" + path +
                             "': device emulated is for tests of ensemble.safetensors");
  if (options.engine == "native")
    throw std::runtime_error(
        "model file '" + path +
        "' is not one that the native engine reads: it evaluates ANI "
        "networks, from the ensemble.safetensors that they were exported from");
  std::unique_ptr<Evaluator> out(torch_factory(torchscript_factory_name)(path.c_str(), &options));
  with_path(path, [&] { try_model(*out); });
  return out;
}

} // namespace alrare
