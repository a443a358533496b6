// Any bytes as a policy file: either a problem is named, or all that is in the plan may be used.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "qos_plan.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = vhdtool::parse_plan({reinterpret_cast<const char*>(data), size});
  if (!parsed.problem.empty()) {
    if (parsed.problem.find('\n') != std::string::npos) std::abort();
    return 0;
  }
  for (const auto& disk : parsed.plan.disks) {
    if (disk.policy >= parsed.plan.policies.size() || disk.weight == 0) std::abort();
  }
  if (!openvhd::QosHost::create(parsed.plan.host)) std::abort();
  const auto host = openvhd::QosHost::create(parsed.plan.host);
  for (const auto& policy : parsed.plan.policies) {
    if (!openvhd::QosPolicy::create(*host, policy.limits, policy.sharing)) std::abort();
  }
  return 0;
}
