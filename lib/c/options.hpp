/// From the structures of the C interface to those of the library.
#pragma once

#include <openvhd/openvhd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <openvhd/convert.hpp>
#include <openvhd/create.hpp>
#include <openvhd/disk.hpp>
#include <openvhd/progress.hpp>
#include <optional>
#include <span>
#include <type_traits>

#include "c/failure.hpp"

namespace openvhd::c {

/// Reads a structure of a caller who may know fewer or more members than we do, `defaults` for
/// those it does not have; null gives the defaults. False: of no version, or it has set what we do
/// not know. Nested structures never grow.
template <class T>
bool take(const T* from, T& into, const T& defaults) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  into = defaults;
  if (from == nullptr) return true;
  const std::size_t size = from->struct_size;
  // All structures are of their first version.
  if (size < sizeof(T) || size > 16 * sizeof(T)) return false;
  std::memcpy(&into, from, sizeof(T));
  const std::span rest{reinterpret_cast<const std::byte*>(from) + sizeof(T), size - sizeof(T)};
  return std::ranges::all_of(rest, [](std::byte b) { return b == std::byte{0}; });
}

/// Fills in a structure of a caller who may know fewer or more members. False: of no version.
template <class T>
bool give(const T& from, T* into) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  if (into == nullptr || into->struct_size < sizeof(T)) return false;
  const std::size_t size = into->struct_size;
  std::memcpy(into, &from, sizeof(T));
  into->struct_size = size;
  return true;
}

/// The defaults, and zeros behind them.
template <class T>
void init(T* into, std::size_t struct_size, const T& defaults) noexcept {
  if (into == nullptr || struct_size < sizeof(T)) return;
  std::memset(into, 0, struct_size);
  std::memcpy(into, &defaults, sizeof(T));
  into->struct_size = struct_size;
}

ovhd_open_options default_open_options() noexcept;
ovhd_create_options default_create_options() noexcept;
ovhd_convert_options default_convert_options() noexcept;
ovhd_check_options default_check_options() noexcept;

/// Empty for OVHD_FORMAT_ANY. False: no format.
bool format_from(ovhd_format format, std::optional<Format>& into) noexcept;
ovhd_format format_of(Format format) noexcept;
ovhd_type type_of(DiskType type) noexcept;

/// Each: 0, or what fail_argument() answers.
int policy_from(const ovhd_parent_policy& from, ParentPolicy& into);
int open_from(const ovhd_open_options& from, OpenOptions& into);
int create_from(const ovhd_create_options& from, CreateOptions& into);

/// A callback in C as the library wants it.
class CallProgress final : public Progress {
 public:
  CallProgress(ovhd_progress call, void* context) noexcept : call_{call}, context_{context} {}
  bool update(std::uint64_t done, std::uint64_t total) noexcept override {
    return call_(context_, done, total) == 0;
  }
  /// Null where there is nobody to tell.
  Progress* or_null() noexcept { return call_ != nullptr ? this : nullptr; }

 private:
  ovhd_progress call_;
  void* context_;
};

}  // namespace openvhd::c
