#include <algorithm>
#include <filesystem>
#include <openvhd/create.hpp>
#include <utility>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/create_target.hpp"
#include "image/disk_state.hpp"
#include "image/parent_change.hpp"
#include "io/new_file.hpp"
#include "io/zero_fill.hpp"
#include "vhd/vhd.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kVhdxDynamicBlock = 32 * kMiB;
constexpr std::uint64_t kVhdxDifferencingBlock = 2 * kMiB;
constexpr std::uint64_t kVhdBlock = 2 * kMiB;
constexpr std::uint64_t kVhdxLog = 1 * kMiB;
constexpr std::uint64_t kAzureLeast = 20 * kMiB;

Error invalid(const char* what) { return {.code = Errc::invalid, .what = what}; }

/// The parent of a new differencing image, opened for as long as the creation lasts.
struct Parent {
  std::unique_ptr<detail::DiskState> disk;
  std::string relative;  // from the new file, with backslashes
  std::string name;
};

Result<Parent> open_parent(const std::string& path, const CreateOptions& options, Format format,
                           Host& host) {
  const OpenOptions open{
      .access = Access::read_only, .parents = options.parent_policy, .report = options.report};
  OVHD_TRY(auto disk, detail::DiskState::open(options.parent, open, host));
  OVHD_CHECK(expect_no_pending_merge(disk->paths()));
  if (disk->format() != format) {
    return invalid("the parent is an image of another format than its child");
  }
  OVHD_CHECK(check_depth(options.parent_policy, disk->paths().size()));
  const std::string way = relative_way(path, options.parent);
  if (options.report != nullptr && way.find('\\', 2) != std::string::npos) {
    options.report->notes.push_back(
        "the parent lies in another directory, which an image's own word never leads to: name it, "
        "or its directory, to open the child");
  }
  return Parent{.disk = std::move(disk),
                .relative = way,
                .name = std::filesystem::path{options.parent}.filename().string()};
}

Result<Geometry> geometry_for(const CreateOptions& options, Format format, const Geometry* parent) {
  Geometry out;
  out.virtual_size = options.virtual_size;
  if (out.virtual_size == 0 && parent != nullptr) out.virtual_size = parent->virtual_size;
  if (out.virtual_size == 0) return invalid("a size is needed");
  if (parent != nullptr && out.virtual_size < parent->virtual_size) {
    return invalid("the size is below that of the parent (C01)");
  }
  const std::uint32_t logical = parent != nullptr ? parent->logical_sector_size : 512;
  out.logical_sector_size =
      options.logical_sector_size != 0 ? options.logical_sector_size : logical;
  if (parent != nullptr && out.logical_sector_size != logical) {
    return invalid("the logical sector size is not that of the parent (C01)");
  }
  const std::uint32_t physical = parent != nullptr        ? parent->physical_sector_size
                                 : format == Format::vhdx ? 4096
                                                          : 512;
  out.physical_sector_size =
      options.physical_sector_size != 0 ? options.physical_sector_size : physical;
  out.block_size = options.block_size;
  if (out.block_size == 0) {
    const bool child = options.type == DiskType::differencing;
    out.block_size = format == Format::vhd ? kVhdBlock
                     : child               ? kVhdxDifferencingBlock
                                           : kVhdxDynamicBlock;
  }
  if (!is_multiple(out.virtual_size, out.logical_sector_size)) {
    return invalid("the size is not a multiple of the logical sector size");
  }
  return out;
}

Status check_azure(const CreateOptions& options, Format format) {
  if (format != Format::vhd || options.type != DiskType::fixed) {
    return invalid("Azure takes fixed VHD only");
  }
  if (!is_multiple(options.virtual_size, kMiB) || options.virtual_size < kAzureLeast) {
    return invalid("Azure takes sizes that are a multiple of 1 MiB, from 20 MiB");
  }
  return Ok{};
}

Status check_combination(const CreateOptions& options, Format format) {
  const bool child = options.type == DiskType::differencing;
  if (child == options.parent.empty()) {
    return invalid(child ? "a differencing image needs a parent"
                         : "only a differencing image has a parent");
  }
  if (format == Format::raw && options.type != DiskType::fixed) {
    return invalid("a raw image is fixed");
  }
  if (format == Format::vhd && options.logical_sector_size > 512) {
    return invalid("VHD has logical sectors of 512 bytes only");
  }
  if (options.block_size != 0 && format != Format::vhdx && options.type == DiskType::fixed) {
    return invalid("a raw disk and a fixed VHD have no blocks");
  }
  if (format != Format::vhdx && options.log_size != 0) return invalid("only VHDX has a log");
  return Ok{};
}

Status create_vhdx(File& file, const CreateOptions& options, const Geometry& geometry,
                   const Parent* parent, Host& host) {
  vhdx::CreateSpec spec{.type = options.type,
                        .geometry = geometry,
                        .log_bytes = options.log_size != 0 ? options.log_size : kVhdxLog,
                        .written_extents = options.no_sparse,
                        .progress = options.progress,
                        .identifier = options.identifier};
  if (parent != nullptr) {
    spec.parent_linkage = parent->disk->image(0).link_identity();
    spec.parent_relative = parent->relative;
  }
  return vhdx::create(file, spec, host);
}

Status create_vhd(File& file, const CreateOptions& options, const Geometry& geometry,
                  const Parent* parent, Host& host) {
  vhd::CreateSpec spec{.type = options.type,
                       .geometry = geometry,
                       .written_extents = options.no_sparse,
                       .progress = options.progress,
                       .identifier = options.identifier};
  if (parent != nullptr) {
    spec.parent_id = parent->disk->image(0).link_identity();
    spec.parent_name = parent->name;
    spec.parent_relative = parent->relative;
    spec.parent_timestamp = parent_timestamp(*parent->disk->files().front());
  }
  return vhd::create(file, spec, host);
}

Status create_raw(File& file, const CreateOptions& options, const Geometry& geometry) {
  OVHD_CHECK(options.no_sparse
                 ? fill_with_zeros(file, {{}, geometry.virtual_size}, options.progress)
                 : file.set_size(geometry.virtual_size));
  return file.sync();
}

/// The lock would refuse it too, in words about somebody else.
Status refuse_own_parent(const std::string& path, const CreateOptions& options) {
  std::error_code ignored;
  if (options.parent.empty() || !std::filesystem::equivalent(path, options.parent, ignored)) {
    return Ok{};
  }
  return invalid("an image is not its own parent");
}

constexpr char lower_case(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

std::optional<Format> format_from_name(std::string_view path) noexcept {
  const std::size_t dot = path.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto is = [given = path.substr(dot + 1)](std::string_view ending) {
    return std::ranges::equal(given, ending, {}, lower_case);
  };
  if (is("vhd") || is("avhd")) return Format::vhd;
  if (is("vhdx") || is("avhdx")) return Format::vhdx;
  return std::nullopt;
}

Status create_in(File& file, const std::string& path, const CreateOptions& options, Host& host) {
  OVHD_TRY(const Format format, creation_format(path, options));
  OVHD_CHECK(check_combination(options, format));
  Parent parent;
  const bool child = options.type == DiskType::differencing;
  if (child) {
    OVHD_TRY(parent, open_parent(path, options, format, host));
    // The parent is in order: what fails from here on is about the new file.
    if (options.report != nullptr) options.report->files = {path};
  }
  const Geometry below = child ? parent.disk->geometry() : Geometry{};
  OVHD_TRY(const Geometry geometry, geometry_for(options, format, child ? &below : nullptr));
  if (options.azure) OVHD_CHECK(check_azure(options, format));
  const Parent* link = child ? &parent : nullptr;
  switch (format) {
    case Format::raw:
      return create_raw(file, options, geometry);
    case Format::vhd:
      return create_vhd(file, options, geometry, link, host);
    case Format::vhdx:
      return create_vhdx(file, options, geometry, link, host);
  }
  return invalid("no such format");
}

Result<Format> creation_format(const std::string& path, const CreateOptions& options) {
  if (options.format) return *options.format;
  if (const auto named = format_from_name(path)) return *named;
  return invalid("the file name tells no format: name it with --format vhd or vhdx");
}

Status create(const std::string& path, const CreateOptions& options) {
  // What the options contradict is found before a file is made.
  OVHD_TRY(const Format format, creation_format(path, options));
  OVHD_CHECK(check_combination(options, format));
  OVHD_CHECK(refuse_own_parent(path, options));
  // Past the page cache: what was written is not left for a sync that nobody can stop.
  OVHD_TRY(auto target,
           NewFile::create(path, {.overwrite = options.overwrite, .direct = options.no_sparse}));
  if (target.file().is_block_device() && format != Format::raw) {
    return invalid("a block device takes the disk itself, no image of one");
  }
  OVHD_CHECK(create_in(target.file(), path, options, system_host()));
  return target.commit();
}

}  // namespace openvhd
