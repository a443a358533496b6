/// VHD images put together byte by byte from the specification, with nothing of lib/vhd: what the
/// library must be able to read, and what it must refuse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace openvhd::test {

using Bytes = std::vector<std::byte>;

void put16(Bytes& bytes, std::uint64_t at, std::uint32_t value);  // big-endian, as all of these
void put32(Bytes& bytes, std::uint64_t at, std::uint32_t value);
void put64(Bytes& bytes, std::uint64_t at, std::uint64_t value);
void put_text(Bytes& bytes, std::uint64_t at, const std::string& text);
std::uint32_t get32(const Bytes& bytes, std::uint64_t at);
/// Makes the checksum at `field` fit the `length` bytes at `at`.
void seal(Bytes& bytes, std::uint64_t at, std::uint64_t length, std::uint64_t field);

struct FooterFields {
  std::uint32_t type = 3;
  std::uint64_t size = 0;
  std::string creator = "win ";
  std::uint32_t creator_version = 0x000a0000;
  std::uint32_t geometry = 0;  // cylinders 16, heads 8, sectors 8 bits
  std::uint64_t data_offset = 512;
  int id = 7;  // sixteen times this
};
Bytes footer_bytes(const FooterFields& fields);
void seal_footer(Bytes& bytes, std::uint64_t at);

/// A dynamic or differencing image.
struct SparseFields {
  FooterFields footer{};
  std::uint32_t block_size = 4096 * 4;
  std::uint32_t table_entries = 0;  // 0: what the size needs
  std::uint64_t table_at = 1536;
  std::uint64_t blocks_at = 0;  // 0: behind the table
  /// Which blocks are there, in the order in which they lie. Filled with a pattern by block.
  std::vector<std::uint32_t> blocks{};
  std::uint8_t bitmap_fill = 0xff;
};

struct SparseImage {
  Bytes bytes;
  std::uint64_t table_at = 0;
  std::uint32_t bitmap_length = 0;
  std::uint32_t block_size = 0;
  std::uint64_t footer_at() const { return bytes.size() - 512; }
  /// Where the bitmap of a block lies.
  std::uint64_t block_at(std::uint32_t block) const;
  void seal_header() { seal(bytes, 512, 1024, 512 + 36); }
};
SparseImage sparse_image(const SparseFields& fields);
/// What the block of sparse_image() holds.
Bytes block_pattern(std::uint32_t block, std::uint32_t length);

Bytes fixed_image(std::uint64_t size, const FooterFields& fields = {});

/// A locator entry `index` of the header at 512, with its data at `at`.
void put_locator(Bytes& bytes, unsigned index, const std::string& code, std::uint32_t space,
                 std::uint64_t at, const Bytes& data);
Bytes utf16le(const std::string& ascii);
Bytes utf16be(const std::string& ascii);

}  // namespace openvhd::test
