# Builds SOURCE into OUTPUT with what pkg-config tells about PREFIX, and runs it.
set(ENV{PKG_CONFIG_PATH} ${LIBRARY_PATH}/pkgconfig)
set(static --static)
if(SHARED)
  set(static "")
endif()
execute_process(COMMAND pkg-config ${static} --cflags --libs openvhd
  OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
if(NOT flags MATCHES "-I${PREFIX}/" OR NOT flags MATCHES "-lopenvhd")
  message(FATAL_ERROR "pkg-config does not name the installed copy: ${flags}")
endif()
separate_arguments(flags UNIX_COMMAND "${flags}")
execute_process(COMMAND ${COMPILER} -std=c++20 ${SOURCE} -o ${OUTPUT} ${flags}
  COMMAND_ERROR_IS_FATAL ANY)
set(ENV{LD_LIBRARY_PATH} ${LIBRARY_PATH})
get_filename_component(folder ${OUTPUT} DIRECTORY)
execute_process(COMMAND ${OUTPUT} WORKING_DIRECTORY ${folder} COMMAND_ERROR_IS_FATAL ANY)
