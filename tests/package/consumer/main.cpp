// A program of somebody else's: it sees the public headers and the library, nothing more. It
// makes a disk, uses it, and needs every public function to link.
#include <openvhd/openvhd.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <openvhd/check.hpp>
#include <openvhd/checkpoint.hpp>
#include <openvhd/convert.hpp>
#include <openvhd/create.hpp>
#include <openvhd/disk.hpp>
#include <openvhd/dump.hpp>
#include <openvhd/error.hpp>
#include <openvhd/merge.hpp>
#include <openvhd/parallel_disk.hpp>
#include <openvhd/rebase.hpp>
#include <openvhd/types.hpp>
#include <string>
#include <tuple>

namespace {

using openvhd::Disk;
using openvhd::ParallelDisk;

/// Their addresses: the linker must find them all, whether main() calls them or not.
const auto every_function = std::tuple{
    &Disk::open,
    &Disk::geometry,
    &Disk::format,
    &Disk::type,
    &Disk::writable,
    &Disk::files,
    &Disk::read,
    &Disk::write,
    &Disk::zero,
    &Disk::trim,
    &Disk::flush,
    &Disk::close,
    &Disk::map,
    &Disk::info,
    &ParallelDisk::open,
    &ParallelDisk::geometry,
    &ParallelDisk::format,
    &ParallelDisk::type,
    &ParallelDisk::writable,
    &ParallelDisk::files,
    &ParallelDisk::read,
    &ParallelDisk::write,
    &ParallelDisk::zero,
    &ParallelDisk::trim,
    &ParallelDisk::flush,
    &ParallelDisk::map,
    &ParallelDisk::info,
    &ParallelDisk::open_queue,
    &ParallelDisk::close,
    &openvhd::FileCheck::clean,
    &openvhd::CheckReport::clean,
    &openvhd::CheckReport::worst,
    &openvhd::check,
    &openvhd::repair,
    &openvhd::undo_repair,
    &openvhd::replay,
    &openvhd::convert,
    &openvhd::compare,
    &openvhd::create,
    &openvhd::merge,
    &openvhd::resume_merge,
    &openvhd::rebase,
    &openvhd::map_parents,
    &openvhd::list_checkpoints,
    &openvhd::create_checkpoint,
    &openvhd::apply_checkpoint,
    &openvhd::delete_checkpoint,
    &openvhd::rename_checkpoint,
    &openvhd::format_from_name,
    &openvhd::dump,
    &openvhd::parse_guid,
    &openvhd::describe,
    static_cast<const char* (*)(openvhd::Errc) noexcept>(&openvhd::to_string),
    static_cast<const char* (*)(openvhd::Format) noexcept>(&openvhd::to_string),
    static_cast<const char* (*)(openvhd::DiskType) noexcept>(&openvhd::to_string),
    static_cast<std::string (*)(const openvhd::Guid&)>(&openvhd::to_string),
};

int fail(const openvhd::Error& error) {
  std::puts(openvhd::describe(error, "consumer").c_str());
  return 1;
}

int use_a_disk(const std::string& path) {
  openvhd::CreateOptions options;
  options.virtual_size = std::uint64_t{1} << 30;
  options.overwrite = true;
  if (auto made = openvhd::create(path, options); !made) return fail(made.error());
  auto disk = Disk::open(path, {.access = openvhd::Access::read_write});
  if (!disk) return fail(disk.error());
  Disk moved = *std::move(disk);  // its destructor and its moves are public functions, too
  *disk = std::move(moved);
  std::array<std::byte, 512> out{};
  std::array<std::byte, 512> in{};
  out.fill(std::byte{0x77});
  if (auto done = disk->write({4096}, out); !done) return fail(done.error());
  if (auto done = disk->read({4096}, in); !done) return fail(done.error());
  if (auto done = disk->close(); !done) return fail(done.error());
  return in == out ? 0 : 1;
}

}  // namespace

int main() {
  if (std::get<0>(every_function) == nullptr || ovhd_version() == nullptr) return 1;
  for (const char* path : {"consumer.vhdx", "consumer.vhd"}) {
    const int result = use_a_disk(path);
    std::remove(path);
    if (result != 0) {
      std::printf("%s: failed\n", path);
      return result;
    }
  }
  return 0;
}
