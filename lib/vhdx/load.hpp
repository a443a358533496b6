/// From a file to a ParsedImage, with everything that must happen in between.
#pragma once

#include <memory>
#include <openvhd/error.hpp>

#include "io/file.hpp"
#include "io/host.hpp"
#include "vhdx/image_state.hpp"

namespace openvhd::vhdx {

struct LoadedImage {
  ParsedImage image;
  std::unique_ptr<File> file;  ///< The one that was given, or an overlay over it.
};

/// Reads and validates `file`. A dirty log is replayed: into the file when `writable`, else into
/// an overlay. A file that is refused is not written. Errors: corrupt, unsupported, io.
Result<LoadedImage> load_image(std::unique_ptr<File> file, bool writable, Host& host);

}  // namespace openvhd::vhdx
