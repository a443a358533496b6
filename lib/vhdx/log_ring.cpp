#include "vhdx/log_ring.hpp"

#include <algorithm>

#include "base/try.hpp"
#include "vhdx/layout.hpp"

namespace openvhd::vhdx {
namespace {

constexpr const char* kShort = "log: the file ends inside it (X03)";

}  // namespace

Result<std::span<const std::byte>> RingReader::sector(std::uint64_t at) {
  const std::uint64_t in_log = at % log_.length;
  const std::uint64_t start = align_down(in_log, kPieceBytes);
  if (loaded_ != start) {
    loaded_ = kNothing;
    OVHD_CHECK(file_.read_exact(log_.at + start, piece_, kShort));
    loaded_ = start;
  }
  return std::span<const std::byte>{piece_}.subspan(in_log - start, kLogSectorBytes);
}

Result<std::vector<std::byte>> read_ring(File& file, Area log, std::uint64_t at,
                                         std::uint64_t length) {
  std::vector<std::byte> out(length);
  const std::uint64_t first = std::min(length, log.length - at);
  const std::span<std::byte> all{out};
  OVHD_CHECK(file.read_exact(log.at + at, all.first(first), kShort));
  OVHD_CHECK(file.read_exact(log.at, all.subspan(first), kShort));
  return out;
}

}  // namespace openvhd::vhdx
