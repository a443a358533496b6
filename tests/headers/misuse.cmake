# COMPILE, SOURCE, EXPECTED: see openvhd_misuse_test().
execute_process(COMMAND ${COMPILE} ${SOURCE} RESULT_VARIABLE result ERROR_VARIABLE output)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${SOURCE} must compile when MISUSE is not defined:\n${output}")
endif()

set(ENV{LC_ALL} C)  # Diagnostics in English, quotes in ASCII.
execute_process(COMMAND ${COMPILE} -DMISUSE ${SOURCE} RESULT_VARIABLE result ERROR_VARIABLE output)
if(result EQUAL 0)
  message(FATAL_ERROR "${SOURCE} must not compile when MISUSE is defined")
endif()
if(NOT output MATCHES "${EXPECTED}")
  message(FATAL_ERROR "${SOURCE} fails, but not with \"${EXPECTED}\":\n${output}")
endif()
