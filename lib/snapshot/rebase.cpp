#include <algorithm>
#include <array>
#include <openvhd/rebase.hpp>
#include <utility>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/convert/buffers.hpp"
#include "image/open.hpp"
#include "snapshot/catalogue.hpp"
#include "snapshot/merge_record.hpp"
#include "snapshot/resolve.hpp"

namespace openvhd {
namespace {

using detail::DiskState;
using snapshot::HeldFile;
using snapshot::ImageFacts;
using snapshot::Workshop;

constexpr std::uint64_t kStepBytes = 1 * kMiB;   // read from both chains at once
constexpr std::uint64_t kMostAtOnce = 1 * kGiB;  // of one look at a map

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

/// Copies into a child what its old chain and the new one hold differently.
class Rebaser {
 public:
  Rebaser(const RebaseOptions& options, DiskState& old_disk, DiskState& new_disk)
      : options_{options}, old_{old_disk}, new_{new_disk} {}

  Status run(RebaseResult& result);

 private:
  Status compare(std::uint64_t at, std::uint64_t length);
  Status compare_data(std::uint64_t at, std::uint64_t length);
  Result<MapEntry> new_entry(std::uint64_t at, std::uint64_t length);
  Status read_new(std::uint64_t at, std::span<std::byte> into);

  const RebaseOptions& options_;
  DiskState& old_;
  DiskState& new_;
  AlignedBuffer memory_{2 * kStepBytes};
  RebaseResult counts_;
};

// The new parent may end before the child: there are zeros behind it.
Result<MapEntry> Rebaser::new_entry(std::uint64_t at, std::uint64_t length) {
  const std::uint64_t end = new_.geometry().virtual_size;
  if (at >= end) {
    return MapEntry{.at = {at}, .length = length, .kind = MapEntry::Kind::hole};
  }
  return new_.map({at}, std::min(length, end - at));
}

Status Rebaser::read_new(std::uint64_t at, std::span<std::byte> into) {
  const std::uint64_t end = new_.geometry().virtual_size;
  const auto inside =
      static_cast<std::size_t>(at >= end ? 0 : std::min<std::uint64_t>(into.size(), end - at));
  std::ranges::fill(into.subspan(inside), std::byte{0});
  if (inside == 0) return Ok{};
  return new_.read({at}, into.first(inside));
}

Status Rebaser::compare_data(std::uint64_t at, std::uint64_t length) {
  const std::uint64_t sector = old_.geometry().logical_sector_size;
  for (std::uint64_t done = 0; done < length;) {
    const auto step = static_cast<std::size_t>(std::min(kStepBytes, length - done));
    const auto before = memory_.span().first(step);
    const auto after = memory_.span().subspan(kStepBytes, step);
    OVHD_CHECK(old_.read({at + done}, before));
    OVHD_CHECK(read_new(at + done, after));
    counts_.compared_bytes += step;
    for (std::size_t i = 0; i < step;) {
      // A run of sectors that differ is one write.
      const auto differs = [&](std::size_t from) {
        return from < step &&
               !std::ranges::equal(before.subspan(from, sector), after.subspan(from, sector));
      };
      std::size_t end = i;
      while (differs(end)) end += sector;
      if (end == i) {
        i += sector;
        continue;
      }
      OVHD_CHECK(old_.write({at + done + i}, before.subspan(i, end - i)));
      counts_.copied_bytes += end - i;
      i = end;
    }
    done += step;
  }
  return Ok{};
}

// [at, at + length) is not in the child, and one answer of the old chain.
Status Rebaser::compare(std::uint64_t at, std::uint64_t length) {
  while (length != 0) {
    OVHD_TRY(const MapEntry before, old_.map({at}, length));
    OVHD_TRY(const MapEntry after, new_entry(at, before.length));
    const std::uint64_t step = std::min(before.length, after.length);
    const bool data = before.kind == MapEntry::Kind::data;
    const bool same = !data && after.kind != MapEntry::Kind::data;
    // One place in one file, which both chains have in them.
    const bool shared =
        data && after.kind == MapEntry::Kind::data && before.host_offset == after.host_offset &&
        old_.files()[before.layer]->identity() == new_.files()[after.layer]->identity();
    if (!same && !shared) OVHD_CHECK(compare_data(at, step));
    at += step;
    length -= step;
  }
  return Ok{};
}

Status Rebaser::run(RebaseResult& result) {
  if (memory_.span().empty()) {
    return Error{.code = Errc::io, .sys_errno = 12, .what = "buffers for comparing"};
  }
  const std::uint64_t size = old_.geometry().virtual_size;
  for (std::uint64_t at = 0; at < size;) {
    OVHD_TRY(const MapEntry entry, old_.map({at}, std::min(size - at, kMostAtOnce)));
    const bool own = entry.kind != MapEntry::Kind::hole && entry.layer == 0;
    const std::uint64_t step = own ? entry.length : std::min(entry.length, 64 * kMiB);
    if (!own) OVHD_CHECK(compare(at, step));
    at += step;
    if (options_.progress != nullptr && !options_.progress->update(at, size)) {
      return snapshot::stopped();
    }
  }
  result.compared_bytes = counts_.compared_bytes;
  result.copied_bytes = counts_.copied_bytes;
  return Ok{};
}

Result<std::unique_ptr<DiskState>> open_reported(const std::string& path, OpenOptions open,
                                                 OpenReport* report) {
  if (report != nullptr) report->files.clear();
  open.report = report;
  return DiskState::open(path, open, system_host());
}

Status copy_differences(const RebaseOptions& options, const Workshop& shop, DiskState& new_disk,
                        RebaseResult& result) {
  OVHD_TRY(auto old_disk,
           open_reported(
               options.child,
               {.access = Access::read_write, .parents = options.parents, .direct = options.direct},
               options.report));
  OVHD_CHECK(snapshot::expect_not_being_merged(shop, options.child, old_disk->paths()));
  // What the child reads as does not change, and its children are to go on knowing it.
  old_disk->image(0).set_link_identity(old_disk->image(0).link_identity());
  OVHD_CHECK((Rebaser{options, *old_disk, new_disk}.run(result)));
  return old_disk->close();
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
  const Workshop shop{.store = store, .host = system_host(), .report = options.report};
  OVHD_CHECK(snapshot::expect_no_checkpoints(shop, std::span{&options.child, 1}));
  OVHD_CHECK(snapshot::expect_not_being_merged(shop, options.child, {}));
  // Held to the end: nobody writes to the new chain while it is compared and linked to.
  OVHD_TRY(auto parent, open_reported(chains.parent, {.parents = chains.of_new}, options.report));
  OVHD_CHECK(expect_no_pending_merge(parent->paths()));
  OVHD_CHECK(judge(options, shop, *parent));
  RebaseResult result{.parent = chains.parent};
  if (!options.unsafe) OVHD_CHECK(copy_differences(options, shop, *parent, result));
  OVHD_TRY(const HeldFile child, hold(shop, options.child, Lock::writer, std::nullopt));
  const ParentChange change{.linkage = parent->image(0).link_identity(),
                            .linkage2 = Guid{},
                            .relative = relative_way(options.child, chains.parent),
                            .name = leaf_of(chains.parent),
                            .timestamp = parent_timestamp(*parent->files().front())};
  OVHD_CHECK(set_parent(parent->format(), *child.file, change, shop.host));
  result.recorded = *change.relative;
  return result;
}

}  // namespace openvhd
