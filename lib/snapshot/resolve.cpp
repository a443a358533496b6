#include "snapshot/resolve.hpp"

#include <algorithm>
#include <utility>

#include "base/try.hpp"
#include "image/open.hpp"

namespace openvhd::snapshot {
namespace {

void blame(OpenReport* report, const std::string& path) {
  if (report != nullptr) report->files = {path};
}

}  // namespace

Result<ResolvedChain> resolve_chain(const std::string& child, const ParentPolicy& parents,
                                    OpenReport* report) {
  if (report != nullptr) report->files.clear();
  OVHD_TRY(const OpenedChain chain,
           open_chain(child, {.access = Access::read_only, .parents = parents, .report = report},
                      system_host()));
  ResolvedChain out{.format = chain.format, .paths = chain.paths, .identities = {}};
  for (const OpenedImage& image : chain.images) {
    if (image.layer->info().format != chain.format) {
      return Error{.code = Errc::unsupported, .what = "a raw parent is not merged or rebased"};
    }
    out.identities.push_back(image.file->identity());
  }
  return out;
}

Result<std::size_t> index_in(const ResolvedChain& chain, const std::string& path,
                             OpenReport* report) {
  const auto named = std::ranges::find(chain.paths, path);
  if (named != chain.paths.end()) return static_cast<std::size_t>(named - chain.paths.begin());
  blame(report, path);
  OVHD_TRY(const auto file, open_host_file(path, Access::inspect, false));
  const auto found = std::ranges::find(chain.identities, file->identity());
  if (found == chain.identities.end()) {
    return Error{.code = Errc::invalid, .what = "is not in the chain of the child"};
  }
  return static_cast<std::size_t>(found - chain.identities.begin());
}

Result<Format> format_of(const std::string& path, OpenReport* report) {
  blame(report, path);
  OVHD_TRY(const auto file, open_host_file(path, Access::inspect, false));
  OVHD_TRY(const auto format, probe(*file));
  if (!format) {
    return Error{.code = Errc::unsupported, .what = "neither VHD nor VHDX (X01, V01)"};
  }
  return *format;
}

}  // namespace openvhd::snapshot
