# libtorch, without its own CMake package: that one wants the whole CUDA toolkit as soon as torch
# was built with CUDA, and this project compiles no CUDA code.
#
# Target  torch_libraries        headers and libraries
# Sets    ALRARE_TORCH_VERSION   "2.13.0+cpu"
set(Torch_DIR "" CACHE PATH
  "share/cmake/Torch of a libtorch; empty = the torch of the Python that builds")

if(Torch_DIR)
  get_filename_component(torch_root ${Torch_DIR}/../../.. ABSOLUTE)
else()
  set(torch_root "${packages_torch}")
endif()
if(NOT EXISTS ${torch_root}/include/torch/script.h)
  message(FATAL_ERROR
    "No libtorch: expected include/torch/script.h in '${torch_root}'. Give -DTorch_DIR=..., or "
    "-DPython_EXECUTABLE=... of an environment with torch, or -DALRARE_TORCH=OFF")
endif()

set(ALRARE_TORCH_VERSION "unknown")
foreach(file version.py ../build-version build-version)
  if(EXISTS ${torch_root}/${file})
    file(READ ${torch_root}/${file} text)
    if(text MATCHES "([0-9]+\\.[0-9]+\\.[0-9]+[0-9A-Za-z.+]*)")
      set(ALRARE_TORCH_VERSION "${CMAKE_MATCH_1}")
      break()
    endif()
  endif()
endforeach()

set(torch_lib_dir ${torch_root}/lib)
add_library(torch_libraries INTERFACE)
target_include_directories(torch_libraries SYSTEM INTERFACE
  ${torch_root}/include ${torch_root}/include/torch/csrc/api/include)
# libtorch.so has no symbol we use, but brings libtorch_cuda.so along where there is one
target_link_libraries(torch_libraries INTERFACE
  -Wl,--no-as-needed ${torch_lib_dir}/libtorch.so -Wl,--as-needed
  ${torch_lib_dir}/libtorch_cpu.so ${torch_lib_dir}/libc10.so)
