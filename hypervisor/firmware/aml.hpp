/// Bytes of ACPI Machine Language (ACPI 6.5, chapter 20) and of resource descriptors (6.4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace openvhd::vmm::aml {

using Bytes = std::vector<std::byte>;

Bytes join(std::initializer_list<Bytes> parts);
Bytes integer(std::uint64_t value);
Bytes text(std::string_view value);
/// Seven characters, such as "PNP0501".
Bytes eisa_id(std::string_view id);
/// `path` as it is stored: four characters a segment, "\\" for the root.
Bytes name(std::string_view path, const Bytes& value);
Bytes scope(std::string_view path, std::initializer_list<Bytes> terms);
Bytes device(std::string_view path, std::initializer_list<Bytes> terms);
Bytes package(std::initializer_list<Bytes> elements);
/// A buffer of descriptors, with its end tag.
Bytes resources(std::initializer_list<Bytes> descriptors);
Bytes io_ports(std::uint16_t first, std::uint8_t count);
Bytes irq(unsigned line);

struct Window {
  std::uint64_t first, last;
};
Bytes bus_numbers(Window window);
Bytes io_window(Window window);
Bytes memory_window(Window window);

}  // namespace openvhd::vmm::aml
