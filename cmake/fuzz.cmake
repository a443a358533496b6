# openvhd_fuzz_target(NAME SOURCES ... LINKS ... [SEEDS folder]): a program around an
# LLVMFuzzerTestOneInput. With OPENVHD_FUZZ it is libFuzzer's; otherwise it runs inputs that it is
# given. Either way one test runs it over its seeds, and one over random inputs that are the same
# every time (label "fuzz").
set(openvhd_replay_main ${CMAKE_CURRENT_LIST_DIR}/../tests/support/fuzz_replay_main.cpp)

function(openvhd_fuzz_target name)
  cmake_parse_arguments(FUZZ "" "SEEDS" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${FUZZ_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${FUZZ_LINKS})
  set(count 500)
  if(CMAKE_CXX_FLAGS MATCHES "sanitize")
    set(count 100)
  endif()
  if(OPENVHD_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set(inputs -runs=${count} -seed=1)
    set(once -runs=0)
  else()
    target_sources(${name} PRIVATE ${openvhd_replay_main})
    set(inputs --random ${count})
    set(once "")
  endif()
  add_test(NAME ${name}.fixed_inputs COMMAND ${name} ${inputs})
  set_tests_properties(${name}.fixed_inputs PROPERTIES LABELS fuzz TIMEOUT 300)
  if(FUZZ_SEEDS)
    add_test(NAME ${name}.seeds COMMAND ${name} ${once} ${FUZZ_SEEDS})
    set_tests_properties(${name}.seeds PROPERTIES LABELS fuzz TIMEOUT 300)
  endif()
  set_property(GLOBAL APPEND PROPERTY OPENVHD_FUZZ_TARGETS ${name})
  # scripts/test.sh finds them there.
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
endfunction()
