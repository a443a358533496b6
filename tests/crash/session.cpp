#include "crash/session.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/ops/clear_op.hpp"
#include "image/ops/flush_op.hpp"
#include "image/ops/map_op.hpp"
#include "image/ops/read_op.hpp"
#include "image/ops/write_op.hpp"
#include "image/raw_layer.hpp"
#include "io/blocking_driver.hpp"
#include "vhd/vhd.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kMostParent = 3 * kMiB;
constexpr Guid kParentGuid{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

class StoreSource final : public verify::Source {
 public:
  explicit StoreSource(const MemoryStore& store) : store_{store} {}
  std::uint64_t size() const override { return store_.size; }
  void read(std::uint64_t at, std::span<std::byte> into) const override {
    const std::size_t got = store_.read(at, into);
    std::ranges::fill(into.subspan(got), std::byte{0});
  }
  std::uint64_t next_data(std::uint64_t at, std::uint64_t end) const override {
    return store_.first_data(at, end);
  }

 private:
  const MemoryStore& store_;
};

std::vector<std::byte>& scratch(std::size_t bytes) {
  thread_local std::vector<std::byte> buffer;
  if (buffer.size() < bytes) buffer.resize(bytes);
  return buffer;
}

/// Adds [host, host + length) of a file to `out`: holes as zeros, the rest as `read` gives it.
template <class NextData, class Read>
Status add_data(Contents& out, std::uint32_t sector, std::uint64_t host, std::uint64_t length,
                NextData next_data, Read read) {
  for (std::uint64_t done = 0; done < length;) {
    const FileRange found = next_data(host + done, host + length);
    const std::uint64_t skip = found.length == 0 ? length - done : found.at.value - (host + done);
    const std::uint64_t zeros = align_down(skip, sector);
    out.add(zeros / sector, kZeroId);
    done += zeros;
    if (done == length) break;
    const std::uint64_t end = align_up(found.at.value + found.length - host, sector);
    const std::uint64_t take = std::min({end, length, done + kMiB}) - done;
    const auto bytes = std::span{scratch(take)}.first(take);
    OVHD_CHECK(read(done, bytes));
    out.add_sectors(bytes, sector);
    done += take;
  }
  return Ok{};
}

}  // namespace

std::uint64_t Shape::parent_sectors() const {
  if (!has_parent()) return 0;
  return align_down(std::min(virtual_size - virtual_size / 4, kMostParent), 4096) / sector;
}

Status create_image(File& file, const Shape& shape, Host& host) {
  const Geometry geometry{.virtual_size = shape.virtual_size,
                          .logical_sector_size = shape.sector,
                          .physical_sector_size = shape.format == Format::vhd ? 512u : 4096u,
                          .block_size = shape.type == DiskType::fixed && shape.format == Format::vhd
                                            ? 0
                                            : shape.block_size};
  const bool child = shape.has_parent();
  if (shape.format == Format::vhdx) {
    return vhdx::create(file,
                        {.type = shape.type,
                         .geometry = geometry,
                         .log_bytes = shape.log_bytes,
                         .parent_linkage = child ? kParentGuid : Guid{},
                         .parent_relative = child ? ".\\parent.vhdx" : ""},
                        host);
  }
  return vhd::create(file,
                     {.type = shape.type,
                      .geometry = geometry,
                      .parent_id = child ? kParentGuid : Guid{},
                      .parent_name = child ? "parent.vhd" : "",
                      .parent_relative = child ? ".\\parent.vhd" : ""},
                     host);
}

std::shared_ptr<MemoryStore> parent_of(const Shape& shape) {
  thread_local std::map<std::pair<std::uint64_t, std::uint32_t>, std::shared_ptr<MemoryStore>> made;
  const std::uint64_t sectors = shape.parent_sectors();
  auto& store = made[{sectors, shape.sector}];
  if (!store) {
    std::vector<std::byte> bytes(sectors * shape.sector);
    stamp(bytes, shape.sector, 0, kParentId);
    store = std::make_shared<MemoryStore>();
    if (store->write(0, bytes) != 0) std::abort();
  }
  return store;
}

Contents blank_contents(const Shape& shape) {
  Contents out;
  out.add(shape.parent_sectors(), kParentId);
  out.add(shape.sectors() - shape.parent_sectors(), kZeroId);
  return out;
}

Result<std::unique_ptr<Session>> Session::open(const Shape& shape, std::unique_ptr<File> leaf,
                                               bool writable, Host& host) {
  std::unique_ptr<Session> out{new Session{shape}};
  const LayerOpenOptions options{.writable = writable,
                                 .table_cache_bytes = shape.table_cache_bytes};
  auto image = shape.format == Format::vhdx ? vhdx::open(std::move(leaf), options, host)
                                            : vhd::open(std::move(leaf), options, host);
  if (!image) return image.error();
  out->images_.push_back(*std::move(image));
  if (shape.has_parent()) {
    auto parent = open_raw(
        std::make_unique<MemoryFile>(parent_of(shape), MemoryFile::Options{.writable = false}), {});
    if (!parent) return parent.error();
    out->images_.push_back(*std::move(parent));
  }
  std::vector<Layer*> layers;
  for (const OpenedImage& opened : out->images_) {
    layers.push_back(opened.layer.get());
    out->files_.push_back(opened.file.get());
  }
  out->chain_.emplace(std::move(layers), true);
  return out;
}

Status Session::write(std::uint64_t first, std::uint64_t count, std::uint64_t id) {
  auto& buffer = scratch(count * shape_.sector);
  const auto bytes = std::span{buffer}.first(count * shape_.sector);
  stamp(bytes, shape_.sector, first, id);
  const iovec piece{bytes.data(), bytes.size()};
  WriteOp op{*chain_, {first * shape_.sector}, {&piece, 1}};
  return run(op, files_);
}

Status Session::clear(std::uint64_t first, std::uint64_t count, ClearKind kind) {
  ClearOp op{*chain_, {first * shape_.sector}, count * shape_.sector, kind};
  return run(op, files_);
}

Status Session::flush() {
  FlushOp op{*chain_, FlushOp::Kind::flush};
  return run(op, files_);
}

Status Session::close() {
  FlushOp op{*chain_, FlushOp::Kind::close};
  return run(op, files_);
}

Status Session::read_into(Contents& out, std::uint64_t at, std::uint64_t host,
                          std::uint64_t length) {
  return add_data(
      out, shape_.sector, host, length,
      [&](std::uint64_t from, std::uint64_t end) {
        const auto found = files_[0]->next_data({from}, {end});
        return found ? *found : FileRange{{from}, end - from};
      },
      [&](std::uint64_t done, std::span<std::byte> into) {
        const iovec piece{into.data(), into.size()};
        ReadOp op{*chain_, {at + done}, {&piece, 1}};
        return run(op, files_);
      });
}

Result<Contents> Session::contents() {
  Contents out;
  for (std::uint64_t at = 0; at < shape_.virtual_size;) {
    MapOp op{*chain_, {at}, shape_.virtual_size - at};
    OVHD_CHECK(run(op, files_));
    const MapEntry& entry = op.entry();
    if (entry.length == 0) return Error{.code = Errc::io, .what = "map: an empty answer"};
    if (entry.kind != MapEntry::Kind::data) {
      out.add(entry.length / shape_.sector, kZeroId);
    } else if (entry.layer == 1) {
      out.add(entry.length / shape_.sector, entry.host_offset.value == at ? kParentId : kForeignId);
    } else {
      OVHD_CHECK(read_into(out, at, entry.host_offset.value, entry.length));
    }
    at += entry.length;
  }
  return out;
}

SecondOpinion second_opinion(const Shape& shape, const MemoryStore& store) {
  const StoreSource source{store};
  std::vector<verify::Breach> breaches;
  const auto image = shape.format == Format::vhdx ? verify::judge_vhdx(source, breaches)
                                                  : verify::judge_vhd(source, breaches);
  SecondOpinion out;
  if (!image) {
    out.wrong = verify::text_of(breaches);
    return out;
  }
  out.clean = image->clean();
  out.file_write_id = image->file_write_id;
  out.data_write_id = image->data_write_id;
  if (image->virtual_size() != shape.virtual_size || image->sector_bytes() != shape.sector) {
    out.wrong = "the disk has another size";
    return out;
  }
  for (std::uint64_t at = 0; at < shape.virtual_size;) {
    const verify::Run run = image->find(at, shape.virtual_size - at);
    if (run.kind == verify::Run::Kind::data) {
      static_cast<void>(add_data(
          out.contents, shape.sector, run.at, run.length,
          [&](std::uint64_t from, std::uint64_t end) { return store.next_data(from, end); },
          [&](std::uint64_t done, std::span<std::byte> into) {
            image->read(run.at + done, into);
            return Status{Ok{}};
          }));
    } else if (run.kind == verify::Run::Kind::parent) {
      const std::uint64_t first = at / shape.sector;
      const std::uint64_t count = run.length / shape.sector;
      const std::uint64_t there = shape.parent_sectors();
      const std::uint64_t from_parent = first < there ? std::min(count, there - first) : 0;
      out.contents.add(from_parent, kParentId);
      out.contents.add(count - from_parent, kZeroId);
    } else {
      out.contents.add(run.length / shape.sector, kZeroId);
    }
    at += run.length;
  }
  return out;
}

}  // namespace openvhd::test
