/// Short ways to look at and to change the bytes of a file in a test. A failing call ends the
/// test program: it is the test that is wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "io/file.hpp"

namespace openvhd::test {

/// The whole file; at most 1 GiB.
std::vector<std::byte> read_all(File& file);
/// Exactly these bytes of it.
std::vector<std::byte> read_at(File& file, std::uint64_t at, std::size_t length);
/// Overwrites or appends.
void patch(File& file, std::uint64_t at, std::span<const std::byte> bytes);
void patch(File& file, std::uint64_t at, std::initializer_list<int> bytes);

/// `length` times one byte.
std::vector<std::byte> filled(std::size_t length, int value);
/// Bytes that differ from place to place and from seed to seed, never all zero in a sector.
std::vector<std::byte> pattern(std::size_t length, std::uint64_t seed);
std::vector<std::byte> bytes_of(std::string_view text);

}  // namespace openvhd::test
