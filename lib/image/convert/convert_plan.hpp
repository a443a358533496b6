/// What a conversion will make, decided before anything is written.
#pragma once

#include <cstdint>
#include <openvhd/convert.hpp>
#include <openvhd/error.hpp>
#include <optional>
#include <string>
#include <vector>

namespace openvhd {

/// What is known of a source.
struct SourceFacts {
  std::uint64_t size = 0;                  ///< Bytes; of a raw file without what fills a sector.
  std::uint32_t logical_sector_size = 0;   ///< 0: it has none of its own (raw, NBD, a stream).
  std::uint32_t physical_sector_size = 0;  ///< Likewise.
  std::optional<Guid> identifier{};
};

enum class TargetKind : std::uint8_t { file, stream, nbd };

/// "-" is a stream, an NBD URI an export, everything else a file.
TargetKind target_kind(const std::string& name) noexcept;

struct ConvertPlan {
  Format format{};
  CreateOptions create;      ///< Complete: size, type, sector sizes, identifier.
  std::uint64_t length = 0;  ///< Of the part of the source.
  std::uint64_t total = 0;   ///< Of the target.
  bool write_zeros = false;  ///< Every byte of the target is to be written.
  std::vector<std::string> notes;
};

/// What plan_conversion() would refuse about the part of the source that is to be copied.
Status check_part(const ConvertOptions& options, const SourceFacts& source);

/// Errors: invalid, out_of_range (the part lies outside the source), unsupported (more than the
/// format holds).
Result<ConvertPlan> plan_conversion(const ConvertOptions& options, const SourceFacts& source);

}  // namespace openvhd
