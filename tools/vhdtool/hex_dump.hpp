/// Bytes for people, 16 to a line; lines that repeat are shown once and then as one "*".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace vhdtool {

class HexDump {
 public:
  /// `at` is the position of the first byte.
  explicit HexDump(std::uint64_t at) : at_{at} {}
  /// The lines that `bytes` complete. Between calls up to 15 bytes wait for theirs.
  std::string add(std::span<const std::byte> bytes);
  /// The last, short line, and the position behind it.
  std::string finish();

 private:
  static constexpr std::size_t kPerLine = 16;
  using Line = std::array<std::byte, kPerLine>;

  void end_line(std::string& out);

  std::uint64_t at_;
  Line line_{};
  std::size_t filled_ = 0;
  Line previous_{};
  bool has_previous_ = false;
  bool skipping_ = false;
};

}  // namespace vhdtool
