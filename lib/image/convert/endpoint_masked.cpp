#include "image/convert/endpoint_masked.hpp"

#include <algorithm>

namespace openvhd {

Result<EndpointRun> MaskedEndpoint::map(VirtualOffset at, std::uint64_t length) noexcept {
  const auto end_of = [](const DiskRange& range) { return range.at + range.length; };
  const auto range = std::ranges::upper_bound(ranges_, at, {}, end_of);
  if (range == ranges_.end()) return EndpointRun{.length = length, .zero = true};
  if (at < range->at) {
    return EndpointRun{.length = std::min(length, range->at - at), .zero = true};
  }
  return source_.map(at, std::min(length, end_of(*range) - at));
}

}  // namespace openvhd
