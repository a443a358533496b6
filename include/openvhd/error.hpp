/// How operations fail: few codes to branch on, many reasons to read.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <openvhd/types.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace openvhd {

/// Few codes to branch on; `Error::what` has the reason.
enum class Errc : std::uint8_t {
  io,            ///< The host failed a call; `sys_errno` says how.
  corrupt,       ///< The image breaks a rule of its format.
  unsupported,   ///< Well formed, but something that this library does not do.
  out_of_range,  ///< Beyond the end of the disk, or a number that no limit admits.
  misaligned,    ///< Not a multiple of the logical sector size.
  read_only,     ///< A change was asked of an image opened for reading.
  busy,          ///< Locked by another process, or a bound was reached; trying later may work.
  no_space,      ///< The host file system is full; nothing was changed.
  not_found,     ///< A file, parent or export that was named is not there.
  denied,        ///< A policy forbids it: parent paths, owners, links, kinds of file.
  mismatch,      ///< Two files that should belong together do not: linkage, sizes, sector sizes.
  poisoned,      ///< An earlier sync or metadata write failed: reopen the image.
  fenced,        ///< Another writer changed the image under us.
  invalid,       ///< The caller's arguments contradict each other.
  cancelled,     ///< Stopped on request.
};

/// Why an operation failed. Trivially copyable and never allocates, so a completion can carry it.
struct Error {
  Errc code{};              ///< What to branch on.
  int sys_errno = 0;        ///< When the host failed a call, else 0.
  std::uint32_t layer = 0;  ///< Which file of a chain: 0 is the leaf, 1 its parent, and so on.
  FileOffset where{};       ///< The structure that failed a check, in that file.
  const char* what = "";    ///< A literal: structure, broken rule, section or invariant id.
};

/// A short name for a code: "corrupt", "no-space", and so on.
const char* to_string(Errc code) noexcept;

/// One line: "FILE: OFFSET: what: strerror". Control characters in `file` are escaped.
std::string describe(const Error& error, std::string_view file);

/// A value or an Error, in the shape of std::expected. Taking the wrong side terminates.
template <class T>
class [[nodiscard]] Result {
 public:
  /// A success.
  Result(T value) : v_{std::in_place_index<0>, std::move(value)} {}
  /// A failure.
  Result(Error error) noexcept : v_{std::in_place_index<1>, error} {}

  /// There is a value and no error.
  explicit operator bool() const noexcept { return v_.index() == 0; }
  /// There is a value and no error.
  bool has_value() const noexcept { return v_.index() == 0; }
  /// The value.
  T& operator*() & noexcept { return std::get<0>(v_); }
  /// The value.
  const T& operator*() const& noexcept { return std::get<0>(v_); }
  /// The value, to be moved from.
  T&& operator*() && noexcept { return std::get<0>(std::move(v_)); }
  /// A member of the value.
  T* operator->() noexcept { return &std::get<0>(v_); }
  /// A member of the value.
  const T* operator->() const noexcept { return &std::get<0>(v_); }
  /// Why there is no value.
  const Error& error() const noexcept { return std::get<1>(v_); }

 private:
  std::variant<T, Error> v_;
};

struct Ok {};

/// A Status. Its copies are not trivial, so that it is handed to a function by its address: most
/// say nothing but Ok, which then costs one byte.
template <>
class [[nodiscard]] Result<Ok> {
 public:
  /// Done.
  Result(Ok) noexcept {}
  /// Not done, and why.
  Result(Error error) noexcept : error_{error}, ok_{false} {}
  /// The same as another.
  Result(const Result& other) noexcept : ok_{other.ok_} {
    if (!ok_) std::construct_at(&error_, other.error_);
  }
  /// Becomes the same as another.
  Result& operator=(const Result& other) noexcept {
    ok_ = other.ok_;
    if (!ok_) std::construct_at(&error_, other.error_);
    return *this;
  }
  ~Result() = default;

  /// Whether it is done.
  explicit operator bool() const noexcept { return ok_; }
  /// Whether it is done.
  bool has_value() const noexcept { return ok_; }
  /// Nothing; terminates if it is not done.
  Ok operator*() const noexcept {
    if (!ok_) std::terminate();
    return {};
  }
  /// Why it is not done.
  const Error& error() const noexcept {
    if (ok_) std::terminate();
    return error_;
  }

 private:
  union {
    Error error_;
  };
  bool ok_ = true;
};
/// Done, or an Error.
using Status = Result<Ok>;

}  // namespace openvhd
