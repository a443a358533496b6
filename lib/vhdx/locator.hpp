/// The parent locator ([MS-VHDX] 2.6.2.6): under which names a parent may be found, and by which
/// GUID it is known.
#pragma once

#include <cstddef>
#include <openvhd/error.hpp>
#include <span>
#include <string>
#include <vector>

#include "io/image_layer.hpp"
#include "vhdx/judge.hpp"
#include "vhdx/layout.hpp"

namespace openvhd::vhdx {

/// Most bytes of a locator, and most pairs in it, that are looked at.
inline constexpr std::size_t kMaxLocatorBytes = 64 * kKiB;
inline constexpr std::size_t kMaxLocatorPairs = 256;

struct LocatorPair {
  std::string key;    ///< UTF-8.
  std::string value;  ///< UTF-8; of keys that are not known, what cannot be converted is U+FFFD.
};

struct Locator {
  Guid type;
  std::vector<LocatorPair> pairs;  ///< In the order of the file.
};

/// Decodes the bytes of the item; `at` is where they are in the file. Every rule that is broken
/// (X17) is an error: a wrong parent is worse than none.
Result<Locator> decode_locator(std::span<const std::byte> item, FileOffset at, Judge& judge);

/// What a locator means: linkage and paths in the order in which they are to be tried (X17).
Result<ParentLink> parent_link_of(const Locator& locator, FileOffset at, Judge& judge);

/// Encodes a locator of the VHDX type. Errors: invalid when a text is not UTF-8 or too long.
Result<std::vector<std::byte>> encode_locator(std::span<const LocatorPair> pairs);

}  // namespace openvhd::vhdx
