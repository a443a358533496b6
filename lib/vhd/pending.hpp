/// How the parts of a layer say that they cannot go on yet.
#pragma once

#include <optional>
#include <variant>

#include "io/layer.hpp"
#include "vhd/host_call.hpp"

namespace openvhd::vhd {

/// Why there is no answer: a command to execute first, one that somebody else executes, or a
/// failure. Turns into whatever Step the caller owes.
struct Blocked {
  std::variant<IoCommand, Wait, Error> why;

  template <class T>
  operator Step<T>() const {
    return std::visit([](const auto& reason) -> Step<T> { return reason; }, why);
  }
};

/// Empty: done.
using Pending = std::optional<Blocked>;

/// Who gets the result of a command.
enum class TokenKind : std::uint32_t { table_page, bitmap, allocation, tail, round };
constexpr std::uint64_t token_of(TokenKind kind, std::uint32_t index) noexcept {
  return std::uint64_t{static_cast<std::uint32_t>(kind)} << 32 | index;
}

/// Hands out what `call` needs. Empty once it is done, and still done: the caller resets it. A
/// failure resets it here, so that whoever asks next tries again.
inline Pending advance(HostCall& call, std::uint64_t token) noexcept {
  if (const auto command = call.issue(token)) return Blocked{*command};
  if (call.busy()) return Blocked{Wait{}};
  if (call.failed()) {
    call.reset();
    return Blocked{call.error()};
  }
  return std::nullopt;
}

}  // namespace openvhd::vhd
