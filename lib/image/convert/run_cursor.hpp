/// Walks over what is to be copied, in pieces that are read and pieces that are zero.
#pragma once

#include <cstdint>
#include <limits>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>

#include "image/convert/endpoint.hpp"

namespace openvhd {

/// Turns the map of a part of a source into pieces of the target. Data pieces lie inside one
/// chunk; pieces start and end at multiples of `unit`, or at the end: runs of zeros that are
/// shorter than `gap`, or the parts of them outside such multiples, count as data.
class RunCursor {
 public:
  struct Spec {
    VirtualOffset source_at{};
    std::uint64_t length = 0;  ///< Of the part; everything behind it is zero.
    std::uint64_t total = 0;   ///< Of the target.
    std::uint64_t unit = 4096;
    std::uint64_t gap = 65536;
    std::uint64_t chunk = 1 << 20;                                       ///< A multiple of `unit`.
    std::uint64_t max_zero = std::numeric_limits<std::uint64_t>::max();  ///< Likewise.
  };
  struct Piece {
    std::uint64_t at = 0;      ///< In the target.
    std::uint64_t length = 0;  ///< 0: the end has been reached.
    bool zero = false;
  };

  RunCursor(Endpoint& source, const Spec& spec) noexcept : source_{source}, spec_{spec} {}

  Result<Piece> next() noexcept;

 private:
  struct Run {
    std::uint64_t end = 0;
    bool zero = false;
  };
  Result<Run> run_at(std::uint64_t at) noexcept;

  Endpoint& source_;
  Spec spec_;
  std::uint64_t position_ = 0;
  Run known_;
};

}  // namespace openvhd
