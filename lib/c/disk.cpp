#include "c/disk.hpp"

#include <cerrno>
#include <memory>

#include "c/failure.hpp"
#include "c/options.hpp"

namespace openvhd::c {
namespace {

int answer(ovhd_disk* handle, const Status& status) noexcept {
  if (status) return 0;
  return guarded([&] {
    const auto& files = handle->files;
    const std::size_t layer = status.error().layer;
    return fail(status.error(), files[layer < files.size() ? layer : 0]);
  });
}

bool flags_known(std::uint32_t flags) noexcept {
  return (flags & ~std::uint32_t{OVHD_DURABLE}) == 0;
}

void put(const std::optional<Guid>& guid, std::span<char> into) {
  if (!guid) return;
  const std::string text = to_string(*guid);
  std::memcpy(into.data(), text.c_str(), std::min(into.size(), text.size() + 1));
}

ovhd_layer layer_of(const LayerInfo& info) {
  ovhd_layer out{};
  out.virtual_size = info.geometry.virtual_size;
  out.block_size = info.geometry.block_size;
  out.file_size = info.file_size;
  out.allocated_bytes = info.allocated_bytes;
  out.replayed_entries = info.replayed_entries;
  out.format = format_of(info.format);
  out.type = type_of(info.type);
  out.log = info.log == LogState::none    ? OVHD_LOG_NONE
            : info.log == LogState::clean ? OVHD_LOG_CLEAN
                                          : OVHD_LOG_DIRTY;
  out.logical_sector_size = info.geometry.logical_sector_size;
  out.physical_sector_size = info.geometry.physical_sector_size;
  put(info.identifier, out.identifier);
  put(info.data_write_guid, out.data_write_guid);
  put(info.parent_linkage, out.parent_linkage);
  return out;
}

int open_disk(const char* path, const ovhd_open_options* options, ovhd_disk** disk) {
  ovhd_open_options given;
  if (!take(options, given, default_open_options()))
    return fail_argument("ovhd_open_options: struct_size, or members of a later version");
  OpenReport report;
  OpenOptions wanted;
  wanted.report = &report;
  if (const int wrong = open_from(given, wanted); wrong != 0) return wrong;
  auto opened = ParallelDisk::open(path, wanted);
  if (!opened) return fail(opened.error(), report, path);
  auto files = opened->files();
  *disk = std::make_unique<ovhd_disk>(ovhd_disk{*std::move(opened), std::move(files)}).release();
  return 0;
}

int extent_of(ovhd_disk* handle, std::uint64_t offset, std::uint64_t length, ovhd_extent* extent) {
  const auto entry = handle->disk.map({offset}, length);
  if (!entry) return answer(handle, entry.error());
  extent->offset = entry->at.value;
  extent->length = entry->length;
  extent->host_offset = entry->host_offset.value;
  extent->layer = entry->layer;
  switch (entry->kind) {
    case MapEntry::Kind::data:
      extent->kind = OVHD_EXTENT_DATA;
      break;
    case MapEntry::Kind::zero:
      extent->kind = OVHD_EXTENT_ZERO;
      break;
    case MapEntry::Kind::hole:
      extent->kind = OVHD_EXTENT_HOLE;
      break;
  }
  return 0;
}

}  // namespace
}  // namespace openvhd::c

namespace c = openvhd::c;

extern "C" {

void ovhd_open_options_init(ovhd_open_options* options, size_t struct_size) {
  c::init(options, struct_size, c::default_open_options());
}

int ovhd_open(const char* path, const ovhd_open_options* options, ovhd_disk** disk) {
  if (disk == nullptr) return c::fail_argument("ovhd_open: nowhere to put the handle");
  *disk = nullptr;
  if (path == nullptr) return c::fail_argument("ovhd_open: no path");
  return c::guarded([&] { return c::open_disk(path, options, disk); });
}

int ovhd_close(ovhd_disk* disk) {
  if (disk == nullptr) return 0;
  const auto status = disk->disk.close();
  const int result = c::answer(disk, status);
  if (!status && status.error().code == openvhd::Errc::busy) return result;
  std::unique_ptr<ovhd_disk>{disk}.reset();
  return result;
}

int ovhd_get_geometry(const ovhd_disk* disk, ovhd_geometry* geometry) {
  const auto shape = disk->disk.geometry();
  ovhd_geometry out{};
  out.virtual_size = shape.virtual_size;
  out.block_size = shape.block_size;
  out.logical_sector_size = shape.logical_sector_size;
  out.physical_sector_size = shape.physical_sector_size;
  out.format = c::format_of(disk->disk.format());
  out.type = c::type_of(disk->disk.type());
  out.writable = disk->disk.writable() ? 1 : 0;
  out.layers = static_cast<uint32_t>(disk->files.size());
  return c::give(out, geometry) ? 0 : c::fail_argument("ovhd_geometry: struct_size");
}

uint64_t ovhd_size(const ovhd_disk* disk) { return disk->disk.geometry().virtual_size; }

const char* ovhd_layer_path(const ovhd_disk* disk, uint32_t layer) {
  const auto& files = disk->files;
  return layer < files.size() ? files[layer].c_str() : nullptr;
}

int ovhd_get_layer(ovhd_disk* disk, uint32_t layer, ovhd_layer* info) {
  return c::guarded([&] {
    const auto all = disk->disk.info(false);
    if (!all) return c::answer(disk, all.error());
    if (layer >= all->layers.size())
      return c::answer(disk, openvhd::Error{.code = openvhd::Errc::out_of_range,
                                            .what = "no such layer in the chain"});
    return c::give(c::layer_of(all->layers[layer]), info)
               ? 0
               : c::fail_argument("ovhd_layer: struct_size");
  });
}

int ovhd_read(ovhd_disk* disk, void* into, size_t length, uint64_t offset) {
  return c::answer(disk, disk->disk.read({offset}, {static_cast<std::byte*>(into), length}));
}

int ovhd_write(ovhd_disk* disk, const void* from, size_t length, uint64_t offset, uint32_t flags) {
  if (!c::flags_known(flags)) return c::fail_argument("ovhd_write: unknown flags");
  const std::span bytes{static_cast<const std::byte*>(from), length};
  return c::answer(disk, disk->disk.write({offset}, bytes, flags != 0));
}

int ovhd_zero(ovhd_disk* disk, uint64_t offset, uint64_t length, uint32_t flags) {
  if (!c::flags_known(flags)) return c::fail_argument("ovhd_zero: unknown flags");
  return c::answer(disk, disk->disk.zero({offset}, length, flags != 0));
}

int ovhd_trim(ovhd_disk* disk, uint64_t offset, uint64_t length, uint32_t flags) {
  if (!c::flags_known(flags)) return c::fail_argument("ovhd_trim: unknown flags");
  return c::answer(disk, disk->disk.trim({offset}, length, flags != 0));
}

int ovhd_flush(ovhd_disk* disk) { return c::answer(disk, disk->disk.flush()); }

int ovhd_map(ovhd_disk* disk, uint64_t offset, uint64_t length, ovhd_extent* extent) {
  return c::extent_of(disk, offset, length, extent);
}

}  // extern "C"
