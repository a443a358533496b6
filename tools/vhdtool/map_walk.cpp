#include "map_walk.hpp"

namespace vhdtool {

openvhd::Status walk_map(openvhd::Disk& disk, openvhd::Progress& progress,
                         const std::function<void(const openvhd::MapEntry&)>& visit) {
  using openvhd::Errc;
  using openvhd::Error;
  const auto size = disk.geometry().virtual_size;
  std::uint64_t at = 0;
  while (at < size) {
    if (!progress.update(at, size))
      return Error{.code = Errc::cancelled, .where = {}, .what = "stopped on request"};
    const auto entry = disk.map(openvhd::VirtualOffset{at}, size - at);
    if (!entry) return entry.error();
    // An answer about nothing would keep us here forever.
    if (entry->length == 0 || entry->length > size - at)
      return Error{.code = Errc::io, .where = {}, .what = "the map of the disk does not advance"};
    visit(*entry);
    at += entry->length;
  }
  return openvhd::Ok{};
}

}  // namespace vhdtool
