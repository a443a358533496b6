#include <openvhd/check.hpp>

bool is_clean(const openvhd::CheckOptions& options) {
#ifdef MISUSE
  openvhd::check("disk.vhdx", options);
  return true;
#else
  const auto report = openvhd::check("disk.vhdx", options);
  return report && report->clean();
#endif
}
