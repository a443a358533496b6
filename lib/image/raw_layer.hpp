/// A file that is the disk: raw images, and parents that the operator named as raw.
#pragma once

#include "io/image_layer.hpp"

namespace openvhd {

/// Opens a raw file; sectors are 512 bytes. For writing its size must be a multiple of that.
Result<OpenedImage> open_raw(std::unique_ptr<File> file, const LayerOpenOptions& options);

}  // namespace openvhd
