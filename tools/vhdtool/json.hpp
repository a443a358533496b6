/// The shape of every --json report is described in docs/json.md.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <openvhd/types.hpp>
#include <optional>
#include <string>

namespace vhdtool {

/// Keys keep the order in which they are set.
using Json = nlohmann::ordered_json;

/// Raised when a key changes its meaning or goes away; new keys come without.
inline constexpr int kJsonSchema = 1;

/// Indented, one newline at the end. Bytes that are not UTF-8 become U+FFFD.
std::string json_text(const Json& json);

/// The value, or null.
template <class T>
Json json_or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

template <>
inline Json json_or_null(const std::optional<openvhd::Guid>& value) {
  return value ? Json(openvhd::to_string(*value)) : Json(nullptr);
}

}  // namespace vhdtool
