# libtorch, without its own CMake package: that one wants the whole CUDA toolkit as soon as torch
# was built with CUDA, and this project compiles no CUDA code.
#
# alrare_find_torch_version(<root> <variable>)  "2.13.0+cpu" of the torch in this folder
# alrare_add_torch_engine(<target> <root>)      the engines on torch (TorchScript, ANI on CUDA) for it
#
# Sets    torch_root            the torch of the build
#         ALRARE_TORCH_VERSION  its version
set(Torch_DIR "" CACHE PATH
  "share/cmake/Torch of a libtorch; empty = the torch of the Python that builds")
set(ALRARE_MORE_TORCH "" CACHE PATH
  "Folder with a torch package of each further release to build an engine for: FOLDER/*/torch")

function(alrare_find_torch_version root variable)
  set(version "unknown")
  foreach(file version.py ../build-version build-version)
    if(EXISTS ${root}/${file})
      file(READ ${root}/${file} text)
      if(text MATCHES "([0-9]+\\.[0-9]+\\.[0-9]+[0-9A-Za-z.+]*)")
        set(version "${CMAKE_MATCH_1}")
        break()
      endif()
    endif()
  endforeach()
  if(version STREQUAL unknown) # a libtorch in a prefix of several packages, as conda's
    foreach(file torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
      if(EXISTS ${root}/include/${file})
        file(READ ${root}/include/${file} text)
        if(text MATCHES "VERSION_MAJOR ([0-9]+).*VERSION_MINOR ([0-9]+).*VERSION_PATCH ([0-9]+)")
          set(version "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3}")
          break()
        endif()
      endif()
    endforeach()
  endif()
  set(${variable} "${version}" PARENT_SCOPE)
endfunction()

function(alrare_add_torch_engine target root)
  add_library(${target} SHARED
    ${PROJECT_SOURCE_DIR}/src/nnp/cuda/cuda_evaluator.cpp
    ${PROJECT_SOURCE_DIR}/src/nnp/torch_device.cpp
    ${PROJECT_SOURCE_DIR}/src/nnp/torchscript_evaluator.cpp)
  target_include_directories(${target} SYSTEM PRIVATE
    ${root}/include ${root}/include/torch/csrc/api/include)
  # libtorch.so has no symbol we use, but brings libtorch_cuda.so along where there is one
  target_link_libraries(${target} PRIVATE alrare_cuda alrare_model
    -Wl,--no-as-needed ${root}/lib/libtorch.so -Wl,--as-needed
    ${root}/lib/libtorch_cpu.so ${root}/lib/libc10.so)
  # installed: site-packages/alrare/lib beside site-packages/torch/lib; else where torch is now
  set(rpath "$ORIGIN/../../torch/lib")
  if(ALRARE_PORTABLE)
    target_compile_options(${target} PRIVATE -ffile-prefix-map=${root}=torch)
  else()
    list(APPEND rpath ${root}/lib)
  endif()
  set_target_properties(${target} PROPERTIES
    CXX_STANDARD 20
    BUILD_WITH_INSTALL_RPATH ON
    INSTALL_RPATH "${rpath}")
  install(TARGETS ${target} LIBRARY DESTINATION ${install_folder})
endfunction()

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
alrare_find_torch_version(${torch_root} ALRARE_TORCH_VERSION)
