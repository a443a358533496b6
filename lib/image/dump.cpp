#include <openvhd/dump.hpp>

#include "base/try.hpp"
#include "image/open.hpp"
#include "vhd/vhd.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd {

Result<DumpNode> dump(const std::string& path, std::uint64_t max_entries) {
  OVHD_TRY(auto file, open_host_file(path, Access::inspect, false));
  OVHD_TRY(const auto format, probe(*file));
  if (!format) {
    return Error{.code = Errc::unsupported, .what = "neither VHD nor VHDX (X01, V01)"};
  }
  if (*format == Format::vhdx) return vhdx::dump(*file, max_entries);
  return vhd::dump(*file, max_entries);
}

}  // namespace openvhd
