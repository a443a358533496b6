#include "firmware/aml.hpp"

#include <algorithm>

namespace openvhd::vmm::aml {
namespace {

void put(Bytes& to, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) to.push_back(static_cast<std::byte>(value >> (8 * i)));
}

void put(Bytes& to, std::string_view chars) {
  for (const char c : chars) to.push_back(static_cast<std::byte>(c));
}

void put(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

// PkgLength counts itself: one byte up to 63, two up to 4095, three up to 1 MiB.
Bytes with_length(const Bytes& body) {
  const std::size_t own = body.size() + 1 <= 0x3f ? 1 : body.size() + 2 <= 0xfff ? 2 : 3;
  const std::size_t total = body.size() + own;
  Bytes out;
  if (own == 1) {
    put(out, total, 1);
  } else {
    put(out, (own - 1) << 6 | (total & 0x0f), 1);
    put(out, total >> 4, own - 1);
  }
  put(out, body);
  return out;
}

Bytes block(std::initializer_list<unsigned> opcode, std::string_view path,
            std::initializer_list<Bytes> terms) {
  Bytes body;
  put(body, path);
  for (const auto& term : terms) put(body, term);
  Bytes out;
  for (const unsigned byte : opcode) put(out, byte, 1);
  put(out, with_length(body));
  return out;
}

struct WindowKind {
  std::uint8_t tag, type, flags;
  std::size_t width;
};

// 6.4.3.5: a producer's range with fixed ends.
Bytes window_of(const WindowKind& kind, Window window) {
  Bytes out;
  put(out, kind.tag, 1);
  put(out, 3 + 5 * kind.width, 2);
  put(out, kind.type, 1);
  put(out, 0x0c, 1);
  put(out, kind.flags, 1);
  for (const std::uint64_t value : {std::uint64_t{0}, window.first, window.last, std::uint64_t{0},
                                    window.last - window.first + 1})
    put(out, value, kind.width);
  return out;
}

}  // namespace

Bytes join(std::initializer_list<Bytes> parts) {
  Bytes out;
  for (const auto& part : parts) put(out, part);
  return out;
}

Bytes integer(std::uint64_t value) {
  Bytes out;
  if (value <= 1) {
    put(out, value, 1);
    return out;
  }
  const std::size_t width = value <= 0xff ? 1 : value <= 0xffff ? 2 : value <= 0xffff'ffff ? 4 : 8;
  put(out, width == 1 ? 0x0a : width == 2 ? 0x0b : width == 4 ? 0x0c : 0x0e, 1);
  put(out, value, width);
  return out;
}

Bytes text(std::string_view value) {
  Bytes out;
  put(out, 0x0d, 1);
  put(out, value);
  put(out, 0, 1);
  return out;
}

Bytes eisa_id(std::string_view id) {
  const auto letter = [&](std::size_t i) { return static_cast<unsigned>(id.at(i) - '@'); };
  const auto digit = [&](std::size_t i) {
    const char c = id.at(i);
    return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'A' + 10);
  };
  Bytes out;
  put(out, 0x0c, 1);
  put(out, letter(0) << 2 | letter(1) >> 3, 1);
  put(out, (letter(1) & 7) << 5 | letter(2), 1);
  put(out, digit(3) << 4 | digit(4), 1);
  put(out, digit(5) << 4 | digit(6), 1);
  return out;
}

Bytes name(std::string_view path, const Bytes& value) {
  Bytes out;
  put(out, 0x08, 1);
  put(out, path);
  put(out, value);
  return out;
}

Bytes scope(std::string_view path, std::initializer_list<Bytes> terms) {
  return block({0x10}, path, terms);
}

Bytes device(std::string_view path, std::initializer_list<Bytes> terms) {
  return block({0x5b, 0x82}, path, terms);
}

Bytes package(std::initializer_list<Bytes> elements) {
  Bytes body;
  put(body, elements.size(), 1);
  for (const auto& element : elements) put(body, element);
  Bytes out;
  put(out, 0x12, 1);
  put(out, with_length(body));
  return out;
}

Bytes resources(std::initializer_list<Bytes> descriptors) {
  Bytes list;
  for (const auto& descriptor : descriptors) put(list, descriptor);
  put(list, 0x0079, 2);  // end, checksum not used
  Bytes body = integer(list.size());
  put(body, list);
  Bytes out;
  put(out, 0x11, 1);
  put(out, with_length(body));
  return out;
}

Bytes io_ports(std::uint16_t first, std::uint8_t count) {
  Bytes out;
  put(out, 0x0147, 2);  // 16 address bits are decoded
  put(out, first, 2);
  put(out, first, 2);
  put(out, 1, 1);
  put(out, count, 1);
  return out;
}

Bytes irq(unsigned line) {
  Bytes out;
  put(out, 0x22, 1);
  put(out, 1U << line, 2);
  return out;
}

Bytes bus_numbers(Window window) { return window_of({0x88, 2, 0, 2}, window); }
Bytes io_window(Window window) { return window_of({0x88, 1, 3, 2}, window); }
Bytes memory_window(Window window) { return window_of({0x87, 0, 1, 4}, window); }

}  // namespace openvhd::vmm::aml
