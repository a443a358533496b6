#include "qos_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <set>

#include "json.hpp"
#include "text.hpp"

namespace vhdtool {
namespace {

using openvhd::QosHostLimits;
using openvhd::QosLimits;
using openvhd::QosSharing;

/// Reads fields, and keeps the first thing that is wrong.
class Reader {
 public:
  std::string problem = {};

  bool wrong(const std::string& field, std::string_view what) {
    if (problem.empty()) problem = fmt::format("{}: {}", field, what);
    return false;
  }
  /// Whether it is an object that has no other fields than these.
  bool object(const Json& json, const std::string& name,
              std::initializer_list<const char*> fields) {
    if (!json.is_object()) return wrong(name.empty() ? "the document" : name, "is no object");
    for (const auto& [key, value] : json.items()) {
      if (std::find(fields.begin(), fields.end(), key) == fields.end())
        return wrong(inside(name, key), "there is no such field");
    }
    return true;
  }
  template <class Number>
  void number(const Json& json, const std::string& name, const char* field, Number& target,
              std::uint64_t least = 0, std::uint64_t most = std::numeric_limits<Number>::max()) {
    const auto at = json.find(field);
    if (at == json.end()) return;
    const bool whole = at->is_number_unsigned();
    if (!whole || at->get<std::uint64_t>() < least || at->get<std::uint64_t>() > most) {
      wrong(inside(name, field), fmt::format("is a whole number, {} to {}", least, most));
      return;
    }
    target = static_cast<Number>(at->get<std::uint64_t>());
  }
  /// Empty where it is not there, or wrong.
  std::string text(const Json& json, const std::string& name, const char* field) {
    const auto at = json.find(field);
    if (at == json.end()) {
      wrong(inside(name, field), "is missing");
    } else if (!at->is_string()) {
      wrong(inside(name, field), "is no string");
    } else {
      return at->get<std::string>();
    }
    return {};
  }
  static std::string inside(const std::string& name, std::string_view field) {
    const auto shown = printable(field);
    return name.empty() ? shown : name + "." + shown;
  }
};

void read_host(Reader& reader, const Json& json, QosHostLimits& host) {
  const std::string name = "host";
  if (!reader.object(json, name,
                     {"iops", "iops_burst", "bytes_per_second", "bytes_burst", "in_flight"}))
    return;
  reader.number(json, name, "iops", host.iops);
  reader.number(json, name, "iops_burst", host.iops_burst);
  reader.number(json, name, "bytes_per_second", host.bytes_per_second);
  reader.number(json, name, "bytes_burst", host.bytes_burst);
  reader.number(json, name, "in_flight", host.in_flight);
}

void read_policy(Reader& reader, const Json& json, const std::string& name, QosPlan::Policy& to) {
  if (!reader.object(json, name,
                     {"sharing", "iops", "iops_burst", "iops_one_time", "bytes_per_second",
                      "bytes_burst", "bytes_one_time", "io_size", "min_iops", "weight"}))
    return;
  QosLimits& limits = to.limits;
  reader.number(json, name, "iops", limits.iops);
  reader.number(json, name, "iops_burst", limits.iops_burst);
  reader.number(json, name, "iops_one_time", limits.iops_one_time);
  reader.number(json, name, "bytes_per_second", limits.bytes_per_second);
  reader.number(json, name, "bytes_burst", limits.bytes_burst);
  reader.number(json, name, "bytes_one_time", limits.bytes_one_time);
  reader.number(json, name, "io_size", limits.io_size, 512, std::uint64_t{1} << 30);
  reader.number(json, name, "min_iops", limits.min_iops);
  reader.number(json, name, "weight", limits.weight, 1, 10'000);
  if (limits.iops != 0 && limits.min_iops > limits.iops)
    reader.wrong(name + ".min_iops", "is above iops");
  if (!json.contains("sharing")) return;
  const auto sharing = reader.text(json, name, "sharing");
  if (sharing == "dedicated") {
    to.sharing = QosSharing::dedicated;
  } else if (sharing != "aggregated") {
    reader.wrong(name + ".sharing", "is \"aggregated\" or \"dedicated\"");
  }
}

void read_policies(Reader& reader, const Json& json, QosPlan& plan) {
  if (!json.is_object()) {
    reader.wrong("policies", "is no object");
    return;
  }
  for (const auto& [key, value] : json.items()) {
    plan.policies.push_back({.name = key, .limits = {}});
    read_policy(reader, value, Reader::inside("policies", key), plan.policies.back());
  }
}

void read_disks(Reader& reader, const Json& json, QosPlan& plan) {
  if (!json.is_array()) {
    reader.wrong("disks", "is no array");
    return;
  }
  std::map<std::string, std::size_t> policies;
  for (std::size_t i = 0; i < plan.policies.size(); ++i) policies[plan.policies[i].name] = i;
  std::set<std::string> files;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const auto name = fmt::format("disks[{}]", i);
    if (!reader.object(json[i], name, {"file", "policy", "weight"})) return;
    QosPlan::Disk disk;
    disk.file = reader.text(json[i], name, "file");
    const auto policy = reader.text(json[i], name, "policy");
    reader.number(json[i], name, "weight", disk.weight, 1, 10'000);
    if (!reader.problem.empty()) return;
    const auto at = policies.find(policy);
    if (at == policies.end()) {
      reader.wrong(name + ".policy", fmt::format("there is no policy '{}'", printable(policy)));
      return;
    }
    if (!files.insert(disk.file).second) reader.wrong(name + ".file", "is there twice");
    disk.policy = at->second;
    plan.disks.push_back(std::move(disk));
  }
}

/// The parser itself takes the last of several.
class Twice {
 public:
  std::string key = {};
  bool operator()(int, Json::parse_event_t event, const Json& parsed) {
    if (event == Json::parse_event_t::object_start) {
      open_.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      open_.pop_back();
    } else if (event == Json::parse_event_t::key && key.empty()) {
      auto name = parsed.get<std::string>();
      if (!open_.back().insert(name).second) key = std::move(name);
    }
    return true;
  }

 private:
  std::vector<std::set<std::string>> open_;
};

}  // namespace

ParsedPlan parse_plan(std::string_view text) {
  ParsedPlan out;
  if (text.size() > kMostPlanBytes) return {{}, "is longer than 1 MiB"};
  Json json;
  Twice twice;
  try {
    json = Json::parse(text, std::ref(twice));
  } catch (const Json::parse_error& error) {
    return {{}, fmt::format("is no JSON at byte {}", error.byte)};
  }
  if (!twice.key.empty()) return {{}, fmt::format("{}: is there twice", printable(twice.key))};
  Reader reader;
  std::uint64_t schema = 0;
  if (reader.object(json, "", {"schema", "host", "policies", "disks"})) {
    if (!json.contains("schema")) reader.wrong("schema", "is missing");
    reader.number(json, "", "schema", schema, 1, 1);
    if (json.contains("host")) read_host(reader, json["host"], out.plan.host);
    if (json.contains("policies")) read_policies(reader, json["policies"], out.plan);
    if (json.contains("disks")) read_disks(reader, json["disks"], out.plan);
  }
  out.problem = std::move(reader.problem);
  return out;
}

ParsedPlan plan_for(const ParsedPlan& parsed, const std::vector<std::string>& files) {
  ParsedPlan out = parsed;
  if (!out.problem.empty()) return out;
  out.plan.disks.clear();
  for (const auto& file : files) {
    const auto& all = parsed.plan.disks;
    const auto at = std::find_if(all.begin(), all.end(),
                                 [&](const QosPlan::Disk& disk) { return disk.file == file; });
    if (at == all.end()) {
      out.problem = fmt::format("disks: there is no '{}'", printable(file));
      return out;
    }
    out.plan.disks.push_back(*at);
  }
  return out;
}

}  // namespace vhdtool
