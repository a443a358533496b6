/// Limits as they are given on a command line.
#pragma once

#include <openvhd/qos.hpp>
#include <string>
#include <string_view>

namespace vhdtool {

struct ParsedQos {
  openvhd::QosLimits limits;
  std::string problem;  ///< Names the field; empty: none.
};
struct ParsedQosHost {
  openvhd::QosHostLimits limits;
  std::string problem;  ///< Likewise.
};

/// "iops=500,bps=10M": each field once at most, and one at least.
ParsedQos parse_qos(std::string_view text);
/// "iops=500,in-flight=32": likewise.
ParsedQosHost parse_qos_host(std::string_view text);

}  // namespace vhdtool
