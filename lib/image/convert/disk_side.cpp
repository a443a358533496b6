#include "image/convert/disk_side.hpp"

#include <algorithm>
#include <utility>

#include "base/try.hpp"
#include "image/convert/convert_spool.hpp"
#include "image/convert/endpoint_disk.hpp"
#include "image/convert/endpoint_nbd.hpp"
#include "io/borrowed_file.hpp"
#include "io/host.hpp"

namespace openvhd {
namespace {

// The name by which a process opens its standard input once more.
constexpr const char* kStandardInput = "/proc/self/fd/0";

Result<DiskSide> open_export(const SideSpec& spec) {
  if (spec.format.value_or(Format::raw) != Format::raw) {
    return Error{.code = Errc::invalid, .what = "an NBD export is a disk itself: raw"};
  }
  if (spec.report != nullptr) spec.report->files.push_back(spec.name);
  std::string why;
  auto endpoint = NbdEndpoint::open(spec.name, {.depth = spec.depth}, why);
  if (!endpoint) {
    if (spec.report != nullptr && !why.empty()) spec.report->notes.push_back(why);
    return endpoint.error();
  }
  DiskSide side;
  side.endpoint = *std::move(endpoint);
  side.facts.size = side.endpoint->traits().size;
  return side;
}

}  // namespace

Result<std::unique_ptr<detail::DiskState>> disk_in(File& file, const std::string& name,
                                                   Format format, bool writable) {
  OVHD_TRY(OpenedImage image, open_layer(format, std::make_unique<BorrowedFile>(file),
                                         {.writable = writable}, system_host()));
  OpenedChain chain;
  chain.images.push_back(std::move(image));
  chain.paths.push_back(name);
  chain.format = format;
  return std::make_unique<detail::DiskState>(
      std::move(chain), writable ? Access::read_write : Access::read_only, DriverKind::automatic);
}

Result<DiskSide> side_of(std::unique_ptr<detail::DiskState> disk, std::uint32_t depth) {
  DiskSide side;
  side.disk = std::move(disk);
  OVHD_TRY(side.endpoint, DiskEndpoint::open(*side.disk, {.depth = depth}));
  const Geometry& geometry = side.disk->geometry();
  side.facts.size = geometry.virtual_size;
  if (side.disk->format() == Format::raw) {
    OVHD_TRY(const std::uint64_t bytes, side.disk->files().front()->size());
    side.facts.size = std::min(bytes, geometry.virtual_size);
  } else {
    side.facts.logical_sector_size = geometry.logical_sector_size;
    side.facts.physical_sector_size = geometry.physical_sector_size;
    side.facts.identifier = side.disk->image(0).info().identifier;
  }
  return side;
}

Result<DiskSide> open_side(const SideSpec& spec) {
  if (target_kind(spec.name) == TargetKind::nbd) return open_export(spec);
  const bool standard_input = spec.name == "-";
  const OpenOptions options{
      .access = Access::read_only,
      .format = standard_input ? spec.format.value_or(Format::raw) : spec.format,
      .parents = spec.parents,
      .direct = spec.direct,
      .report = spec.report};
  if (!standard_input) {
    OVHD_TRY(auto disk, detail::DiskState::open(spec.name, options, system_host()));
    return side_of(std::move(disk), spec.depth);
  }
  auto disk = detail::DiskState::open(kStandardInput, options, system_host());
  // Errors speak of it by the name that the user gave.
  if (spec.report != nullptr && !spec.report->files.empty()) spec.report->files[0] = spec.name;
  if (!disk) return disk.error();
  if (!spec.format) OVHD_CHECK(refuse_image(*(*disk)->files().front()));
  return side_of(*std::move(disk), spec.depth);
}

}  // namespace openvhd
