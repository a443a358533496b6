#include "vhd/disk.hpp"

#include "image/ops/clear_op.hpp"
#include "image/ops/flush_op.hpp"
#include "image/ops/read_op.hpp"
#include "image/ops/write_op.hpp"
#include "io/blocking_driver.hpp"
#include "vhd/sha256.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

std::vector<Layer*> layers_of(const std::vector<OpenedImage>& images) {
  std::vector<Layer*> out;
  for (const OpenedImage& image : images) out.push_back(image.layer.get());
  return out;
}

}  // namespace

Disk::Disk(std::vector<OpenedImage> images, bool complete)
    : images_{std::move(images)}, chain_{layers_of(images_), complete} {
  for (const OpenedImage& image : images_) files_.push_back(image.file.get());
}

Status Disk::read(std::uint64_t at, std::span<std::byte> into) {
  const iovec piece{into.data(), into.size()};
  ReadOp op{chain_, {at}, {&piece, 1}};
  return run(op, files_);
}

Status Disk::write(std::uint64_t at, std::span<const std::byte> from) {
  const iovec piece{const_cast<std::byte*>(from.data()), from.size()};
  WriteOp op{chain_, {at}, {&piece, 1}};
  return run(op, files_);
}

Status Disk::clear(std::uint64_t at, std::uint64_t length, ClearKind kind) {
  ClearOp op{chain_, {at}, length, kind};
  return run(op, files_);
}

Status Disk::flush() {
  FlushOp op{chain_, FlushOp::Kind::flush};
  return run(op, files_);
}

Status Disk::close() {
  FlushOp op{chain_, FlushOp::Kind::close};
  return run(op, files_);
}

std::string Disk::sha256(std::uint64_t bytes) {
  Sha256 hash;
  std::vector<std::byte> buffer(std::size_t{4} << 20);
  for (std::uint64_t at = 0; at < bytes;) {
    const std::size_t piece = std::min<std::uint64_t>(buffer.size(), bytes - at);
    const std::span part = std::span{buffer}.first(piece);
    if (!read(at, part)) return {};
    hash.add(part);
    at += piece;
  }
  return hash.finish();
}

Store store_of(std::span<const std::byte> bytes) {
  auto store = std::make_shared<MemoryStore>();
  if (store->write(0, bytes) != 0) std::abort();
  return store;
}

Result<Disk> open_disk(std::unique_ptr<File> file, LayerOpenOptions options) {
  FixedHost host;
  auto image = vhd::open(std::move(file), options, host);
  if (!image) return image.error();
  std::vector<OpenedImage> images;
  images.push_back(*std::move(image));
  const bool complete = images.front().layer->type() != DiskType::differencing;
  return Disk{std::move(images), complete};
}

Result<Disk> open_disk(const Store& store, bool writable) {
  auto file =
      std::make_unique<MemoryFile>(store, MemoryFile::Options{.writable = writable, .name = "vhd"});
  return open_disk(std::move(file), {.writable = writable});
}

Result<Disk> open_chain(const std::vector<Store>& stores) {
  FixedHost host;
  std::vector<OpenedImage> images;
  for (const Store& store : stores) {
    const bool leaf = images.empty();
    auto image = vhd::open(
        std::make_unique<MemoryFile>(store, MemoryFile::Options{.writable = leaf, .name = "vhd"}),
        {.writable = leaf}, host);
    if (!image) return image.error();
    images.push_back(*std::move(image));
  }
  return Disk{std::move(images)};
}

}  // namespace openvhd::test
