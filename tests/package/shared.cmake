# Builds SOURCE as a shared library in WORK, installs it, checks what it exports and uses it.
set(prefix ${WORK}/prefix)
set(library ${prefix}/${LIBDIR}/libopenvhd.so)
file(REMOVE_RECURSE ${prefix} ${WORK}/consumer)

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

run(${CMAKE_COMMAND} -G ${GENERATOR} -S ${SOURCE} -B ${WORK}/build ${OPTIONS}
  -DBUILD_SHARED_LIBS=ON -DOPENVHD_BUILD_TESTS=OFF -DOPENVHD_BUILD_TOOLS=OFF
  -DCMAKE_INSTALL_PREFIX=${prefix})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${CMAKE_COMMAND} --install ${WORK}/build)

execute_process(COMMAND ${NM} -DC --defined-only ${library}
  OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE "\n$" "" symbols "${symbols}")
string(REPLACE ";" "," symbols "${symbols}")
string(REPLACE "\n" ";" symbols "${symbols}")
foreach(symbol IN LISTS symbols)
  if(NOT symbol MATCHES "^[0-9a-f]+ T openvhd::")
    message(FATAL_ERROR "exported, but no function of the public headers: ${symbol}")
  endif()
endforeach()

# That none is missing: the consumer takes the address of every public function.
run(${CMAKE_COMMAND} -G ${GENERATOR} -S ${CMAKE_CURRENT_LIST_DIR}/consumer -B ${WORK}/consumer
  ${OPTIONS} -DCMAKE_PREFIX_PATH=${prefix})
run(${CMAKE_COMMAND} --build ${WORK}/consumer)
run(${WORK}/consumer/consumer)
