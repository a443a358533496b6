// Any text as a command of `vhdtool io`, as a size and as a name: an answer, and a safe one.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>

#include "io_command.hpp"
#include "size.hpp"
#include "text.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

bool is_one_safe_line(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte != 0x7f;
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(size, '\0');
  std::transform(data, data + size, text.begin(),
                 [](std::uint8_t byte) { return static_cast<char>(byte); });
  const auto parsed = vhdtool::parse_io_command(text);
  require(parsed.command.has_value() == parsed.problem.empty());
  if (parsed.command) {
    const auto& command = *parsed.command;
    require(command.length <= std::numeric_limits<std::uint64_t>::max() - command.offset);
  }
  require(is_one_safe_line(vhdtool::printable(parsed.problem)));
  const auto bytes = vhdtool::parse_size(text);
  require(bytes.bytes.has_value() == (bytes.problem[0] == '\0'));
  if (bytes.bytes) require(!vhdtool::exact_size(*bytes.bytes).empty());
  const auto safe = vhdtool::printable(text);
  require(is_one_safe_line(safe) && vhdtool::printable(safe) == safe);
  return 0;
}
