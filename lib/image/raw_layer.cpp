#include "image/raw_layer.hpp"

#include <algorithm>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "io/sync_rounds.hpp"

namespace openvhd {
namespace {

constexpr std::uint32_t kSectorBytes = 512;

/// Byte n of the disk is byte n of the file. Holes are the host's business: trimming punches. A
/// file that ends inside a sector reads as zeros from there to the sector's end.
class RawLayer final : public ImageLayer {
 public:
  RawLayer(std::uint64_t size, bool writable) noexcept : file_size_{size}, writable_{writable} {
    geometry_ = {.virtual_size = align_up(size, kSectorBytes),
                 .logical_sector_size = kSectorBytes,
                 .physical_sector_size = kSectorBytes,
                 .block_size = 0};
  }

  const Geometry& geometry() const noexcept override { return geometry_; }

  Step<Extent> locate(VirtualOffset at, std::uint64_t length) noexcept override {
    return extent_of(at, length);
  }

  Step<Extent> place(VirtualOffset at, std::uint64_t length) noexcept override {
    if (auto refused = refusal()) return *refused;
    return Extent{Extent::Kind::data, {at.value}, length};
  }

  void wrote(VirtualOffset, const Extent&) noexcept override { rounds_.wrote(); }

  Step<Cleared> clear(VirtualOffset at, std::uint64_t length, ClearKind kind) noexcept override {
    if (auto refused = refusal()) return *refused;
    const auto host = kind == ClearKind::trim ? IoCommand::Kind::punch : IoCommand::Kind::zero;
    return Cleared{.length = length, .host = Cleared::OnHost{host, {at.value}}};
  }

  Step<Ok> flush(FlushTicket& ticket) noexcept override { return rounds_.flush(ticket, 0); }
  Step<Ok> close(FlushTicket& ticket) noexcept override { return flush(ticket); }
  void complete(std::uint64_t, std::int32_t result) noexcept override { rounds_.complete(result); }

  void enter(OperationTicket&) noexcept override {}
  void leave(OperationTicket&) noexcept override {}

  bool find(VirtualOffset at, std::uint64_t length, Extent& out) noexcept override {
    out = extent_of(at, length);
    return true;
  }

  bool find_writable(VirtualOffset at, std::uint64_t length, Extent& out) noexcept override {
    if (!writable_ || rounds_.poisoned()) return false;
    out = {Extent::Kind::data, {at.value}, length};
    return true;
  }

  void overwritten() noexcept override { rounds_.wrote(); }
  bool settled() const noexcept override { return true; }

  DiskType type() const noexcept override { return DiskType::fixed; }

  LayerInfo info() const override {
    LayerInfo out;
    out.format = Format::raw;
    out.type = DiskType::fixed;
    out.geometry = geometry_;
    return out;
  }

  Result<BlockCounts> count_blocks(File&, std::uint64_t) override { return BlockCounts{}; }
  const ParentLink* parent_link() const noexcept override { return nullptr; }
  Guid link_identity() const noexcept override { return {}; }

 private:
  Extent extent_of(VirtualOffset at, std::uint64_t length) const noexcept {
    if (at.value >= file_size_) return {Extent::Kind::zero, {}, length};
    return {Extent::Kind::data, {at.value}, std::min(length, file_size_ - at.value)};
  }

  std::optional<Error> refusal() const noexcept {
    if (!writable_) return Error{.code = Errc::read_only, .what = "opened for reading"};
    return rounds_.refusal();
  }

  Geometry geometry_;
  std::uint64_t file_size_;
  bool writable_;
  SyncRounds rounds_;
};

}  // namespace

Result<OpenedImage> open_raw(std::unique_ptr<File> file, const LayerOpenOptions& options) {
  OVHD_TRY(const std::uint64_t size, file->size());
  if (size == 0) return Error{.code = Errc::corrupt, .what = "an empty raw file is no disk"};
  if (options.writable && !is_multiple(size, kSectorBytes)) {
    return Error{.code = Errc::corrupt, .where = {size}, .what = "raw size not a multiple of 512"};
  }
  OpenedImage out;
  out.layer = std::make_unique<RawLayer>(size, options.writable);
  out.file = std::move(file);
  return out;
}

}  // namespace openvhd
