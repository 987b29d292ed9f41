// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_CUDA_CUDA_LIBRARY_H
#define ALRARE_NNP_CUDA_CUDA_LIBRARY_H

#include <cstddef>
#include <string>

namespace alrare::cuda {

/// The functions of CUDA's driver and of its run-time compiler that are used here, found when the
/// program runs: alrare is built without the CUDA toolkit, and runs without a GPU.
///
/// Their types are those of cuda.h and nvrtc.h, with int for enumerations and void * for handles.
struct CudaLibrary {
  int (*create_program)(void **program, const char *source, const char *name, int n_headers,
                        const char *const *headers, const char *const *names);
  int (*compile_program)(void *program, int n_options, const char *const *options);
  int (*log_size)(void *program, std::size_t *size);
  int (*log)(void *program, char *text);
  int (*cubin_size)(void *program, std::size_t *size);
  int (*cubin)(void *program, char *code);
  int (*destroy_program)(void **program);
  const char *(*compiler_error)(int result);

  int (*current_device)(int *device);
  int (*device_attribute)(int *value, int attribute, int device);
  int (*load_module)(void **module, const void *image);
  int (*unload_module)(void *module);
  int (*find_function)(void **function, void *module, const char *name);
  int (*set_attribute)(void *function, int attribute, int value);
  int (*launch)(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream,
                void **arguments, void **extra);
  int (*error_name)(int result, const char **text);

  /// Throws what a call of the driver has to say, unless it was well.
  void check(int result, const std::string &what) const;
};

/// \throws std::runtime_error when they are not there.
const CudaLibrary &cuda_library();

} // namespace alrare::cuda

#endif
