/// The log of a VHDX: which entries count, and the file as it is when they are applied.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "crash/verify/bytes.hpp"
#include "crash/verify/image.hpp"

namespace verify {

struct LogPlace {
  std::uint64_t at = 0;
  std::uint64_t length = 0;
  Image::Id id{};
};

/// A file with sectors of 4 KiB, and ranges of zeros, laid over it.
class Replayed {
 public:
  static constexpr std::uint64_t kSector = 4096;

  explicit Replayed(const Source& below) : below_{below}, size_{below.size()} {}
  std::uint64_t size() const { return size_; }
  void read(std::uint64_t at, std::span<std::byte> into) const;
  std::uint64_t next_data(std::uint64_t at, std::uint64_t end) const;

  void put(std::uint64_t at, std::vector<std::byte> sector) { sectors_[at] = std::move(sector); }
  void clear(std::uint64_t at, std::uint64_t length);
  void extend(std::uint64_t size) { size_ = size_ < size ? size : size_; }

 private:
  const Source& below_;
  std::uint64_t size_;
  std::map<std::uint64_t, std::vector<std::byte>> sectors_;  // an empty one: zeros
};

/// L01 to L06: finds the active sequence and applies it. Reports what is wrong with it.
void replay_log(const Source& source, const LogPlace& place, Replayed& onto, Report& report);

}  // namespace verify
