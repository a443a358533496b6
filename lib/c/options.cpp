#include "c/options.hpp"

#include <limits>

namespace openvhd::c {
namespace {

constexpr std::uint32_t kMostNames = 4096;

ovhd_parent_policy default_policy() noexcept {
  ovhd_parent_policy out{};
  out.open_parents = 1;
  out.max_depth = ParentPolicy{}.max_depth;
  return out;
}

bool all_there(const char* const* names, std::uint32_t count) noexcept {
  if (count > kMostNames || (count != 0 && names == nullptr)) return false;
  return std::all_of(names, names + count, [](const char* name) { return name != nullptr; });
}

}  // namespace

ovhd_open_options default_open_options() noexcept {
  ovhd_open_options out{};
  out.struct_size = sizeof out;
  out.parents = default_policy();
  return out;
}

ovhd_create_options default_create_options() noexcept {
  ovhd_create_options out{};
  out.struct_size = sizeof out;
  out.type = OVHD_TYPE_DYNAMIC;
  out.parents = default_policy();
  return out;
}

ovhd_convert_options default_convert_options() noexcept {
  ovhd_convert_options out{};
  out.struct_size = sizeof out;
  out.source_parents = default_policy();
  out.length = std::numeric_limits<std::uint64_t>::max();
  out.reflink = 1;
  out.direct = 1;
  return out;
}

ovhd_check_options default_check_options() noexcept {
  ovhd_check_options out{};
  out.struct_size = sizeof out;
  out.parents = default_policy();
  return out;
}

bool format_from(ovhd_format format, std::optional<Format>& into) noexcept {
  switch (format) {
    case OVHD_FORMAT_ANY:
      into.reset();
      return true;
    case OVHD_FORMAT_RAW:
      into = Format::raw;
      return true;
    case OVHD_FORMAT_VHD:
      into = Format::vhd;
      return true;
    case OVHD_FORMAT_VHDX:
      into = Format::vhdx;
      return true;
  }
  return false;
}

ovhd_format format_of(Format format) noexcept {
  switch (format) {
    case Format::raw:
      return OVHD_FORMAT_RAW;
    case Format::vhd:
      return OVHD_FORMAT_VHD;
    case Format::vhdx:
      return OVHD_FORMAT_VHDX;
  }
  return OVHD_FORMAT_ANY;
}

ovhd_type type_of(DiskType type) noexcept {
  switch (type) {
    case DiskType::fixed:
      return OVHD_TYPE_FIXED;
    case DiskType::dynamic:
      return OVHD_TYPE_DYNAMIC;
    case DiskType::differencing:
      return OVHD_TYPE_DIFFERENCING;
  }
  return OVHD_TYPE_FIXED;
}

int policy_from(const ovhd_parent_policy& from, ParentPolicy& into) {
  if (!all_there(from.chain, from.chain_count) || !all_there(from.dirs, from.dir_count))
    return fail_argument("parents: a list of names is null, has a null in it or is too long");
  if (from.owner_count > kMostNames || (from.owner_count != 0 && from.owners == nullptr))
    return fail_argument("parents: the list of owners is null or too long");
  into.open_parents = from.open_parents != 0;
  into.cross_device = from.cross_device != 0;
  into.max_depth = from.max_depth;
  for (std::uint32_t i = 0; i < from.chain_count; ++i) {
    ParentFile parent{.path = from.chain[i]};
    if (from.chain_formats != nullptr && !format_from(from.chain_formats[i], parent.format))
      return fail_argument("parents: no such format");
    into.chain.push_back(std::move(parent));
  }
  into.parent_dirs.assign(from.dirs, from.dirs + from.dir_count);
  into.trusted_owners.assign(from.owners, from.owners + from.owner_count);
  return 0;
}

int open_from(const ovhd_open_options& from, OpenOptions& into) {
  switch (from.access) {
    case OVHD_READ_ONLY:
      into.access = Access::read_only;
      break;
    case OVHD_READ_WRITE:
      into.access = Access::read_write;
      break;
    case OVHD_INSPECT:
      into.access = Access::inspect;
      break;
    default:
      return fail_argument("access: no such way to open an image");
  }
  switch (from.driver) {
    case OVHD_DRIVER_ANY:
      into.driver = DriverKind::automatic;
      break;
    case OVHD_DRIVER_BLOCKING:
      into.driver = DriverKind::blocking;
      break;
    case OVHD_DRIVER_IO_URING:
      into.driver = DriverKind::io_uring;
      break;
    default:
      return fail_argument("driver: no such driver");
  }
  if (!format_from(from.format, into.format)) return fail_argument("format: no such format");
  into.direct = from.direct != 0;
  return policy_from(from.parents, into.parents);
}

int create_from(const ovhd_create_options& from, CreateOptions& into) {
  switch (from.type) {
    case OVHD_TYPE_FIXED:
      into.type = DiskType::fixed;
      break;
    case OVHD_TYPE_DYNAMIC:
      into.type = DiskType::dynamic;
      break;
    case OVHD_TYPE_DIFFERENCING:
      into.type = DiskType::differencing;
      break;
    default:
      return fail_argument("type: no such type");
  }
  if (!format_from(from.format, into.format)) return fail_argument("format: no such format");
  into.virtual_size = from.virtual_size;
  into.block_size = from.block_size;
  into.logical_sector_size = from.logical_sector_size;
  into.physical_sector_size = from.physical_sector_size;
  into.log_size = from.log_size;
  if (from.parent != nullptr) {
    into.parent = from.parent;
    into.type = DiskType::differencing;
  }
  into.azure = from.azure != 0;
  into.no_sparse = from.no_sparse != 0;
  into.overwrite = from.overwrite != 0;
  return policy_from(from.parents, into.parent_policy);
}

}  // namespace openvhd::c
