/// Changing a header safely ([MS-VHDX] 2.2.2.1): the copy that does not count is written with the
/// next sequence number and made durable; from then on it is the one that counts.
#pragma once

#include <array>
#include <cstddef>
#include <openvhd/error.hpp>
#include <optional>

#include "io/file.hpp"
#include "vhdx/layout.hpp"

namespace openvhd::vhdx {

/// What changes; empty fields stay.
struct HeaderChange {
  std::optional<Guid> file_write_guid{};
  std::optional<Guid> data_write_guid{};
  std::optional<Guid> log_guid{};  ///< Nil: the log is empty.
};

/// A header as it is to be written: durable before anything relies on it.
struct HeaderUpdate {
  Header header;      ///< With its checksum.
  unsigned copy = 0;  ///< Index into kHeaderAt: the copy that did not count.
  FileOffset at{};
  std::array<std::byte, kHeaderBlockBytes> bytes{};
};

/// The 4 KiB block of `header`; its checksum is computed, reserved bytes are zero.
std::array<std::byte, kHeaderBlockBytes> encode_header(Header header) noexcept;

/// More updates of the header than any open, replay or repair makes from its first to its last.
inline constexpr std::uint64_t kHeaderUpdatesOfSession = 8;

/// Before the first update of a session: nothing may be written that could not be ended properly.
/// Error: corrupt (X04) when the sequence number of `current`, which is copy `current_copy`, leaves
/// no room for kHeaderUpdatesOfSession updates.
Status require_header_updates(const Header& current, unsigned current_copy) noexcept;

/// The next header after `current`, which is copy `current_copy`. Error: corrupt (X04) when the
/// sequence number cannot be raised.
Result<HeaderUpdate> next_header(const Header& current, unsigned current_copy,
                                 const HeaderChange& change) noexcept;

/// Blocking: writes the next header and syncs; `current` and `copy` follow when that succeeded.
/// A failed sync leaves unknown which header counts: poison the image.
Status update_header(File& file, Header& current, unsigned& copy,
                     const HeaderChange& change) noexcept;

/// The same, twice, so that both copies say the same (2.2.2.1 recommends it); two syncs.
Status update_both_headers(File& file, Header& current, unsigned& copy,
                           const HeaderChange& change) noexcept;

}  // namespace openvhd::vhdx
