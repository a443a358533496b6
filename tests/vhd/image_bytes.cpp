#include "vhd/image_bytes.hpp"

#include <algorithm>

#include "support/bytes.hpp"

namespace openvhd::test {
namespace {

void put(Bytes& bytes, std::uint64_t at, std::uint64_t value, unsigned width) {
  for (unsigned i = 0; i < width; ++i)
    bytes.at(at + i) = static_cast<std::byte>(value >> (8 * (width - 1 - i)));
}

}  // namespace

void put16(Bytes& bytes, std::uint64_t at, std::uint32_t value) { put(bytes, at, value, 2); }
void put32(Bytes& bytes, std::uint64_t at, std::uint32_t value) { put(bytes, at, value, 4); }
void put64(Bytes& bytes, std::uint64_t at, std::uint64_t value) { put(bytes, at, value, 8); }

void put_text(Bytes& bytes, std::uint64_t at, const std::string& text) {
  for (std::size_t i = 0; i < text.size(); ++i) bytes.at(at + i) = static_cast<std::byte>(text[i]);
}

std::uint32_t get32(const Bytes& bytes, std::uint64_t at) {
  std::uint32_t out = 0;
  for (unsigned i = 0; i < 4; ++i)
    out = out << 8 | std::to_integer<std::uint32_t>(bytes.at(at + i));
  return out;
}

void seal(Bytes& bytes, std::uint64_t at, std::uint64_t length, std::uint64_t field) {
  put32(bytes, field, 0);
  std::uint32_t sum = 0;
  for (std::uint64_t i = 0; i < length; ++i)
    sum += std::to_integer<std::uint32_t>(bytes.at(at + i));
  put32(bytes, field, ~sum);
}

void seal_footer(Bytes& bytes, std::uint64_t at) {
  seal(bytes, at, std::min<std::uint64_t>(512, bytes.size() - at), at + 64);
}

Bytes footer_bytes(const FooterFields& fields) {
  Bytes out(512);
  put_text(out, 0, "conectix");
  put32(out, 8, 2);
  put32(out, 12, 0x00010000);
  put64(out, 16, fields.type == 2 ? ~std::uint64_t{0} : fields.data_offset);
  put32(out, 24, 500'000'000);
  put_text(out, 28, fields.creator);
  put32(out, 32, fields.creator_version);
  put_text(out, 36, "Wi2k");
  put64(out, 40, fields.size);
  put64(out, 48, fields.size);
  put32(out, 56, fields.geometry);
  put32(out, 60, fields.type);
  for (unsigned i = 0; i < 16; ++i) out[68 + i] = static_cast<std::byte>(fields.id);
  seal_footer(out, 0);
  return out;
}

Bytes block_pattern(std::uint32_t block, std::uint32_t length) {
  return pattern(length, 1000 + block);
}

std::uint64_t SparseImage::block_at(std::uint32_t block) const {
  return std::uint64_t{get32(bytes, table_at + 4 * block)} * 512;
}

SparseImage sparse_image(const SparseFields& fields) {
  const std::uint64_t size = fields.footer.size;
  const std::uint32_t sectors = fields.block_size / 512;
  SparseImage out{.bytes = {},
                  .table_at = fields.table_at,
                  .bitmap_length = (sectors / 8 + 511) / 512 * 512,
                  .block_size = fields.block_size};
  const auto needed =
      static_cast<std::uint32_t>((size + fields.block_size - 1) / fields.block_size);
  const std::uint32_t entries = fields.table_entries == 0 ? needed : fields.table_entries;
  const std::uint64_t table_bytes = (std::uint64_t{entries} * 4 + 511) / 512 * 512;
  std::uint64_t at = fields.blocks_at == 0 ? fields.table_at + table_bytes : fields.blocks_at;
  const std::uint64_t stride = out.bitmap_length + fields.block_size;
  const std::uint64_t end = at + stride * fields.blocks.size();
  out.bytes.resize(end);
  const Bytes footer = footer_bytes(fields.footer);
  std::copy(footer.begin(), footer.end(), out.bytes.begin());
  put_text(out.bytes, 512, "cxsparse");
  put64(out.bytes, 520, ~std::uint64_t{0});
  put64(out.bytes, 528, fields.table_at);
  put32(out.bytes, 536, 0x00010000);
  put32(out.bytes, 540, entries);
  put32(out.bytes, 544, fields.block_size);
  out.seal_header();
  std::fill_n(out.bytes.begin() + static_cast<std::ptrdiff_t>(fields.table_at), table_bytes,
              std::byte{0xff});
  for (const std::uint32_t block : fields.blocks) {
    put32(out.bytes, fields.table_at + 4 * block, static_cast<std::uint32_t>(at / 512));
    std::fill_n(out.bytes.begin() + static_cast<std::ptrdiff_t>(at), sectors / 8,
                static_cast<std::byte>(fields.bitmap_fill));
    const Bytes data = block_pattern(block, fields.block_size);
    std::copy(data.begin(), data.end(),
              out.bytes.begin() + static_cast<std::ptrdiff_t>(at + out.bitmap_length));
    at += stride;
  }
  out.bytes.insert(out.bytes.end(), footer.begin(), footer.end());
  return out;
}

Bytes fixed_image(std::uint64_t size, const FooterFields& fields) {
  Bytes out = pattern(size, 99);
  FooterFields mine = fields;
  mine.type = 2;
  if (mine.size == 0) mine.size = size;
  const Bytes footer = footer_bytes(mine);
  out.insert(out.end(), footer.begin(), footer.end());
  return out;
}

void put_locator(Bytes& bytes, unsigned index, const std::string& code, std::uint32_t space,
                 std::uint64_t at, const Bytes& data) {
  const std::uint64_t entry = 512 + 576 + 24 * index;
  put_text(bytes, entry, code);
  put32(bytes, entry + 4, space);
  put32(bytes, entry + 8, static_cast<std::uint32_t>(data.size()));
  put64(bytes, entry + 16, at);
  if (at + data.size() <= bytes.size())
    std::copy(data.begin(), data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

Bytes utf16le(const std::string& ascii) {
  Bytes out;
  for (const char c : ascii) {
    out.push_back(static_cast<std::byte>(c));
    out.push_back(std::byte{0});
  }
  return out;
}

Bytes utf16be(const std::string& ascii) {
  Bytes out;
  for (const char c : ascii) {
    out.push_back(std::byte{0});
    out.push_back(static_cast<std::byte>(c));
  }
  return out;
}

}  // namespace openvhd::test
