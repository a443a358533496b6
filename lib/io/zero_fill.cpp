#include "io/zero_fill.hpp"

#include <algorithm>
#include <array>

#include "base/checked.hpp"

namespace openvhd {
namespace {

constexpr std::size_t kPieceBytes = 64 * kKiB;
constexpr std::size_t kPieces = 16;
constexpr std::size_t kStepBytes = kPieceBytes * kPieces;
alignas(4096) constexpr std::array<std::byte, kPieceBytes> kZeros{};

std::int32_t write_some(File& file, FileOffset at, std::uint64_t length) noexcept {
  std::array<iovec, kPieces> pieces;
  std::size_t count = 0;
  for (std::uint64_t left = length; left != 0; ++count) {
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(left, kPieceBytes));
    // writev takes a mutable pointer by its signature and never writes through it.
    pieces[count] = {const_cast<std::byte*>(kZeros.data()), piece};
    left -= piece;
  }
  return file.execute({.kind = IoCommand::Kind::write,
                       .at = at,
                       .length = length,
                       .buffers = {pieces.data(), count}});
}

}  // namespace

Status fill_with_zeros(File& file, FileRange range, Progress* progress) noexcept {
  for (std::uint64_t done = 0;;) {
    if (progress != nullptr && !progress->update(done, range.length)) {
      return Error{.code = Errc::cancelled, .what = "stopped on request"};
    }
    if (done == range.length) return Ok{};
    const std::int32_t put =
        write_some(file, range.at + done, std::min<std::uint64_t>(kStepBytes, range.length - done));
    if (put <= 0) return host_error(put, range.at + done, "write zeros");
    done += static_cast<std::uint64_t>(put);
  }
}

}  // namespace openvhd
