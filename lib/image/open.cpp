#include "image/open.hpp"

#include <algorithm>
#include <iterator>

#include "base/try.hpp"
#include "image/raw_layer.hpp"
#include "io/image_store.hpp"
#include "io/posix_file.hpp"
#include "vhd/vhd.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd {
namespace {

constexpr std::uint32_t kDeepest = 64;

Error at_layer(Error error, std::uint32_t layer) {
  error.layer = layer;
  return error;
}

void report_file(const OpenOptions& options, const std::string& path) {
  if (options.report != nullptr) options.report->files.push_back(path);
}

/// A checkpoint's image is what others are made of. An image into which a merge was interrupted is
/// in between: no disk by itself before the merge has been finished, and what somebody wrote to it
/// would be lost then.
Status check_beside(const OpenOptions& options, const std::string& path, bool leaf) {
  if (leaf && options.access == Access::read_write && name_exists(path + kCatalogueEnding)) {
    return Error{
        .code = Errc::denied,
        .what = "it is a checkpoint: vhdtool checkpoint list names the current disk (C03)"};
  }
  if (!merge_is_pending(path)) return Ok{};
  if (leaf && options.access == Access::read_write) {
    return Error{
        .code = Errc::denied,
        .what = "a merge into it was interrupted: vhdtool merge --resume finishes it (C05)"};
  }
  if (options.report != nullptr) {
    options.report->notes.push_back(
        path + ": a merge into it was interrupted: vhdtool merge --resume finishes it (C05)");
  }
  return Ok{};
}

void report_notes(const OpenOptions& options, const std::string& path, const ImageLayer& layer) {
  if (options.report == nullptr) return;
  for (const std::string& note : layer.info().notes) {
    options.report->notes.push_back(path + ": " + note);
  }
}

/// The operator's word on the format of parent `index` (1 is the leaf's parent), if any.
std::optional<Format> named_format(const ParentPolicy& policy, std::uint32_t index) {
  if (index > policy.chain.size()) return std::nullopt;
  return policy.chain[index - 1].format;
}

/// A chain while it is being opened.
struct Opening {
  OpenedChain chain;
  std::vector<HostFile> hosts;
};

Status add_parent(Opening& opening, const OpenOptions& options, Host& host) {
  OpenedChain& chain = opening.chain;
  const auto index = static_cast<std::uint32_t>(chain.images.size());
  OVHD_CHECK(check_depth(options.parents, index));
  const ImageLayer& child = *chain.images.back().layer;
  auto found = find_parent(child, opening.hosts, options);
  if (!found) {
    // A file that the operator named is the one that the error is about.
    const auto& named = options.parents.chain;
    if (index > named.size()) return at_layer(found.error(), index - 1);
    report_file(options, named[index - 1].path);
    return at_layer(found.error(), index);
  }
  const std::string path = found->file->name();
  report_file(options, path);
  OVHD_CHECK(check_beside(options, path, false));
  opening.hosts.push_back({found->file.get(), std::move(found->place)});
  const Format format = named_format(options.parents, index).value_or(chain.format);
  auto opened = open_layer(format, std::move(found->file),
                           {.table_cache_bytes = options.table_cache_bytes}, host);
  if (!opened) return at_layer(opened.error(), index);
  if (const Status link = verify_link(child, *opened->layer, format == Format::raw); !link) {
    return at_layer(link.error(), index - 1);
  }
  report_notes(options, path, *opened->layer);
  chain.images.push_back(*std::move(opened));
  chain.paths.push_back(path);
  return Ok{};
}

Lock lock_for(Access access) {
  switch (access) {
    case Access::read_only:
      return Lock::reader;
    case Access::read_write:
      return Lock::writer;
    case Access::inspect:
      return Lock::none;
  }
  return Lock::writer;
}

}  // namespace

bool merge_is_pending(const std::string& path) { return name_exists(path + kMergeRecordEnding); }

Status expect_no_pending_merge(std::span<const std::string> paths) {
  if (std::ranges::none_of(paths, merge_is_pending)) return Ok{};
  return Error{.code = Errc::denied,
               .what = "a merge in its chain was interrupted: finish it first (C05)"};
}

Result<std::unique_ptr<PosixFile>> open_host_file(const std::string& path, Access access,
                                                  bool direct) {
  const PosixFile::Options options{
      .writable = access == Access::read_write, .direct = direct, .lock = lock_for(access)};
  return PosixFile::open(path, options);
}

Result<OpenedParent> find_parent(const ImageLayer& child, std::span<const HostFile> below,
                                 const OpenOptions& options) {
  std::vector<FileIdentity> identities;
  for (const HostFile& host : below) identities.push_back(host.file->identity());
  const ParentRequest request{
      .child = *below.back().file,
      .place = below.back().place,
      .proposals = child.parent_link()->paths,
      .chain = identities,
      .policy = options.parents,
      .direct = options.direct,
      .lock = lock_for(options.access == Access::inspect ? Access::inspect : Access::read_only)};
  std::vector<std::string> notes;
  auto found = open_parent(request, notes);
  if (options.report != nullptr)
    std::ranges::move(notes, std::back_inserter(options.report->notes));
  if (found) return found;
  Error error = found.error();
  // A file that the operator named and that is not there is the operator's mistake; one that
  // only the image names makes the image one that cannot be used.
  if (error.code == Errc::not_found && options.parents.chain.empty()) {
    error.code = Errc::mismatch;
    error.what = "the parent is not there under any name that may be followed (C01)";
  }
  return error;
}

Result<std::optional<Format>> probe(File& file) {
  OVHD_TRY(const bool is_vhdx, vhdx::probe(file));
  if (is_vhdx) return std::optional{Format::vhdx};
  OVHD_TRY(const bool is_vhd, vhd::probe(file));
  if (is_vhd) return std::optional{Format::vhd};
  return std::optional<Format>{};
}

Result<OpenedImage> open_layer(Format format, std::unique_ptr<File> file,
                               const LayerOpenOptions& options, Host& host) {
  switch (format) {
    case Format::raw:
      return open_raw(std::move(file), options);
    case Format::vhd:
      return vhd::open(std::move(file), options, host);
    case Format::vhdx:
      return vhdx::open(std::move(file), options, host);
  }
  return Error{.code = Errc::invalid, .what = "no such format"};
}

Status check_depth(const ParentPolicy& policy, std::size_t files) {
  if (files < std::min(policy.max_depth, kDeepest)) return Ok{};
  return Error{.code = Errc::unsupported, .what = "more files in the chain than allowed (C02)"};
}

Status verify_link(const ImageLayer& child, const ImageLayer& parent, bool raw_parent) {
  const ParentLink& link = *child.parent_link();
  const Guid id = parent.link_identity();
  const bool matches = id == link.linkage || (link.linkage2 && id == *link.linkage2);
  if (!raw_parent && !matches) {
    return Error{.code = Errc::mismatch,
                 .what = "the parent is not the one it was made from (C01)"};
  }
  const Geometry& below = parent.geometry();
  const Geometry& above = child.geometry();
  if (below.logical_sector_size != above.logical_sector_size) {
    return Error{.code = Errc::mismatch, .what = "parent and child differ in sector size (C01)"};
  }
  if (below.virtual_size > above.virtual_size) {
    return Error{.code = Errc::mismatch, .what = "the parent is larger than its child (C01)"};
  }
  return Ok{};
}

Result<OpenedChain> open_chain(const std::string& path, const OpenOptions& options, Host& host) {
  report_file(options, path);
  OVHD_TRY(auto file, open_host_file(path, options.access, options.direct));
  OVHD_CHECK(check_beside(options, path, true));
  Opening opening;
  OpenedChain& chain = opening.chain;
  if (options.format) {
    chain.format = *options.format;
  } else {
    OVHD_TRY(const auto format, probe(*file));
    if (!format) {
      return Error{.code = Errc::unsupported,
                   .what = "neither VHD nor VHDX; raw must be named (X01, V01)"};
    }
    chain.format = *format;
  }
  const LayerOpenOptions how{.writable = options.access == Access::read_write,
                             .table_cache_bytes = options.table_cache_bytes};
  chain.how = how;
  chain.direct = options.direct;
  const PosixFile* leaf_file = file.get();
  OVHD_TRY(OpenedImage leaf, open_layer(chain.format, std::move(file), how, host));
  report_notes(options, path, *leaf.layer);
  chain.images.push_back(std::move(leaf));
  chain.paths.push_back(path);
  while (chain.images.back().layer->type() == DiskType::differencing) {
    if (!options.parents.open_parents) {
      chain.complete = false;
      break;
    }
    if (opening.hosts.empty()) {
      OVHD_TRY(ImagePlace place, place_of(*leaf_file));
      opening.hosts.push_back({leaf_file, std::move(place)});
    }
    OVHD_CHECK(add_parent(opening, options, host));
  }
  const std::size_t parents = chain.images.size() - 1;
  if (options.parents.open_parents && options.parents.chain.size() > parents) {
    return Error{.code = Errc::invalid, .what = "more parents are named than the image has"};
  }
  return std::move(opening.chain);
}

}  // namespace openvhd
