/// Short ways to make the nodes of a dump.
#pragma once

#include <cstdint>
#include <openvhd/dump.hpp>
#include <string>
#include <utility>

namespace openvhd::vhdx {

inline std::string hex(std::uint64_t value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  do {
    out.insert(out.begin(), kDigits[value & 15]);
    value >>= 4;
  } while (value != 0);
  return "0x" + out;
}

/// A structure at a place in the file; fields are added with what follows.
class DumpStruct {
 public:
  DumpStruct(std::string name, FileOffset at) : at_{at} {
    node_.name = std::move(name);
    node_.at = at;
  }

  /// `offset` is from the start of the structure.
  DumpStruct& hex_field(const char* name, std::uint64_t offset, std::uint64_t value) {
    return number_field(name, offset, value, hex(value));
  }
  DumpStruct& count_field(const char* name, std::uint64_t offset, std::uint64_t value) {
    return number_field(name, offset, value, std::to_string(value));
  }
  DumpStruct& number_field(const char* name, std::uint64_t offset, std::uint64_t value,
                           std::string text) {
    node_.children.push_back(
        {.name = name, .value = std::move(text), .number = value, .at = at_ + offset});
    return *this;
  }
  DumpStruct& text_field(const char* name, std::uint64_t offset, std::string text) {
    node_.children.push_back({.name = name, .value = std::move(text), .at = at_ + offset});
    return *this;
  }
  DumpStruct& guid_field(const char* name, std::uint64_t offset, const Guid& guid) {
    return text_field(name, offset, to_string(guid));
  }
  DumpStruct& value(std::string text) {
    node_.value = std::move(text);
    return *this;
  }
  DumpStruct& problem(const char* text) {
    if (text != nullptr) node_.problem = text;
    return *this;
  }
  DumpStruct& child(DumpNode node) {
    node_.children.push_back(std::move(node));
    return *this;
  }
  DumpNode take() { return std::move(node_); }

 private:
  FileOffset at_;
  DumpNode node_;
};

}  // namespace openvhd::vhdx
