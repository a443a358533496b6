// The arguments of raw_ring: see the head of raw_ring.cpp.
#pragma once

#include <cstdint>
#include <optional>

namespace raw_ring {

enum class Mode : std::uint8_t { read, write, alloc };

struct Options {
  Mode mode = Mode::read;
  std::uint64_t block = 4096;
  std::uint64_t unit = 0;  // 0: the block
  std::uint64_t depth = 32;
  std::uint64_t rings = 1;
  std::uint64_t flush_every = 0;
  std::uint64_t seconds = 0;
  std::uint64_t count = 0;
  std::uint64_t seed = 0;
  bool durable = false;
  bool sequential = false;
  bool registered = false;
  bool cached = false;
  const char* file = nullptr;
};

/// Empty where they are wrong.
std::optional<Options> parse(int argc, char** argv);

}  // namespace raw_ring
