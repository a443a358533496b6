/// The commands of `vhdtool io`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vhdtool {

struct IoCommand {
  enum class Kind : std::uint8_t { read, write, zero, discard, flush, length, map };
  Kind kind{};
  std::optional<std::uint8_t> pattern = {};  ///< -P
  std::uint64_t offset = 0;                  ///< Bytes.
  std::uint64_t length = 0;                  ///< Bytes; offset + length does not overflow.
};

/// What `write` writes without -P.
inline constexpr std::uint8_t kDefaultPattern = 0xcd;

struct ParsedIoCommand {
  std::optional<IoCommand> command = {};
  std::string problem = {};  ///< One line; empty when `command` is set.
};

/// "read [-P BYTE] OFF LEN", "write [-P BYTE] OFF LEN", "zero OFF LEN", "discard OFF LEN",
/// "flush", "length", "map". OFF and LEN as parse_size() has them, BYTE from 0 to 255.
ParsedIoCommand parse_io_command(std::string_view text);

}  // namespace vhdtool
