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
  // The report is of the side that failed.
  OVHD_TRY(DiskSide a, open_side({.name = options.a,
                                  .format = options.a_format,
                                  .parents = options.parents,
                                  .depth = kDepth,
                                  .report = options.report}));
  std::vector<std::string> a_files;
  if (options.report != nullptr) a_files.swap(options.report->files);
  OVHD_TRY(DiskSide b, open_side({.name = options.b,
                                  .format = options.b_format,
                                  .parents = options.parents,
                                  .depth = kDepth,
                                  .report = options.report}));
  CompareResult result{.sizes_differ = a.endpoint->traits().size != b.endpoint->traits().size};
  if (result.sizes_differ && options.strict) return result;
  ComparePipeline pipeline{*a.endpoint, *b.endpoint, kDepth, options.progress};
  const auto first = pipeline.run();
  if (!first) {
    if (pipeline.first_side_failed() && options.report != nullptr) options.report->files = a_files;
    return first.error();
  }
  result.first_difference = *first;
  result.equal = !result.first_difference;
  return result;
}

}  // namespace openvhd
