/// Giving back to the host what a new image reserved and never wrote.
#pragma once

#include <openvhd/error.hpp>

#include "io/file.hpp"

namespace openvhd {

/// Punches every run of `file` that the host knows to be unwritten. Blocks are reserved whole, so
/// that a full host shows before anything is mapped; a copy that is finished needs only the parts
/// that hold data. What the file reads as does not change; hosts that cannot tell keep it all.
Status give_back_unwritten(File& file) noexcept;

}  // namespace openvhd
