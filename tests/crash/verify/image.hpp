/// The second opinion on an image: a checker in C++ that includes no header of the engine, written
/// from [MS-VHDX] 8.0 and the VHD specification alone. It judges one file by the invariants of
/// the formats and says, sector by sector, where the bytes of the disk are.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace verify {

/// The file that is judged. Reads behind its end give zeros.
class Source {
 public:
  virtual ~Source() = default;
  virtual std::uint64_t size() const = 0;
  virtual void read(std::uint64_t at, std::span<std::byte> into) const = 0;
  /// The first place at or after `at`, and below `end`, that may hold something other than zeros;
  /// `end` where there is none.
  virtual std::uint64_t next_data(std::uint64_t at, std::uint64_t end) const = 0;
};

/// One broken rule.
struct Breach {
  std::string id;  ///< "X07", "L01", "V04" ...
  std::string text;
};

/// A run of the disk and what holds it.
struct Run {
  enum class Kind : std::uint8_t { data, zero, parent };
  Kind kind{};
  std::uint64_t at = 0;  ///< In the file, for data.
  std::uint64_t length = 0;
};

/// An image that was judged sound. Borrows its source.
class Image {
 public:
  virtual ~Image() = default;
  std::uint64_t virtual_size() const { return virtual_size_; }
  std::uint32_t sector_bytes() const { return sector_bytes_; }
  /// True when nothing has to be replayed or mended before the image is as a closed one.
  bool clean() const { return clean_; }
  /// What holds the disk from `at` on: a run of at least one sector, at most `length` bytes.
  virtual Run find(std::uint64_t at, std::uint64_t length) const = 0;
  /// Bytes of the file as they are after a replay.
  virtual void read(std::uint64_t at, std::span<std::byte> into) const = 0;

  using Id = std::array<std::byte, 16>;
  Id file_write_id{};  ///< VHDX FileWriteGuid, as stored; of a VHD zeros.
  Id data_write_id{};  ///< VHDX DataWriteGuid; of a VHD its unique id.

 protected:
  std::uint64_t virtual_size_ = 0;
  std::uint32_t sector_bytes_ = 512;
  bool clean_ = true;
};

/// Null when a rule is broken; `breaches` then says which.
std::unique_ptr<Image> judge_vhdx(const Source& source, std::vector<Breach>& breaches);
std::unique_ptr<Image> judge_vhd(const Source& source, std::vector<Breach>& breaches);

/// Lines for a message.
std::string text_of(const std::vector<Breach>& breaches);

}  // namespace verify
