/// Moving what some images hold into another one.
#pragma once

#include <cstdint>
#include <functional>
#include <openvhd/error.hpp>

#include "snapshot/chain_files.hpp"

namespace openvhd::snapshot {

struct MovedBytes {
  std::uint64_t copied = 0;
  std::uint64_t cloned = 0;
  std::uint64_t cleared = 0;
};

/// Called with everything of the disk below `done` in the target, though not yet durable.
using Milestone = std::function<Status(std::uint64_t done)>;

/// Makes `target` read as `source` wherever `source` holds anything: data is shared where the
/// host can, else copied, zeros are made; holes of `source` are left alone. Data below `from` is
/// there already. Errors: of both, cancelled.
Status move_into(const Workshop& shop, detail::DiskState& source, detail::DiskState& target,
                 std::uint64_t from, const Milestone& milestone, MovedBytes& moved);

}  // namespace openvhd::snapshot
