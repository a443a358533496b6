/// What making an image and mending one have in common.
#pragma once

#include "vhd/footer.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::vhd {

/// Readers decide by the creator whether a disk has the size of its geometry, and several take
/// every name that they do not know for one that does: so no name of our own (see README.md).
inline constexpr std::array<char, 4> kCreator{'w', 'i', 'n', ' '};
inline constexpr std::uint32_t kCreatorVersion = 0x000a'0000;
inline constexpr std::array<char, 4> kCreatorOs{'W', 'i', '2', 'k'};

/// Sets the checksum.
void seal(Footer& footer) noexcept;
void seal(DynamicHeader& header) noexcept;

}  // namespace openvhd::vhd
