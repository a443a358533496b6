/// Who of several disks is under which policy: from a file, or from the command line.
#pragma once

#include <cstdint>
#include <openvhd/qos.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace vhdtool {

struct QosPlan {
  struct Policy {
    std::string name;  ///< Empty where the command line gave it.
    openvhd::QosLimits limits;
    openvhd::QosSharing sharing = openvhd::QosSharing::aggregated;
  };
  /// One disk.
  struct Disk {
    std::string file;
    std::size_t policy = 0;  ///< An index.
    std::uint32_t weight = 100;
  };
  openvhd::QosHostLimits host;
  std::vector<Policy> policies;
  std::vector<Disk> disks;
};

struct ParsedPlan {
  QosPlan plan;
  std::string problem;  ///< Names the field, "policies.gold.iops: ..."; empty: none.
};

/// The text of a policy file (docs/json.md).
ParsedPlan parse_plan(std::string_view text);
/// The plan with a disk for each of `files`, in their order; each is in it under the same name.
ParsedPlan plan_for(const ParsedPlan& parsed, const std::vector<std::string>& files);

inline constexpr std::size_t kMostPlanBytes = 1 << 20;

}  // namespace vhdtool
