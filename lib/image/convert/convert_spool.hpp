/// A stream of unknown length, put into a file.
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>

#include "io/file.hpp"
#include "io/stream.hpp"

namespace openvhd {

struct Spooled {
  std::uint64_t length = 0;      ///< Of the stream; the file may be shorter: give it its size.
  std::uint64_t zero_bytes = 0;  ///< Of these, left out.
};

/// Reads `stream` to its end into the empty `file`; zeros become holes where `sparse`. Progress
/// is told with the bytes so far as the total, since nobody knows it. Errors: io, no_space,
/// cancelled.
Result<Spooled> spool(Stream stream, File& file, bool sparse, Progress* progress);

}  // namespace openvhd
