#include <openvhd/convert.hpp>

#include "base/try.hpp"
#include "image/convert/compare_pipeline.hpp"
#include "image/convert/disk_side.hpp"

namespace openvhd {
namespace {

constexpr std::uint32_t kDepth = 8;

}  // namespace

Result<CompareResult> compare(const CompareOptions& options) {
  if (options.a == "-" || options.b == "-") {
    return Error{.code = Errc::invalid, .what = "standard input cannot be compared"};
  }
  // The report is of the side that failed; a's files are forgotten once it is open.
  OVHD_TRY(DiskSide a, open_side({.name = options.a,
                                  .format = options.a_format,
                                  .parents = options.parents,
                                  .depth = kDepth,
                                  .report = options.report}));
  if (options.report != nullptr) options.report->files.clear();
  OVHD_TRY(DiskSide b, open_side({.name = options.b,
                                  .format = options.b_format,
                                  .parents = options.parents,
                                  .depth = kDepth,
                                  .report = options.report}));
  CompareResult result{.sizes_differ = a.facts.size != b.facts.size};
  if (result.sizes_differ && options.strict) return result;
  ComparePipeline pipeline{*a.endpoint, *b.endpoint, kDepth, options.progress};
  OVHD_TRY(result.first_difference, pipeline.run());
  result.equal = !result.first_difference;
  return result;
}

}  // namespace openvhd
