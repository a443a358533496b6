#include "firmware/smbios.hpp"

#include <algorithm>
#include <cstring>
#include <initializer_list>

namespace openvhd::vmm {
namespace {

class Builder {
 public:
  /// `fields`: all after the 4-byte header; strings are numbered from 1.
  void add(std::uint8_t type, const std::vector<std::uint8_t>& fields,
           std::initializer_list<std::string> strings) {
    const auto begin = bytes_.size();
    const auto length = static_cast<std::uint8_t>(4 + fields.size());
    for (const unsigned byte : {unsigned{type}, unsigned{length}, count_ & 0xffU, count_ >> 8})
      bytes_.push_back(static_cast<std::byte>(byte));
    for (const auto field : fields) bytes_.push_back(std::byte{field});
    for (const auto& text : strings) {
      for (const char c : text) bytes_.push_back(static_cast<std::byte>(c));
      bytes_.push_back({});
    }
    if (strings.size() == 0) bytes_.push_back({});
    bytes_.push_back({});
    ++count_;
    largest_ = std::max(largest_, bytes_.size() - begin);
  }
  std::vector<std::byte> bytes_;
  unsigned count_ = 0;
  std::size_t largest_ = 0;
};

void put(std::vector<std::uint8_t>& fields, std::uint64_t value, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i)
    fields.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

// Printable, and never empty: an empty string would end the set.
std::string clean(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, 64)) out += c > 0x20 && c < 0x7f ? c : '_';
  return out.empty() ? "0" : out;
}

}  // namespace

Smbios make_smbios(const SmbiosMachine& machine) {
  Builder build;
  std::vector<std::uint8_t> bios{1, 2, 0x00, 0xe8, 3, 0x00};  // E8000h, 64 KiB
  put(bios, 0x08, 8);                                         // characteristics: not supported
  put(bios, 0x1400, 2);                                       // a virtual machine
  put(bios, 0xffff'0000, 4);
  build.add(0, bios, {"OpenVHD", "1.0", "01/01/2024"});
  std::vector<std::uint8_t> system{1, 2, 3, 4};
  system.resize(4 + 16);                   // no UUID
  system.insert(system.end(), {6, 0, 0});  // woken by the power switch
  build.add(1, system, {"OpenVHD", "vhdvmm", "1", clean(machine.name)});
  build.add(3, {1, 1, 0, 0, 0, 3, 3, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0}, {"OpenVHD"});
  // One array with one module that holds all.
  const auto kib = machine.memory_bytes / 1024;
  std::vector<std::uint8_t> array{1, 3, 6};
  put(array, std::min<std::uint64_t>(kib, 0x8000'0000), 4);
  put(array, 0xfffe, 2);
  put(array, 1, 2);
  put(array, kib >= 0x8000'0000 ? machine.memory_bytes : 0, 8);
  build.add(16, array, {});
  const auto mib = machine.memory_bytes >> 20;
  std::vector<std::uint8_t> module;
  put(module, build.count_ - 1, 2);
  put(module, 0xfffe, 2);
  put(module, 0xffff'ffff, 4);  // widths unknown
  put(module, std::min<std::uint64_t>(mib, 0x7fff), 2);
  put(module, 0x0109, 2);                        // DIMM
  module.insert(module.end(), {1, 0, 7, 0, 0});  // RAM
  put(module, 0, 2);                             // speed
  module.insert(module.end(), {0, 0, 0, 0, 0});
  put(module, mib >= 0x7fff ? mib : 0, 4);
  put(module, 0, 2);
  build.add(17, module, {"DIMM 0"});
  build.add(32, {0, 0, 0, 0, 0, 0, 0}, {});
  build.add(127, {}, {});
  Smbios out;
  out.anchor.resize(31);
  const auto set = [&](std::size_t at, std::uint64_t value, std::size_t width) {
    for (std::size_t i = 0; i < width; ++i)
      out.anchor[at + i] = static_cast<std::byte>(value >> (8 * i));
  };
  std::memcpy(out.anchor.data(), "_SM_", 4);
  set(5, 31, 1);
  set(6, 0x0802, 2);
  set(8, build.largest_, 2);
  std::memcpy(&out.anchor[16], "_DMI_", 5);
  set(22, build.bytes_.size(), 2);
  set(28, build.count_, 2);
  set(30, 0x28, 1);
  out.tables = std::move(build.bytes_);
  return out;
}

}  // namespace openvhd::vmm
