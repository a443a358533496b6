#include "qos_text.hpp"

#include <fmt/format.h>

#include <array>

#include "size.hpp"

namespace vhdtool {
namespace {

using openvhd::QosLimits;

struct Field {
  std::string_view name;
  std::uint64_t QosLimits::* value;
};
constexpr std::array kFields{Field{"iops", &QosLimits::iops},
                             Field{"bps", &QosLimits::bytes_per_second},
                             Field{"iops-burst", &QosLimits::iops_burst},
                             Field{"bps-burst", &QosLimits::bytes_burst},
                             Field{"iops-once", &QosLimits::iops_one_time},
                             Field{"bps-once", &QosLimits::bytes_one_time},
                             Field{"io-size", &QosLimits::io_size}};

}  // namespace

ParsedQos parse_qos(std::string_view text) {
  ParsedQos out;
  std::array<bool, kFields.size()> given{};
  for (bool last = false; !last;) {
    const auto comma = text.find(',');
    last = comma == std::string_view::npos;
    const auto item = text.substr(0, comma);
    if (!last) text.remove_prefix(comma + 1);
    const auto equals = item.find('=');
    const auto name = item.substr(0, equals);
    std::size_t index = 0;
    while (index < kFields.size() && kFields[index].name != name) ++index;
    if (index == kFields.size()) return {{}, fmt::format("there is no field '{}'", name)};
    if (equals == std::string_view::npos) return {{}, fmt::format("{} has no value", name)};
    if (given[index]) return {{}, fmt::format("{} is given twice", name)};
    given[index] = true;
    const auto value = parse_size(item.substr(equals + 1));
    if (!value.bytes) return {{}, fmt::format("{}: {}", name, value.problem)};
    if (*value.bytes == 0) return {{}, fmt::format("{} is 1 at least", name)};
    out.limits.*kFields[index].value = *value.bytes;
  }
  if (out.limits.io_size < 512 || out.limits.io_size > (std::uint64_t{1} << 30))
    return {{}, "io-size is 512 bytes to 1 GiB"};
  return out;
}

}  // namespace vhdtool
