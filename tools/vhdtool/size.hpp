/// Byte counts as people write and read them. Units are powers of 1024.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vhdtool {

struct ParsedSize {
  std::optional<std::uint64_t> bytes = {};
  const char* problem = "";  ///< Why `bytes` is empty.
};

/// "4096", "0x1000", "64K", "64KiB", "1.5G", "512B", letters in either case. A fraction must
/// come to whole bytes. "KB", "MB" and so on are refused: readers disagree on them.
ParsedSize parse_size(std::string_view text) noexcept;

/// A plain number, decimal or 0x; empty on anything else or above `limit`.
std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t limit) noexcept;

/// "0 bytes", "512 bytes", "1.5 MiB", "10 GiB": three significant digits, "~" before a rounded one.
std::string human_size(std::uint64_t bytes);

/// "10,737,418,240".
std::string grouped(std::uint64_t number);

/// "10 GiB (10,737,418,240 bytes)"; below 1 KiB only "512 bytes".
std::string exact_size(std::uint64_t bytes);

/// "1 file", "3 files".
std::string counted(std::uint64_t number, std::string_view noun);

}  // namespace vhdtool
