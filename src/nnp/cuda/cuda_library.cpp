// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/cuda/cuda_library.h"

#include <dlfcn.h>

#include <initializer_list>
#include <stdexcept>

namespace alrare::cuda {

namespace {

/// Never closed: the driver does not survive being unloaded.
void *open_first(std::initializer_list<const char *> names) {
  std::string why;
  for (const char *name : names) {
    void *const handle = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle != nullptr)
      return handle;
    const char *const said = dlerror();
    why += std::string(why.empty() ? "" : "; ") + (said != nullptr ? said : name);
  }
  throw std::runtime_error("CUDA's libraries cannot be opened (" + why +
                           "): use a torch with CUDA, or device cpu");
}

template <typename Function> void find(void *library, const char *name, Function *&function) {
  void *const symbol = dlsym(library, name);
  if (symbol == nullptr)
    throw std::runtime_error(std::string("CUDA's libraries lack ") + name +
                             ": update the driver of the GPU, or use device cpu");
  function = reinterpret_cast<Function *>(symbol);
}

CudaLibrary open_library() {
  CudaLibrary out{};
  // torch's own way to both: it knows where torch's build has its compiler
  void *const compiler = open_first({"libcaffe2_nvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"});
  void *const driver = open_first({"libcuda.so.1"});
  find(compiler, "nvrtcCreateProgram", out.create_program);
  find(compiler, "nvrtcCompileProgram", out.compile_program);
  find(compiler, "nvrtcGetProgramLogSize", out.log_size);
  find(compiler, "nvrtcGetProgramLog", out.log);
  find(compiler, "nvrtcGetCUBINSize", out.cubin_size);
  find(compiler, "nvrtcGetCUBIN", out.cubin);
  find(compiler, "nvrtcDestroyProgram", out.destroy_program);
  find(compiler, "nvrtcGetErrorString", out.compiler_error);
  find(driver, "cuCtxGetDevice", out.current_device);
  find(driver, "cuDeviceGetAttribute", out.device_attribute);
  find(driver, "cuModuleLoadData", out.load_module);
  find(driver, "cuModuleUnload", out.unload_module);
  find(driver, "cuModuleGetFunction", out.find_function);
  find(driver, "cuFuncSetAttribute", out.set_attribute);
  find(driver, "cuLaunchKernel", out.launch);
  find(driver, "cuGetErrorName", out.error_name);
  return out;
}

} // namespace

void CudaLibrary::check(int result, const std::string &what) const {
  if (result == 0)
    return;
  const char *name = nullptr;
  if (error_name(result, &name) != 0 || name == nullptr)
    name = "unknown error";
  throw std::runtime_error("the GPU: " + what + ": " + name + " (" + std::to_string(result) + ")");
}

const CudaLibrary &cuda_library() {
  static const CudaLibrary library = open_library();
  return library;
}

} // namespace alrare::cuda
