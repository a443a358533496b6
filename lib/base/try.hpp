/// Early return on failure. Private to the library: macros stay out of the public headers.
#pragma once

#include <openvhd/error.hpp>

#define OVHD_JOIN_2(a, b) a##b
#define OVHD_JOIN(a, b) OVHD_JOIN_2(a, b)

/// Evaluates a Status (or any Result) and returns its error from the enclosing function.
#define OVHD_CHECK(expression)                           \
  do {                                                   \
    if (auto ovhd_status = (expression); !ovhd_status) { \
      return ovhd_status.error();                        \
    }                                                    \
  } while (false)

/// OVHD_TRY(auto x, f()): binds the value, or returns the error from the enclosing function.
#define OVHD_TRY(declaration, expression) \
  OVHD_TRY_2(declaration, expression, OVHD_JOIN(ovhd_result_, __LINE__))
#define OVHD_TRY_2(declaration, expression, name) \
  auto name = (expression);                       \
  if (!name) return name.error();                 \
  declaration = *std::move(name)
