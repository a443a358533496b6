/// What every fuzzed image goes through once it has been opened.
#pragma once

#include <cstdint>
#include <span>

#include "fuzz/images.hpp"
#include "io/image_layer.hpp"

namespace openvhd::test {

/// Reads here and there, counts blocks, and where the image is writable writes, clears, flushes
/// and closes. Any of it may fail. Ends the process when bytes that were written do not come back.
void exercise(OpenedImage image, bool writable);

/// A fuzz target: opens a changed image of `format`, for writing where the input says so, and
/// exercises it. Returns 0.
int fuzz_open(const FuzzFormat& format, std::span<const std::uint8_t> input);

}  // namespace openvhd::test
