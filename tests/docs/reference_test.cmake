# The reference is made from the public headers without a warning: whatever is public has a comment.
# TOP is the top of the tree, OUTPUT where the pages go.
file(REMOVE_RECURSE ${OUTPUT})
file(MAKE_DIRECTORY ${OUTPUT})
set(ENV{OPENVHD_REFERENCE} ${OUTPUT})
execute_process(COMMAND ${DOXYGEN} docs/Doxyfile WORKING_DIRECTORY ${TOP}
  RESULT_VARIABLE result OUTPUT_VARIABLE out ERROR_VARIABLE out)
if(NOT result EQUAL 0 OR out MATCHES "warning:|error:")
  message(FATAL_ERROR "${out}")
endif()
# That it read something: a page of a class, and one of the header for C.
foreach(page classopenvhd_1_1Disk.html openvhd_8h.html)
  if(NOT EXISTS ${OUTPUT}/html/${page})
    message(FATAL_ERROR "no ${page} among the pages")
  endif()
endforeach()
file(READ ${OUTPUT}/html/openvhd_8h.html page)
if(NOT page MATCHES "ovhd_queue_descriptor")
  message(FATAL_ERROR "the functions for C are not among the pages")
endif()
