/// Standard input and output as streams of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <span>

namespace openvhd {

/// A descriptor that is read or written from beginning to end. Does not close it.
class Stream {
 public:
  static Stream standard_input() noexcept { return Stream{0}; }
  static Stream standard_output() noexcept { return Stream{1}; }
  /// For tests: a pipe's end. The caller keeps it open.
  explicit Stream(int descriptor) noexcept : descriptor_{descriptor} {}

  /// Asks `progress` (borrowed; null: nobody) before every transfer and ten times a second while
  /// the other end makes it wait; its no ends the transfer with Errc::cancelled. `total` bytes are
  /// to move; 0: nobody knows.
  void ask(Progress* progress, std::uint64_t total = 0) noexcept {
    progress_ = progress;
    total_ = total;
  }

  /// A regular file that stands at its beginning: it may just as well be opened by name.
  bool is_whole_file() const noexcept;
  /// A terminal: nobody wants a disk there.
  bool is_terminal() const noexcept;
  /// Waits for bytes and fills `into` as far as they come: less only at the end.
  Result<std::size_t> read_full(std::span<std::byte> into) noexcept;
  /// Writes all of it, waiting for the reader.
  Status write_all(std::span<const std::byte> from) noexcept;
  /// Where it is a file: makes what was written durable.
  Status sync() noexcept;

 private:
  Status wait(short events) noexcept;

  int descriptor_;
  Progress* progress_ = nullptr;
  std::uint64_t total_ = 0;
  std::uint64_t moved_ = 0;
};

}  // namespace openvhd
