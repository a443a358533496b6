#include <algorithm>
#include <openvhd/rebase.hpp>
#include <utility>

#include "base/try.hpp"
#include "image/open.hpp"
#include "snapshot/catalogue.hpp"
#include "snapshot/merge_record.hpp"
#include "snapshot/rebase_run.hpp"
#include "snapshot/resolve.hpp"

namespace openvhd {
namespace {

using detail::DiskState;
using snapshot::HeldFile;
using snapshot::ImageFacts;
using snapshot::Workshop;

Error invalid(const char* what) noexcept { return {.code = Errc::invalid, .what = what}; }

char lower_case(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Without the prefix of long Win32 paths, with slashes.
std::string plain_path(std::string text) {
  std::ranges::replace(text, '\\', '/');
  for (const std::string_view prefix : {"//?/UNC/", "//?/", "//./"}) {
    if (text.starts_with(prefix)) {
      text.erase(0, prefix.size());
      break;
    }
  }
  while (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

/// Where a recorded path leads to here; empty where no mapping knows.
std::string mapped_path(const std::string& recorded, const std::vector<PathMapping>& mappings) {
  const std::string path = plain_path(recorded);
  for (const PathMapping& mapping : mappings) {
    const std::string from = plain_path(mapping.from);
    const bool below = path.size() > from.size() && path[from.size()] == '/';
    if (!below ||
        !std::ranges::equal(path.substr(0, from.size()), from, {}, lower_case, lower_case)) {
      continue;
    }
    const std::string rest = path.substr(from.size() + 1);
    // The rest is the image's own word: it leads nowhere but below.
    const bool climbs = ("/" + rest + "/").find("/../") != std::string::npos;
    if (rest.empty() || climbs || rest.find('\0') != std::string::npos) continue;
    return mapping.to + (mapping.to.ends_with('/') ? "" : "/") + rest;
  }
  return {};
}

/// The link of an image, and nothing where it is no differencing one.
Result<std::optional<ParentLink>> link_of(const std::string& path) {
  OVHD_TRY(OpenedChain chain,
           open_chain(path, {.access = Access::inspect, .parents = {.open_parents = false}},
                      system_host()));
  const ParentLink* link = chain.images.front().layer->parent_link();
  if (link == nullptr) return std::optional<ParentLink>{};
  return std::optional{*link};
}

Result<std::unique_ptr<DiskState>> open_reported(const std::string& path, OpenOptions open,
                                                 OpenReport* report) {
  if (report != nullptr) report->files.clear();
  open.report = report;
  return DiskState::open(path, open, system_host());
}

Status check_new_parent(const ImageFacts& child, const Geometry& parent) {
  if (!child.parent) return invalid("the image has no parent");
  if (child.geometry.logical_sector_size != parent.logical_sector_size) {
    return Error{.code = Errc::mismatch, .what = "parent and child differ in sector size (C01)"};
  }
  if (parent.virtual_size > child.geometry.virtual_size) {
    return Error{.code = Errc::mismatch, .what = "the parent is larger than its child (C01)"};
  }
  return Ok{};
}

/// The nearest parent by the mappings.
Result<std::string> mapped_parent(const std::string& child,
                                  const std::vector<PathMapping>& mappings) {
  OVHD_TRY(const auto link, link_of(child));
  if (!link) return invalid("the image has no parent");
  for (const ParentPath& path : link->paths) {
    std::string here = mapped_path(path.text, mappings);
    if (!here.empty() && name_exists(here)) return here;
  }
  return Error{.code = Errc::not_found,
               .what = "no recorded path of the parent leads to a file here by the mappings"};
}

}  // namespace

Result<std::vector<ParentFile>> map_parents(const std::string& child,
                                            const std::vector<PathMapping>& mappings) {
  std::vector<ParentFile> out;
  std::string path = child;
  while (out.size() < 64) {
    OVHD_TRY(const auto link, link_of(path));
    if (!link) return out;
    auto next = mapped_parent(path, mappings);
    if (!next) return next.error();
    path = *std::move(next);
    out.push_back({.path = path});
  }
  return Error{.code = Errc::unsupported, .what = "more files in the chain than allowed (C02)"};
}

namespace {

/// The mappings as a parent and chains that are named.
struct Chains {
  std::string parent;
  ParentPolicy of_old;
  ParentPolicy of_new;
};
Result<Chains> chains_for(const RebaseOptions& options) {
  Chains out{.parent = options.parent, .of_old = options.parents, .of_new = options.parents};
  out.of_new.chain.clear();
  if (!options.mappings.empty()) {
    if (out.parent.empty()) {
      OVHD_TRY(out.parent, mapped_parent(options.child, options.mappings));
    }
    // An unsafe rebase does not open the old chain.
    if (!options.unsafe && out.of_old.chain.empty()) {
      OVHD_TRY(out.of_old.chain, map_parents(options.child, options.mappings));
    }
    OVHD_TRY(out.of_new.chain, map_parents(out.parent, options.mappings));
  }
  if (out.parent.empty()) return invalid("a new parent is needed");
  return out;
}

/// Refuses what cannot be before anything is compared.
Status judge(const RebaseOptions& options, const Workshop& shop, DiskState& parent) {
  OVHD_TRY(const Format format, snapshot::format_of(options.child, options.report));
  {
    OVHD_TRY(const HeldFile child, hold(shop, options.child, Lock::none, std::nullopt));
    for (File* const file : parent.files()) {
      if (file->identity() == child.file->identity()) {
        return invalid("the image would be its own ancestor (C02)");
      }
    }
  }
  OVHD_TRY(const HeldFile child, hold(shop, options.child, Lock::writer, std::nullopt));
  if (format != parent.format()) return invalid("the parent is an image of another format");
  OVHD_TRY(const ImageFacts facts, facts_of(shop, format, child));
  return check_new_parent(facts, parent.geometry());
}

}  // namespace

Result<RebaseResult> rebase(const RebaseOptions& given) {
  RebaseOptions options = given;
  if (options.report != nullptr) options.report->files = {options.child};
  OVHD_TRY(Chains chains, chains_for(options));
  options.parents = std::move(chains.of_old);
  PosixStore store{options.direct};
  const Workshop shop{.store = store,
                      .host = system_host(),
                      .progress = options.progress,
                      .report = options.report};
  OVHD_CHECK(snapshot::expect_no_checkpoints(shop, std::span{&options.child, 1}));
  OVHD_CHECK(snapshot::expect_not_being_merged(shop, options.child, {}));
  // Held to the end: nobody writes to the new chain while it is compared and linked to.
  OVHD_TRY(auto parent, open_reported(chains.parent, {.parents = chains.of_new}, options.report));
  OVHD_CHECK(expect_no_pending_merge(parent->paths()));
  OVHD_CHECK(judge(options, shop, *parent));
  snapshot::RebaseTask task{.child = options.child, .parent = chains.parent};
  if (!options.unsafe) {
    OVHD_TRY(task.old_disk, open_reported(options.child,
                                          {.access = Access::read_write,
                                           .parents = options.parents,
                                           .direct = options.direct},
                                          options.report));
    OVHD_CHECK(snapshot::expect_not_being_merged(shop, options.child, task.old_disk->paths()));
  }
  return snapshot::run_rebase(shop, std::move(task), *parent);
}

}  // namespace openvhd
