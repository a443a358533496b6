#include "image/convert/convert_sparse.hpp"

#include "base/checked.hpp"
#include "base/try.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kHostPage = 4 * kKiB;

}  // namespace

Status give_back_unwritten(File& file) noexcept {
  OVHD_TRY(const std::uint64_t size, file.size());
  const FileOffset end{size};
  for (FileOffset at{}; at < end;) {
    OVHD_TRY(const FileRange data, file.next_data(at, end));
    const FileOffset stop = data.length == 0 ? end : data.at;
    const std::uint64_t first = align_up(at.value, kHostPage);
    const std::uint64_t last = align_down(stop.value, kHostPage);
    if (first < last) OVHD_CHECK(file.punch({first}, last - first));
    if (data.length == 0) break;
    at = data.at + data.length;
  }
  return Ok{};
}

}  // namespace openvhd
