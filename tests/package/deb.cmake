# Builds the Debian package from SOURCE in a build tree BUILD, with the arguments OPTIONS, and looks
# into it: what has to be there is, where Debian wants it, and runs from where it was unpacked.
execute_process(COMMAND ${CMAKE_COMMAND} -S ${SOURCE} -B ${BUILD} -G Ninja ${OPTIONS}
  -DBUILD_SHARED_LIBS=ON -DCMAKE_INSTALL_PREFIX=/usr -DOPENVHD_BUILD_TESTS=OFF
  COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${BUILD} COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)
file(GLOB old ${BUILD}/*.deb)
if(old)
  file(REMOVE ${old})
endif()
execute_process(COMMAND ${CMAKE_CPACK_COMMAND} WORKING_DIRECTORY ${BUILD}
  COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)
file(GLOB package ${BUILD}/openvhd_*.deb)
list(LENGTH package count)
if(NOT count EQUAL 1)
  message(FATAL_ERROR "one package is expected: ${package}")
endif()

execute_process(COMMAND dpkg-deb --contents ${package}
  OUTPUT_VARIABLE contents COMMAND_ERROR_IS_FATAL ANY)
foreach(wanted
    bin/vhdtool
    lib/x86_64-linux-gnu/libopenvhd.so.0.1
    lib/x86_64-linux-gnu/libopenvhd.so
    lib/x86_64-linux-gnu/nbdkit/plugins/nbdkit-openvhd-plugin.so
    lib/x86_64-linux-gnu/pkgconfig/openvhd.pc
    include/openvhd/openvhd.h
    include/openvhd/disk.hpp
    share/man/man1/vhdtool.1
    share/man/man1/vhdtool-mount.1
    share/bash-completion/completions/vhdtool
    share/zsh/site-functions/_vhdtool
    share/fish/vendor_completions.d/vhdtool.fish
    share/doc/openvhd/copyright)
  string(REPLACE x86_64-linux-gnu "${LIBRARY_ARCHITECTURE}" wanted ${wanted})
  string(REPLACE "." "\\." pattern "${wanted}")
  if(NOT contents MATCHES " \\./usr/${pattern}( |\n)")
    message(FATAL_ERROR "not in the package: /usr/${wanted}\n${contents}")
  endif()
endforeach()
if(contents MATCHES "usr/local")
  message(FATAL_ERROR "something is below /usr/local:\n${contents}")
endif()

execute_process(COMMAND dpkg-deb --field ${package}
  OUTPUT_VARIABLE fields COMMAND_ERROR_IS_FATAL ANY)
foreach(wanted "Depends: [^\n]*libfuse3-3" "Depends: [^\n]*liburing2" "Depends: [^\n]*libc6"
    "Recommends: [^\n]*nbdkit" "Package: openvhd\n" "Architecture: [a-z0-9]+\n")
  if(NOT fields MATCHES "${wanted}")
    message(FATAL_ERROR "the control file has no '${wanted}':\n${fields}")
  endif()
endforeach()

file(REMOVE_RECURSE ${BUILD}/unpacked)
execute_process(COMMAND dpkg-deb --extract ${package} ${BUILD}/unpacked
  COMMAND_ERROR_IS_FATAL ANY)
set(usr ${BUILD}/unpacked/usr)
set(ENV{LD_LIBRARY_PATH} ${usr}/lib/${LIBRARY_ARCHITECTURE})
execute_process(COMMAND ${usr}/bin/vhdtool create ${BUILD}/disk.vhdx --size 4M --overwrite
  COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)
# The plugin is found beside the program that was unpacked, and works.
find_program(NBDKIT nbdkit)
if(NBDKIT)
  set(plugin ${usr}/lib/${LIBRARY_ARCHITECTURE}/nbdkit/plugins/nbdkit-openvhd-plugin.so)
  execute_process(COMMAND ${NBDKIT} --dump-plugin ${plugin}
    OUTPUT_VARIABLE plugin COMMAND_ERROR_IS_FATAL ANY)
  if(NOT plugin MATCHES "name=openvhd")
    message(FATAL_ERROR "${plugin}")
  endif()
endif()
