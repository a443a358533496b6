/// Making an io_uring with the best of what this kernel has.
#pragma once

#include <liburing.h>

#include <cstdint>

namespace openvhd {

/// A ring of `entries` submissions and at least `completions` completions, for the calling thread
/// alone. Completions run only when it looks, where the kernel can do that; else the plain ring of
/// older kernels. 0, or -errno.
int init_ring(io_uring* ring, std::uint32_t entries, std::uint32_t completions) noexcept;

/// Why init_ring() failed, as a literal.
const char* ring_refusal(int code) noexcept;

/// True when File::execute() may know a way that the kernel did not find: a kind that the file
/// system lacks, an alignment that it refuses, or a request that could not wait.
bool worth_executing(std::int32_t result) noexcept;

}  // namespace openvhd
