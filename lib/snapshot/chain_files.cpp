#include "snapshot/chain_files.hpp"

#include <utility>

#include "base/try.hpp"
#include "image/open.hpp"
#include "io/borrowed_file.hpp"

namespace openvhd::snapshot {

Error stopped() noexcept { return {.code = Errc::cancelled, .what = "stopped on request"}; }

Result<HeldFile> hold(const Workshop& shop, const std::string& path, Lock lock,
                      const std::optional<FileIdentity>& expected) {
  shop.blame(path);
  OVHD_TRY(auto file, shop.store.open(path, lock));
  if (expected && file->identity() != *expected) {
    return Error{.code = Errc::denied, .what = "the name stands for another file by now (f.4)"};
  }
  return HeldFile{.path = path, .file = std::move(file)};
}

Result<ImageFacts> facts_of(const Workshop& shop, Format format, const HeldFile& held) {
  shop.blame(held.path);
  OVHD_TRY(const OpenedImage image,
           open_layer(format, std::make_unique<BorrowedFile>(*held.file), {}, shop.host));
  ImageFacts out{.type = image.layer->type(),
                 .geometry = image.layer->geometry(),
                 .id = image.layer->link_identity(),
                 .disk_id = image.layer->info().identifier,
                 .parent = {}};
  if (const ParentLink* link = image.layer->parent_link()) out.parent = *link;
  return out;
}

Result<std::unique_ptr<detail::DiskState>> layers_over(const Workshop& shop, Format format,
                                                       std::span<const HeldFile* const> files,
                                                       bool writable, bool complete) {
  OpenedChain chain;
  chain.format = format;
  chain.complete = complete;
  chain.how.writable = writable;
  for (const HeldFile* held : files) {
    shop.blame(held->path);
    const bool change = writable && chain.images.empty();
    OVHD_TRY(OpenedImage image, open_layer(format, std::make_unique<BorrowedFile>(*held->file),
                                           {.writable = change}, shop.host));
    chain.images.push_back(std::move(image));
    chain.paths.push_back(held->path);
  }
  return std::make_unique<detail::DiskState>(
      std::move(chain), writable ? Access::read_write : Access::read_only, shop.driver, shop.host);
}

ParentChange change_to(const std::string& child, const HeldFile& parent, const Guid& parent_id) {
  return {.linkage = parent_id,
          .linkage2 = Guid{},
          .relative = relative_way(child, parent.path),
          .name = leaf_of(parent.path),
          .timestamp = parent_timestamp(*parent.file)};
}

}  // namespace openvhd::snapshot
