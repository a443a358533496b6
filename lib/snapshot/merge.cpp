#include <openvhd/merge.hpp>
#include <utility>

#include "base/try.hpp"
#include "image/open.hpp"
#include "snapshot/catalogue.hpp"
#include "snapshot/merge_record.hpp"
#include "snapshot/merge_run.hpp"
#include "snapshot/resolve.hpp"

namespace openvhd {
namespace {

using snapshot::ResolvedChain;
using snapshot::Workshop;

Error invalid(const char* what) noexcept { return {.code = Errc::invalid, .what = what}; }

Workshop workshop_for(const MergeOptions& options, ImageStore& store) {
  return {.store = store,
          .host = system_host(),
          .driver = options.driver,
          .depth = options.depth,
          .reflink = options.reflink,
          .progress = options.progress,
          .report = options.report};
}

template <class T>
std::vector<T> first_of(const std::vector<T>& all, std::size_t count) {
  return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count)};
}

Result<MergeResult> pull(const MergeOptions& options, const ResolvedChain& chain,
                         const Workshop& shop) {
  std::size_t last = chain.paths.size() - 1;
  if (!options.into.empty()) {
    OVHD_TRY(last, index_in(chain, options.into, options.report));
    if (last < 2) return invalid("pulling up to that image leaves nothing to pull");
  }
  return snapshot::run_pull(shop, {.format = chain.format,
                                   .paths = first_of(chain.paths, last + 1),
                                   .identities = first_of(chain.identities, last + 1),
                                   .detach = options.into.empty()});
}

/// The child of an interrupted merge may be gone while its record is still there.
Result<std::string> recorded_target(ImageStore& store, const std::string& child) {
  const std::string ending = snapshot::record_path({});
  OVHD_TRY(const std::vector<std::string> names, store.list(directory_of(child)));
  for (const std::string& name : names) {
    if (!name.ends_with(ending) || name == ending) continue;
    const std::string target = beside(child, name.substr(0, name.size() - ending.size()));
    const auto record = snapshot::read_record(store, target);
    if (record && record->files.front() == leaf_of(child)) return target;
  }
  return Error{.code = Errc::not_found, .sys_errno = 2, .what = "open the image"};
}

}  // namespace

Result<MergeResult> merge(const MergeOptions& options) {
  PosixStore store{options.direct};
  if (!store.exists(options.child)) {
    if (options.report != nullptr) options.report->files = {options.child};
    OVHD_TRY(const std::string target, recorded_target(store, options.child));
    return resume_merge(target, options);
  }
  OVHD_TRY(const ResolvedChain chain,
           snapshot::resolve_chain(options.child, options.parents, options.report));
  if (chain.paths.size() < 2) return invalid("the image has no parent to merge with");
  const Workshop shop = workshop_for(options, store);
  if (options.pull) {
    if (options.keep) return invalid("pulling removes nothing: there is nothing to keep");
    OVHD_CHECK(snapshot::expect_no_checkpoints(shop, std::span{&options.child, 1}));
    OVHD_CHECK(snapshot::expect_not_being_merged(shop, options.child, chain.paths));
    return pull(options, chain, shop);
  }
  std::size_t target = 1;
  if (!options.into.empty()) {
    OVHD_TRY(target, index_in(chain, options.into, options.report));
    if (target == 0) return invalid("an image is not merged into itself");
  }
  // What was begun is finished as it was begun: half of it has happened.
  for (std::size_t i = 1; i < chain.paths.size(); ++i) {
    if (!store.exists(snapshot::record_path(chain.paths[i]))) continue;
    if (options.report != nullptr) options.report->files = {chain.paths[i]};
    OVHD_TRY(const auto record, snapshot::read_record(store, chain.paths[i]));
    const bool same = leaf_of(record.files.front()) == leaf_of(options.child) &&
                      (options.into.empty() || target == i);
    if (!same) {
      return invalid("another merge into it was interrupted: resume that first (C05)");
    }
    return snapshot::finish_merge(shop, chain.format, chain.paths[i], options.child_dirs);
  }
  const std::vector<std::string> paths = first_of(chain.paths, target + 1);
  OVHD_CHECK(snapshot::expect_no_checkpoints(shop, paths));
  return snapshot::run_merge(shop, {.format = chain.format,
                                    .paths = paths,
                                    .identities = first_of(chain.identities, target + 1),
                                    .child_dirs = options.child_dirs,
                                    .keep = options.keep,
                                    .force_siblings = options.force_siblings});
}

bool merge_is_unfinished(const std::string& path) { return merge_is_pending(path); }

Result<MergeResult> resume_merge(const std::string& target, const MergeOptions& options) {
  PosixStore store{options.direct};
  OVHD_TRY(const Format format, snapshot::format_of(target, options.report));
  return snapshot::finish_merge(workshop_for(options, store), format, target, options.child_dirs);
}

}  // namespace openvhd
