# PROGRAM is position independent, resolves everything at start into read-only tables, has no
# executable stack, and checks stacks and string functions.
function(expect arguments pattern text)
  separate_arguments(arguments)
  execute_process(COMMAND ${READELF} ${arguments} ${PROGRAM}
    OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
  if(NOT output MATCHES "${pattern}")
    message(FATAL_ERROR "${PROGRAM}: ${text}")
  endif()
endfunction()

expect("-hW" "Type: +DYN" "not position independent")
expect("-lW" "GNU_RELRO" "no RELRO")
expect("-lW" "GNU_STACK +0x0+ 0x0+ 0x0+ 0x0+ 0x0+ RW " "an executable stack")
expect("-dW" "BIND_NOW|NOW" "lazy binding")
expect("--dyn-syms -W" "__stack_chk_fail" "no stack protector")
expect("--dyn-syms -W" "_chk@" "no checked string functions")
