/// Passing on what is not an answer: a command to execute, a wait, an error.
#pragma once

#include <utility>
#include <variant>

#include "io/layer.hpp"

namespace openvhd::vhdx {

/// A step without its answer, on its way to a caller that waits for another kind of answer.
template <class From>
struct Unfinished {
  Step<From>& step;

  template <class To>
  operator Step<To>() const noexcept {
    if (auto* command = std::get_if<IoCommand>(&step)) return std::move(*command);
    if (auto* error = std::get_if<Error>(&step)) return *error;
    return Wait{};
  }
};
template <class From>
Unfinished(Step<From>&) -> Unfinished<From>;

template <class T>
Unfinished<T> unfinished(Step<T>& step) noexcept {
  return {step};
}

}  // namespace openvhd::vhdx

/// OVHD_STEP(auto x, f()): binds the answer of a step, or returns the step from the enclosing
/// function, which is asked again later and must begin from the start.
#define OVHD_STEP(declaration, expression) \
  OVHD_STEP_2(declaration, expression, OVHD_STEP_JOIN(ovhd_step_, __LINE__))
#define OVHD_STEP_JOIN(a, b) OVHD_STEP_JOIN_2(a, b)
#define OVHD_STEP_JOIN_2(a, b) a##b
#define OVHD_STEP_2(declaration, expression, name)                 \
  auto name = (expression);                                        \
  if (name.index() != 0) return ::openvhd::vhdx::unfinished(name); \
  declaration = std::get<0>(name)

/// The same for a step whose answer says nothing.
#define OVHD_STEP_DONE(expression)                                             \
  do {                                                                         \
    auto ovhd_done = (expression);                                             \
    if (ovhd_done.index() != 0) return ::openvhd::vhdx::unfinished(ovhd_done); \
  } while (false)
