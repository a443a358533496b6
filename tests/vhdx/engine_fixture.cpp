#include "vhdx/engine_fixture.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "support/bytes.hpp"
#include "vhdx/bat_math.hpp"
#include "vhdx/image_builder.hpp"
#include "vhdx/load.hpp"

namespace openvhd::test {
namespace {

// No two opens may draw the same GUIDs: a log would take an older one's entries for its own.
std::uint64_t next_seed() {
  static std::uint64_t seed = 1;
  return seed += 2;  // even ones give what the odd ones behind them do
}

class Bracket {
 public:
  explicit Bracket(Layer& layer) : layer_{layer} { layer_.enter(ticket_); }
  ~Bracket() { layer_.leave(ticket_); }

 private:
  Layer& layer_;
  OperationTicket ticket_{};
};

}  // namespace

std::uint64_t bat_offset(const EngineShape& shape) { return kMegabyte * 2 + shape.log_bytes; }

std::shared_ptr<MemoryStore> make_image(const EngineShape& shape) {
  Image image;
  image.bat.clear();
  const auto counts =
      vhdx::bat_counts(shape.virtual_size, shape.sector_size, shape.block_size, shape.has_parent);
  const std::uint64_t bat_bytes = align_up(counts.entries * 8, kMegabyte);
  for (BuiltHeader& header : image.headers) header.log_length = shape.log_bytes;
  image.metadata_at = kMegabyte + shape.log_bytes;
  image.bat_at = bat_offset(shape);
  image.file_bytes = image.bat_at + bat_bytes;
  for (unsigned copy = 0; copy < 2; ++copy) {
    image.region(kMetadataGuid, copy).at = image.metadata_at;
    image.region(kBatGuid, copy).at = image.bat_at;
    image.region(kBatGuid, copy).length = static_cast<std::uint32_t>(bat_bytes);
  }
  if (shape.has_parent) {
    image.add_parent({{"parent_linkage", "{83ed0ec3-24c8-49a6-a959-5e4bd1288791}"},
                      {"relative_path", ".\\parent.vhdx"}});
  }
  const std::uint64_t flags = (shape.fixed ? 1 : 0) | (shape.has_parent ? 2 : 0);
  image.set_item(kParametersGuid, 8, shape.block_size | flags << 32);
  image.set_item(kSizeGuid, 8, shape.virtual_size);
  image.set_item(kLogicalGuid, 4, shape.sector_size);
  return image.build();
}

std::uint64_t stored_entry(const std::shared_ptr<MemoryStore>& store, const EngineShape& shape,
                           std::uint64_t index) {
  MemoryFile file{store};
  return load<Le64>(read_at(file, bat_offset(shape) + 8 * index, 8));
}

void store_entry(const std::shared_ptr<MemoryStore>& store, const EngineShape& shape,
                 std::uint64_t index, std::uint64_t entry) {
  MemoryFile file{store};
  const Le64 raw{entry};
  patch(file, bat_offset(shape) + 8 * index, std::as_bytes(std::span{&raw, 1}));
}

std::string failure_of(const Status& status) {
  return status ? std::string{} : describe(status.error(), "image");
}

OpenEngine::OpenEngine(const std::shared_ptr<MemoryStore>& store, const EngineShape& shape,
                       bool writable, const Wrap& wrap)
    : shape_{shape}, host_{next_seed()} {
  std::unique_ptr<File> file;
  if (store) file = std::make_unique<MemoryFile>(store, MemoryFile::Options{.writable = writable});
  if (wrap) file = wrap(std::move(file));
  auto loaded = vhdx::load_image(std::move(file), writable, host_);
  if (!loaded) {
    std::fprintf(stderr, "open: %s\n", describe(loaded.error(), "image").c_str());
    std::abort();
  }
  file_ = std::move(loaded->file);
  auto layer = vhdx::make_engine(
      std::move(loaded->image), *file_,
      {.writable = writable, .table_cache_bytes = shape.table_cache_bytes}, host_);
  if (!layer) std::abort();
  layer_ = *std::move(layer);
}

std::byte OpenEngine::parent_byte(std::uint64_t at) {
  return static_cast<std::byte>((at / 512 * 131 + at % 512) % 251 + 1);
}

Result<Extent> OpenEngine::locate(std::uint64_t at, std::uint64_t length) {
  return settle<Extent>([&] { return layer_->locate({at}, length); });
}

Result<Extent> OpenEngine::place(std::uint64_t at, std::uint64_t length) {
  return settle<Extent>([&] { return layer_->place({at}, length); });
}

Status OpenEngine::write(std::uint64_t at, std::span<const std::byte> from) {
  Bracket bracket{*layer_};
  while (!from.empty()) {
    const auto extent = place(at, from.size());
    if (!extent) return extent.error();
    if (extent->kind != Extent::Kind::data || extent->length > from.size()) std::abort();
    if (auto put = file_->write_all(extent->at, from.first(extent->length)); !put) return put;
    layer_->wrote({at}, *extent);
    from = from.subspan(extent->length);
    at += extent->length;
  }
  return Ok{};
}

Status OpenEngine::read(std::uint64_t at, std::span<std::byte> into) {
  Bracket bracket{*layer_};
  while (!into.empty()) {
    const auto extent = locate(at, into.size());
    if (!extent) return extent.error();
    if (extent->length == 0 || extent->length > into.size()) std::abort();
    const auto part = into.first(extent->length);
    if (extent->kind == Extent::Kind::data) {
      if (auto got = file_->read_exact(extent->at, part, "payload"); !got) return got;
    } else {
      const bool parent = extent->kind == Extent::Kind::absent && shape_.has_parent;
      for (std::size_t i = 0; i < part.size(); ++i) {
        part[i] = parent ? parent_byte(at + i) : std::byte{0};
      }
    }
    into = into.subspan(extent->length);
    at += extent->length;
  }
  return Ok{};
}

Status OpenEngine::clear(std::uint64_t at, std::uint64_t length, ClearKind kind) {
  Bracket bracket{*layer_};
  while (length != 0) {
    const auto cleared = settle<Cleared>([&] { return layer_->clear({at}, length, kind); });
    if (!cleared) return cleared.error();
    if (cleared->length == 0 || cleared->length > length) std::abort();
    if (cleared->host) {
      const std::int32_t done = file_->execute(
          {.kind = cleared->host->kind, .at = cleared->host->at, .length = cleared->length});
      if (done < 0) return host_error(done, cleared->host->at, "zeroing");
      layer_->wrote({at}, {Extent::Kind::data, cleared->host->at, cleared->length});
    }
    at += cleared->length;
    length -= cleared->length;
  }
  return Ok{};
}

Status OpenEngine::flush() {
  FlushTicket ticket{};
  return settle<Ok>([&] { return layer_->flush(ticket); });
}

Status OpenEngine::close() {
  FlushTicket ticket{};
  return settle<Ok>([&] { return layer_->close(ticket); });
}

}  // namespace openvhd::test
