#include "qos_text.hpp"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <span>
#include <utility>

#include "size.hpp"

namespace vhdtool {
namespace {

using openvhd::QosHostLimits;
using openvhd::QosLimits;

constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();

struct Field {
  std::string_view name;
  std::uint64_t least = 1;
  std::uint64_t most = kAny;
  const char* range = "is 1 at least";
};

/// The value of each field, by its index; what is wrong, naming the field.
template <std::size_t count>
struct Values {
  std::array<std::uint64_t, count> value{};
  std::array<bool, count> given{};
  std::string problem = {};
};

template <std::size_t count>
Values<count> parse_fields(std::string_view text, const std::array<Field, count>& fields) {
  Values<count> out;
  const auto wrong = [&](std::string problem) {
    out.problem = std::move(problem);
    return out;
  };
  for (bool last = false; !last;) {
    const auto comma = text.find(',');
    last = comma == std::string_view::npos;
    const auto item = text.substr(0, comma);
    if (!last) text.remove_prefix(comma + 1);
    const auto equals = item.find('=');
    const auto name = item.substr(0, equals);
    std::size_t index = 0;
    while (index < count && fields[index].name != name) ++index;
    if (index == count) return wrong(fmt::format("there is no field '{}'", name));
    const Field& field = fields[index];
    if (equals == std::string_view::npos) return wrong(fmt::format("{} has no value", name));
    if (std::exchange(out.given[index], true)) return wrong(fmt::format("{} is given twice", name));
    const auto value = parse_size(item.substr(equals + 1));
    if (!value.bytes) return wrong(fmt::format("{}: {}", name, value.problem));
    if (*value.bytes < field.least || *value.bytes > field.most)
      return wrong(fmt::format("{} {}", name, field.range));
    out.value[index] = *value.bytes;
  }
  return out;
}

}  // namespace

ParsedQos parse_qos(std::string_view text) {
  static constexpr std::array kFields{
      Field{"iops"},
      Field{"bps"},
      Field{"iops-burst"},
      Field{"bps-burst"},
      Field{"iops-once"},
      Field{"bps-once"},
      Field{"min"},
      Field{"io-size", 512, std::uint64_t{1} << 30, "is 512 bytes to 1 GiB"},
      Field{"weight", 1, 10'000, "is 1 to 10000"}};
  constexpr std::array<std::uint64_t QosLimits::*, 8> kTargets{
      &QosLimits::iops,        &QosLimits::bytes_per_second, &QosLimits::iops_burst,
      &QosLimits::bytes_burst, &QosLimits::iops_one_time,    &QosLimits::bytes_one_time,
      &QosLimits::min_iops,    &QosLimits::io_size};
  auto parsed = parse_fields(text, kFields);
  ParsedQos out{{}, std::move(parsed.problem)};
  if (!out.problem.empty()) return out;
  for (std::size_t i = 0; i < kTargets.size(); ++i)
    if (parsed.given[i]) out.limits.*kTargets[i] = parsed.value[i];
  if (parsed.given.back()) out.limits.weight = static_cast<std::uint32_t>(parsed.value.back());
  if (out.limits.iops != 0 && out.limits.min_iops > out.limits.iops)
    out.problem = "min is above iops";
  return out;
}

ParsedQosHost parse_qos_host(std::string_view text) {
  static constexpr std::array kFields{
      Field{"iops"}, Field{"bps"}, Field{"iops-burst"}, Field{"bps-burst"},
      Field{"in-flight", 1, std::numeric_limits<std::uint32_t>::max(), "is 1 to 4294967295"}};
  constexpr std::array<std::uint64_t QosHostLimits::*, 4> kTargets{
      &QosHostLimits::iops, &QosHostLimits::bytes_per_second, &QosHostLimits::iops_burst,
      &QosHostLimits::bytes_burst};
  auto parsed = parse_fields(text, kFields);
  ParsedQosHost out{{}, std::move(parsed.problem)};
  if (!out.problem.empty()) return out;
  for (std::size_t i = 0; i < kTargets.size(); ++i)
    if (parsed.given[i]) out.limits.*kTargets[i] = parsed.value[i];
  if (parsed.given.back()) out.limits.in_flight = static_cast<std::uint32_t>(parsed.value.back());
  return out;
}

}  // namespace vhdtool
