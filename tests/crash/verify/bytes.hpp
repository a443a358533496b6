/// Numbers out of bytes, checksums, and who owns which part of a file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "crash/verify/image.hpp"

namespace verify {

inline constexpr std::uint64_t kMegabyte = std::uint64_t{1} << 20;

template <class T>
T little(std::span<const std::byte> from, std::size_t at) {
  T out = 0;
  for (std::size_t i = sizeof(T); i-- > 0;)
    out = static_cast<T>(out << 8 | std::to_integer<T>(from[at + i]));
  return out;
}
template <class T>
T big(std::span<const std::byte> from, std::size_t at) {
  T out = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    out = static_cast<T>(out << 8 | std::to_integer<T>(from[at + i]));
  return out;
}
bool spells(std::span<const std::byte> from, std::size_t at, const char* text);

/// CRC-32C, with the four bytes at `skip` taken as zeros; skip >= size: nothing is.
std::uint32_t crc32c_of(std::span<const std::byte> bytes, std::size_t skip);
/// A piece of a longer one: begin with ~0, and invert the end.
std::uint32_t crc32c_more(std::uint32_t crc, std::span<const std::byte> bytes);
/// The VHD checksum: one's complement of the sum, without the four bytes at `skip`.
std::uint32_t vhd_checksum(std::span<const std::byte> bytes, std::size_t skip);

/// Disjoint ranges of a file, each with an owner.
class Owners {
 public:
  /// False when some of it has an owner already, whose name is then in `clash`.
  bool claim(std::uint64_t at, std::uint64_t length, const std::string& name, std::string& clash);
  std::uint64_t end() const { return ranges_.empty() ? 0 : last_end_; }

 private:
  struct Range {
    std::uint64_t end = 0;
    std::string name;
  };
  std::map<std::uint64_t, Range> ranges_;
  std::uint64_t last_end_ = 0;
};

/// Collects breaches; short to write.
class Report {
 public:
  explicit Report(std::vector<Breach>& out) : out_{out}, before_{out.size()} {}
  void fail(const char* id, std::string text) { out_.push_back({id, std::move(text)}); }
  bool sound() const { return out_.size() == before_; }

 private:
  std::vector<Breach>& out_;
  std::size_t before_;
};

}  // namespace verify
