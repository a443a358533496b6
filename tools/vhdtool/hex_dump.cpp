#include "hex_dump.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace vhdtool {

void HexDump::end_line(std::string& out) {
  const bool whole = filled_ == kPerLine;
  if (whole && has_previous_ && line_ == previous_) {
    if (!skipping_) out += "*\n";
    skipping_ = true;
  } else {
    skipping_ = false;
    std::string hex;
    std::string ascii;
    for (std::size_t i = 0; i < kPerLine; ++i) {
      if (i == kPerLine / 2) hex += ' ';
      const auto byte = std::to_integer<unsigned>(line_[i]);
      hex += i < filled_ ? fmt::format(" {:02x}", byte) : std::string{"   "};
      if (i < filled_) ascii += byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : '.';
    }
    out += fmt::format("{:012x} {}  |{}|\n", at_, hex, ascii);
  }
  previous_ = line_;
  has_previous_ = whole;
  at_ += filled_;
  filled_ = 0;
}

std::string HexDump::add(std::span<const std::byte> bytes) {
  std::string out;
  while (!bytes.empty()) {
    const auto taken = std::min(kPerLine - filled_, bytes.size());
    std::copy_n(bytes.begin(), taken, line_.begin() + static_cast<std::ptrdiff_t>(filled_));
    filled_ += taken;
    bytes = bytes.subspan(taken);
    if (filled_ == kPerLine) end_line(out);
  }
  return out;
}

std::string HexDump::finish() {
  std::string out;
  if (filled_ != 0) end_line(out);
  return out + fmt::format("{:012x}\n", at_);
}

}  // namespace vhdtool
