#include "io_command.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "size.hpp"

namespace vhdtool {
namespace {

struct Shape {
  std::string_view name;
  IoCommand::Kind kind;
  bool has_range;
  bool has_pattern;
};

constexpr std::array kShapes = {
    Shape{"read", IoCommand::Kind::read, true, true},
    Shape{"write", IoCommand::Kind::write, true, true},
    Shape{"zero", IoCommand::Kind::zero, true, false},
    Shape{"discard", IoCommand::Kind::discard, true, false},
    Shape{"flush", IoCommand::Kind::flush, false, false},
    Shape{"length", IoCommand::Kind::length, false, false},
    Shape{"map", IoCommand::Kind::map, false, false},
};

// One more than any command takes, so that the surplus is seen; the rest is not looked at.
constexpr std::size_t kMaxWords = 6;

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (words.size() < kMaxWords) {
    const auto start = text.find_first_not_of(" \t");
    if (start == std::string_view::npos) break;
    text.remove_prefix(start);
    const auto end = std::min(text.find_first_of(" \t"), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return words;
}

std::string usage_of(const Shape& shape) {
  std::string usage{shape.name};
  if (shape.has_pattern) usage += " [-P BYTE]";
  if (shape.has_range) usage += " OFF LEN";
  return usage;
}

ParsedIoCommand problem(std::string_view text, const std::string& what) {
  return {.command = std::nullopt, .problem = "'" + std::string{text} + "': " + what};
}

}  // namespace

ParsedIoCommand parse_io_command(std::string_view text) {
  const auto words = words_of(text);
  if (words.empty()) return problem(text, "an empty command");
  const auto* const shape = std::find_if(kShapes.begin(), kShapes.end(),
                                         [&](const Shape& s) { return s.name == words[0]; });
  if (shape == kShapes.end()) {
    return problem(text, "no such command: read, write, zero, discard, flush, length or map");
  }
  IoCommand command{.kind = shape->kind};
  std::size_t at = 1;
  if (shape->has_pattern && at + 1 < words.size() && words[at] == "-P") {
    const auto byte = parse_number(words[at + 1], 0xff);
    if (!byte) return problem(text, "-P takes a byte, 0 to 255");
    command.pattern = static_cast<std::uint8_t>(*byte);
    at += 2;
  }
  if (words.size() - at != (shape->has_range ? 2U : 0U)) {
    return problem(text, "usage is: " + usage_of(*shape));
  }
  if (!shape->has_range) return {.command = command};
  const auto offset = parse_size(words[at]);
  if (!offset.bytes) return problem(text, "OFF " + std::string{offset.problem});
  const auto length = parse_size(words[at + 1]);
  if (!length.bytes) return problem(text, "LEN " + std::string{length.problem});
  if (*length.bytes > std::numeric_limits<std::uint64_t>::max() - *offset.bytes)
    return problem(text, "OFF + LEN is too large");
  command.offset = *offset.bytes;
  command.length = *length.bytes;
  return {.command = command};
}

}  // namespace vhdtool
