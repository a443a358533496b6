#include "image/convert/convert_plan.hpp"

#include <algorithm>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/convert/nbd_client.hpp"
#include "image/create_target.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kVhdLargest = 2040 * kGiB;  // FORMAT 86
constexpr std::uint64_t kVhdxLargest = 64 * kTiB;   // X10
constexpr std::uint64_t kAzureLeast = 20 * kMiB;
constexpr std::uint32_t kSector = 512;

Error invalid(const char* what) noexcept { return {.code = Errc::invalid, .what = what}; }

Status take_part(const ConvertOptions& options, const SourceFacts& source, ConvertPlan& plan) {
  if (options.length == std::uint64_t{0}) return invalid("a length of 0: nothing to copy");
  if (options.offset.value > source.size) {
    return Error{.code = Errc::out_of_range, .what = "the offset lies beyond the source's end"};
  }
  const std::uint64_t left = source.size - options.offset.value;
  plan.length = options.length.value_or(left);
  if (plan.length > left) {
    return Error{.code = Errc::out_of_range, .what = "the part ends beyond the source's end"};
  }
  plan.total = options.create.virtual_size == 0 ? plan.length : options.create.virtual_size;
  if (plan.total == 0) return invalid("nothing to copy");
  if (plan.total < plan.length) {
    return invalid("a virtual size below what is copied: name a length to cut the disk");
  }
  return Ok{};
}

Status take_format(const ConvertOptions& options, TargetKind kind, ConvertPlan& plan) {
  plan.create = options.create;
  CreateOptions& create = plan.create;
  if (create.type == DiskType::differencing || !create.parent.empty()) {
    return invalid("a conversion makes whole disks, no differencing ones");
  }
  if (kind == TargetKind::file) {
    if (!create.format && !format_from_name(options.target)) {
      return invalid("the file name tells no format: name it with --to raw, vhd or vhdx");
    }
    OVHD_TRY(plan.format, creation_format(options.target, create));
  } else {
    plan.format = create.format.value_or(Format::raw);
  }
  create.format = plan.format;
  if (kind == TargetKind::nbd && plan.format != Format::raw) {
    return invalid("an NBD export takes the disk itself: raw");
  }
  if (create.azure) {
    if (plan.format != Format::vhd) return invalid("Azure takes fixed VHD only");
    create.type = DiskType::fixed;
  }
  if (plan.format == Format::raw) create.type = DiskType::fixed;
  if (create.block_size != 0 && plan.format != Format::vhdx && create.type == DiskType::fixed) {
    return invalid("a raw disk and a fixed VHD have no blocks");
  }
  if (kind == TargetKind::stream && create.type != DiskType::fixed) {
    return invalid("only raw and fixed VHD can be written to standard output");
  }
  if (kind == TargetKind::stream && plan.format == Format::vhdx) {
    return invalid("VHDX cannot be written to standard output");
  }
  return Ok{};
}

// The layout of partitions depends on the sector size: it changes only by the user's word.
Status take_sectors(const SourceFacts& source, ConvertPlan& plan) {
  CreateOptions& create = plan.create;
  const std::uint32_t own = source.logical_sector_size;
  const std::uint32_t asked = create.logical_sector_size;
  if (plan.format == Format::raw) {
    if (own > kSector && asked == 0) {
      plan.notes.push_back("the disk has logical sectors of " + std::to_string(own) +
                           " bytes; a raw image does not record that");
    }
    create.logical_sector_size = 0;
    create.physical_sector_size = 0;
    return Ok{};
  }
  const std::uint32_t possible = plan.format == Format::vhd ? kSector : (own == 0 ? kSector : own);
  if (asked == 0 && own != 0 && own != possible) {
    return invalid(
        "VHD has logical sectors of 512 bytes, the source of 4096, and the partition table counts "
        "in sectors: name --logical-sector 512 to convert all the same");
  }
  create.logical_sector_size = asked == 0 ? possible : asked;
  if (own != 0 && create.logical_sector_size != own) {
    plan.notes.push_back("logical sectors change from " + std::to_string(own) + " to " +
                         std::to_string(create.logical_sector_size) +
                         " bytes: partition tables count in sectors");
  }
  if (create.physical_sector_size == 0 && plan.format == Format::vhdx) {
    create.physical_sector_size = source.physical_sector_size;
  }
  return Ok{};
}

Status take_size(TargetKind kind, ConvertPlan& plan) {
  const bool azure = plan.create.azure;
  if (kind != TargetKind::nbd) {
    const std::uint64_t unit = azure ? kMiB : std::max(plan.create.logical_sector_size, kSector);
    const std::uint64_t rounded =
        std::max(align_up(plan.total, unit), azure ? kAzureLeast : std::uint64_t{0});
    if (rounded < plan.total) return invalid("the virtual size");
    if (rounded != plan.total) {
      plan.notes.push_back(
          "virtual size rounded up from " + std::to_string(plan.total) + " to " +
          std::to_string(rounded) + " bytes, with " + std::to_string(rounded - plan.total) +
          (rounded - plan.total == 1 ? " byte" : " bytes") + " of zeros at the end: " +
          (azure ? "Azure wants whole MiB, 20 at least"
                 : "a disk has whole sectors of " + std::to_string(unit) + " bytes"));
    }
    plan.total = rounded;
  }
  plan.create.virtual_size = plan.total;
  if (plan.format == Format::vhd && plan.total > kVhdLargest) {
    return Error{.code = Errc::unsupported, .what = "VHD holds 2040 GiB at most (V01): use VHDX"};
  }
  if (plan.format == Format::vhdx && plan.total > kVhdxLargest) {
    return Error{.code = Errc::unsupported, .what = "VHDX holds 64 TiB at most (X10)"};
  }
  return Ok{};
}

}  // namespace

TargetKind target_kind(const std::string& name) noexcept {
  if (name == "-") return TargetKind::stream;
  return is_nbd_uri(name) ? TargetKind::nbd : TargetKind::file;
}

Status check_part(const ConvertOptions& options, const SourceFacts& source) {
  ConvertPlan ignored;
  return take_part(options, source, ignored);
}

Result<ConvertPlan> plan_conversion(const ConvertOptions& options, const SourceFacts& source) {
  const TargetKind kind = target_kind(options.target);
  ConvertPlan plan;
  OVHD_CHECK(take_part(options, source, plan));
  OVHD_CHECK(take_format(options, kind, plan));
  OVHD_CHECK(take_sectors(source, plan));
  OVHD_CHECK(take_size(kind, plan));
  // The whole disk stays the same disk (FORMAT 65); a part, or a longer one, is another.
  const bool whole = options.offset.value == 0 && plan.length == source.size &&
                     (options.create.virtual_size == 0 || plan.total == source.size);
  if (!plan.create.identifier && whole) plan.create.identifier = source.identifier;
  // Real extents come from writing everything once, not from zeros that are overwritten.
  plan.write_zeros = plan.create.no_sparse && plan.create.type == DiskType::fixed;
  plan.create.no_sparse = false;
  plan.create.report = nullptr;
  return plan;
}

}  // namespace openvhd
