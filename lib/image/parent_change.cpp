#include "image/parent_change.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/checked.hpp"
#include "vhd/vhd.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kChildBlock = 2 * kMiB;
constexpr std::uint64_t kChildLog = 1 * kMiB;

Error no_parents() noexcept {
  return {.code = Errc::unsupported, .what = "a raw disk has no parent"};
}

}  // namespace

Status set_parent(Format format, File& file, const ParentChange& change, Host& host) {
  switch (format) {
    case Format::vhd:
      return vhd::set_parent(file, change, host);
    case Format::vhdx:
      return vhdx::set_parent(file, change, host);
    case Format::raw:
      break;
  }
  return no_parents();
}

Status detach(Format format, File& file, Host& host) {
  switch (format) {
    case Format::vhd:
      return vhd::detach(file, host);
    case Format::vhdx:
      return vhdx::detach(file, host);
    case Format::raw:
      break;
  }
  return no_parents();
}

Status create_child(Format format, File& file, const ChildSpec& spec, Host& host) {
  Geometry geometry = spec.geometry;
  if (geometry.block_size == 0) geometry.block_size = kChildBlock;
  switch (format) {
    case Format::vhd:
      return vhd::create(file,
                         {.type = DiskType::differencing,
                          .geometry = geometry,
                          .parent_id = spec.parent_linkage,
                          .parent_timestamp = spec.timestamp,
                          .parent_name = spec.name,
                          .parent_relative = spec.relative},
                         host);
    case Format::vhdx:
      return vhdx::create(file,
                          {.type = DiskType::differencing,
                           .geometry = geometry,
                           .log_bytes = kChildLog,
                           .identifier = spec.identifier,
                           .parent_linkage = spec.parent_linkage,
                           .parent_relative = spec.relative},
                          host);
    case Format::raw:
      break;
  }
  return no_parents();
}

std::string relative_way(const std::string& child, const std::string& parent) {
  namespace fs = std::filesystem;
  std::error_code failed;
  const fs::path from = fs::absolute(fs::path{child}, failed).parent_path().lexically_normal();
  const fs::path to = fs::absolute(fs::path{parent}, failed).lexically_normal();
  std::string way = to.lexically_relative(from).string();
  std::ranges::replace(way, '/', '\\');
  return way.starts_with("..") ? way : ".\\" + way;
}

std::uint32_t parent_timestamp(File& parent) noexcept {
  constexpr std::int64_t kEpoch = 946684800;
  const std::int64_t modified = parent.modified_unix() - kEpoch;
  return std::in_range<std::uint32_t>(modified) ? static_cast<std::uint32_t>(modified) : 0;
}

}  // namespace openvhd
