// Chains of up to four files with names, links and bytes from the input: whatever they say, no file
// outside their folder is opened, no chain goes round in circles, and what check finds no fault
// with opens.
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <openvhd/check.hpp>
#include <openvhd/disk.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "base/checked.hpp"
#include "fuzz/images.hpp"
#include "support/fixed_host.hpp"
#include "support/temp_dir.hpp"
#include "vhd/vhd.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

constexpr std::size_t kMostFiles = 4;
constexpr const char* kOutside = "outside";

struct Link {
  Guid parent;
  std::string path;
};

/// The name by which a file proposes its parent, mostly a plain one.
std::string proposal(InputReader& input, const std::string& name) {
  switch (input.byte() % 16) {
    case 0:
      return "..\\" + std::string{kOutside};
    case 1:
      return "C:\\disks\\" + name;
    case 2:
      return name + "/../../" + kOutside;
    case 3:
      return ".\\link";
    case 4: {
      std::string out;
      for (const std::byte b : input.bytes(input.byte() % 32)) out += static_cast<char>(b);
      return out;
    }
    case 5:
      return name;
    default:
      return ".\\" + name;
  }
}

Status create(bool is_vhdx, DiskType type, std::uint64_t size, const Link& link, File& file,
              Host& host) {
  const Geometry geometry{.virtual_size = size,
                          .logical_sector_size = 512,
                          .physical_sector_size = 512,
                          .block_size = is_vhdx ? kMiB : 64 * kKiB};
  if (is_vhdx) {
    vhdx::CreateSpec spec{.type = type, .geometry = geometry, .log_bytes = kMiB};
    spec.parent_linkage = link.parent;
    spec.parent_relative = link.path;
    return vhdx::create(file, spec, host);
  }
  vhd::CreateSpec spec{.type = type, .geometry = geometry};
  spec.parent_id = link.parent;
  spec.parent_name = "parent";
  spec.parent_relative = link.path;
  return vhd::create(file, spec, host);
}

void save(const MemoryStore& store, const std::string& path) {
  std::ofstream out{path, std::ios::binary | std::ios::trunc};
  std::vector<char> bytes;
  for (std::uint64_t at = 0; at < store.size;) {
    const FileRange run = store.next_data(at, store.size);
    if (run.length == 0) break;
    bytes.resize(run.length);
    store.read(run.at.value, std::as_writable_bytes(std::span{bytes}));
    out.seekp(static_cast<std::streamoff>(run.at.value));
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    at = run.at.value + run.length;
  }
  out.close();
  std::filesystem::resize_file(path, store.size);
}

/// A folder for the images, in one that holds what they may not reach.
class Folder {
 public:
  Folder() {
    std::filesystem::create_directory(images());
    std::ofstream{outer_ / kOutside} << "secret";
  }
  std::string images() const { return outer_ / "images"; }
  std::string image(std::size_t index) const {
    return images() + "/" + std::string(1, static_cast<char>('a' + index));
  }
  void clear() const {
    for (const auto& entry : std::filesystem::directory_iterator{images()}) {
      std::filesystem::remove(entry.path());
    }
    std::filesystem::create_symlink("../" + std::string{kOutside}, images() + "/link");
  }

 private:
  TempDir outer_;
};

/// The identity by which children name it.
Guid identity_of(const FuzzFormat& format, const MemoryStore& store) {
  FixedHost host;
  auto image = format.open(file_of(store, false), false, host);
  return image ? image->layer->link_identity() : Guid{};
}

/// The files, the base first; each has one that came before, or any, as its parent.
std::size_t make_files(InputReader& input, const Folder& folder) {
  FixedHost host;
  const std::size_t count = 1 + input.byte() % kMostFiles;
  const bool all_vhdx = input.byte() % 2 == 1;
  std::vector<Guid> identities;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t shape = input.byte();
    const bool is_vhdx = all_vhdx != (shape % 16 == 15);
    const FuzzFormat& format = is_vhdx ? fuzz_vhdx() : fuzz_vhd();
    const std::size_t above = (shape & 16) != 0 ? input.byte() % count : (i == 0 ? 0 : i - 1);
    const bool child = i != 0 || (shape & 32) != 0;
    Link link{.parent = host.random_guid(), .path = {}};
    if (above < identities.size() && (shape & 64) == 0) link.parent = identities[above];
    link.path = proposal(input, std::string(1, static_cast<char>('a' + above)));
    MemoryFile file;
    const std::uint64_t size = 2 * kMiB + (shape >> 7) * 512;
    const DiskType type = child ? DiskType::differencing : DiskType::dynamic;
    if (!create(is_vhdx, type, size, link, file, host)) return i;
    MemoryStore& store = *file.store();
    for (unsigned left = input.byte() % 4; left != 0; --left) {
      const auto windows = format.windows(store);
      const std::uint64_t at = windows[input.byte() % windows.size()] + input.word();
      store.write(at, input.bytes(input.byte() % 16));
    }
    format.seal(store);
    identities.push_back(identity_of(format, store));
    save(store, folder.image(i));
  }
  return count;
}

void open_and_check(const std::string& leaf, const std::string& folder) {
  CheckOptions options{.chain = true};
  const auto checked = check(leaf, options);
  OpenReport report;
  OpenOptions open{.report = &report};
  open.driver = DriverKind::blocking;
  auto disk = openvhd::Disk::open(leaf, open);
  demand(report.files.size() <= kMostFiles, "a chain has more files than there are");
  demand(std::ranges::all_of(report.files,
                             [&](const std::string& path) {
                               return path.starts_with(folder + "/") &&
                                      path.find("..") == std::string::npos;
                             }),
         "a file elsewhere was opened");
  if (checked) {
    const bool sound = std::ranges::none_of(
        checked->files, [](const FileCheck& file) { return has_errors(file.findings); });
    demand(disk || !sound, "a chain without errors does not open");
  }
  if (!disk) return;
  std::vector<std::byte> bytes(64 * kKiB);
  std::ignore = disk->read({0}, bytes);
  std::ignore = disk->read({kMiB}, bytes);
}

}  // namespace
}  // namespace openvhd::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace openvhd::test;
  static const Folder folder;
  InputReader input{{data, size}};
  folder.clear();
  const std::size_t count = make_files(input, folder);
  if (count != 0) open_and_check(folder.image(count - 1), folder.images());
  return 0;
}
