/// Rules of order that no single state shows, because something else would serve in its place.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "crash/session.hpp"
#include "support/sim_file.hpp"

namespace openvhd::test {

/// V08: no footer of a VHD is overwritten or cut off before the one that follows it is durable.
/// A footer copy at 0 would serve readers that look there; others are lost.
///
/// X19: the first change of each open of a VHDX is a header, and nothing else changes before it is
/// durable. What a replay writes in place would read the same without it. `opens`: their ticks.
///
/// Empty: both hold.
std::string broken_order(const Shape& shape, const SimDisk& disk,
                         const std::vector<std::uint64_t>& opens);

}  // namespace openvhd::test
