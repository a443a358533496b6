/// What every fuzzed image goes through once it has been opened.
#pragma once

#include "io/image_layer.hpp"

namespace openvhd::test {

/// Reads here and there, counts blocks, and where the image is writable writes, clears, flushes
/// and closes. Any of it may fail. Ends the process when bytes that were written do not come back.
void exercise(OpenedImage image, bool writable);

}  // namespace openvhd::test
