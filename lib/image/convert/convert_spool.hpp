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

struct SpoolOptions {
  bool sparse = true;            ///< Zeros become holes.
  bool images_too = false;       ///< A stream that begins or ends like an image is a disk as well.
  Progress* progress = nullptr;  ///< Told the bytes so far as the total, since nobody knows it.
};

/// Reads `stream` to its end into the empty `file`. Errors: io, no_space, cancelled, and invalid:
/// it is empty, or looks like an image, at its beginning or as a fixed VHD does at its end.
/// `stream_failed` becomes true where an error is of the stream and not of the file.
Result<Spooled> spool(Stream stream, File& file, const SpoolOptions& options, bool& stream_failed);

/// invalid where `file` is an image: a disk was expected.
Status refuse_image(File& file);

}  // namespace openvhd
