/// The file identifier and the two headers ([MS-VHDX] 2.2.1, 2.2.2).
#pragma once

#include <array>
#include <cstddef>
#include <openvhd/error.hpp>
#include <string>

#include "io/file.hpp"
#include "vhdx/image_state.hpp"
#include "vhdx/judge.hpp"
#include "vhdx/layout.hpp"

namespace openvhd::vhdx {

/// One copy of the header, as it is in the file.
struct HeaderCopy {
  std::array<std::byte, kHeaderBlockBytes> block{};
  Header header;
  const char* problem = nullptr;  ///< Why it is not valid; null when it is.
};

/// What the header section says; valid as a whole: X01-X03.
struct ParsedHead {
  std::uint64_t file_bytes = 0;
  std::string creator;
  std::array<HeaderCopy, 2> copies;
  unsigned current = 0;
  Area log;

  const Header& header() const noexcept { return copies[current].header; }
  bool dirty() const noexcept { return !header().log_guid.value().is_nil(); }
};

/// Reads the header section. Errors (also in `judge`): corrupt, unsupported, io.
Result<ParsedHead> parse_head(File& file, Judge& judge);

/// Reads one copy; `problem` says what is wrong with it. Errors: io, corrupt (end of file).
Result<HeaderCopy> read_header(File& file, unsigned copy);

/// The creator text of the file identifier, as UTF-8. Errors: io, corrupt.
Result<std::string> read_identifier(File& file, Judge& judge);

}  // namespace openvhd::vhdx
