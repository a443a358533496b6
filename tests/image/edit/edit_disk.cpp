#include "image/edit/edit_disk.hpp"

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "base/checked.hpp"
#include "base/crc32c.hpp"
#include "support/bytes.hpp"
#include "vhd/vhd.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kPieceBytes = 64 * kKiB;

[[noreturn]] void give_up(const std::string& what) {
  std::cerr << "edit_disk: " << what << '\n';
  std::abort();
}

void must(const Status& status, const char* what) {
  if (!status) give_up(std::string{what} + ": " + describe(status.error(), "disk"));
}

std::unique_ptr<File> file_on(const std::shared_ptr<MemoryStore>& store, bool writable) {
  return std::make_unique<MemoryFile>(store, MemoryFile::Options{.writable = writable});
}

Status create_file(File& file, const EditShape& shape, DiskType type, const Guid& parent,
                   Host& host) {
  const Geometry geometry{.virtual_size = shape.virtual_size,
                          .logical_sector_size = shape.sector,
                          .physical_sector_size = shape.format == Format::vhd ? 512u : 4096u,
                          .block_size = shape.block_size};
  const bool child = type == DiskType::differencing;
  if (shape.format == Format::vhdx) {
    return vhdx::create(file,
                        {.type = type,
                         .geometry = geometry,
                         .log_bytes = kMiB,
                         .parent_linkage = parent,
                         .parent_relative = child ? ".\\parent.vhdx" : ""},
                        host);
  }
  return vhd::create(file,
                     {.type = type,
                      .geometry = geometry,
                      .parent_id = parent,
                      .parent_name = child ? "parent.vhd" : "",
                      .parent_relative = child ? ".\\parent.vhd" : ""},
                     host);
}

}  // namespace

EditDisk::EditDisk(const EditShape& shape, std::uint64_t seed) : shape_{shape}, host_{seed} {
  Guid parent;
  if (shape.type == DiskType::differencing) {
    stores_.push_back(std::make_shared<MemoryStore>());
    stores_.front()->identity.inode = 2;
    const auto file = file_on(stores_.front(), true);
    must(create_file(*file, shape, DiskType::dynamic, {}, host_), "create the parent");
    write(0, pattern(kMiB, 77));
    write(shape.virtual_size - kMiB, pattern(kMiB, 78));
    const auto image = open_layer(shape.format, file_on(stores_.front(), false), {}, host_);
    if (!image) give_up("the parent does not open");
    parent = image->layer->link_identity();
  }
  stores_.insert(stores_.begin(), std::make_shared<MemoryStore>());
  const auto file = file_on(stores_.front(), true);
  must(create_file(*file, shape, shape.type, parent, host_), "create");
}

std::unique_ptr<detail::DiskState> EditDisk::open(const std::shared_ptr<MemoryStore>& leaf,
                                                  bool writable, std::string* why) {
  OpenedChain chain;
  chain.format = shape_.format;
  for (std::size_t i = 0; i < stores_.size(); ++i) {
    const bool is_leaf = i == 0;
    auto image =
        open_layer(shape_.format, file_on(is_leaf ? leaf : stores_[i], is_leaf && writable),
                   {.writable = is_leaf && writable}, host_);
    if (!image) {
      const std::string text = describe(image.error(), "layer " + std::to_string(i));
      if (why == nullptr) give_up(text);
      *why = text;
      return nullptr;
    }
    chain.images.push_back(*std::move(image));
    chain.paths.push_back("layer " + std::to_string(i));
  }
  return std::make_unique<detail::DiskState>(
      std::move(chain), writable ? Access::read_write : Access::read_only, DriverKind::blocking);
}

std::uint64_t EditDisk::size() { return open(leaf(), false)->geometry().virtual_size; }

void EditDisk::write(std::uint64_t at, const std::vector<std::byte>& bytes) {
  const auto disk = open(leaf(), true);
  must(disk->write({at}, bytes), "write");
  must(disk->close(), "close");
}

void EditDisk::clear(std::uint64_t at, std::uint64_t length, ClearKind kind) {
  const auto disk = open(leaf(), true);
  must(disk->clear({at}, length, kind), "clear");
  must(disk->close(), "close");
}

void EditDisk::scribble(std::mt19937_64& random, unsigned operations) {
  const auto disk = open(leaf(), true);
  const std::uint64_t size = disk->geometry().virtual_size;
  const std::uint64_t sector = shape_.sector;
  for (unsigned i = 0; i < operations; ++i) {
    const std::uint64_t most = random() % 4 == 0 ? 2 * kMiB : 64 * kKiB;
    const std::uint64_t length =
        std::min(size, std::max(sector, align_down(random() % most, sector)));
    std::uint64_t at = align_down(random() % (size - length + 1), sector);
    if (random() % 8 == 0) at = size - length;
    const std::uint64_t what = random() % 10;
    if (what < 7) {
      must(disk->write({at}, pattern(length, random())), "write");
      continue;
    }
    const std::uint64_t block = std::max<std::uint64_t>(shape_.block_size, kMiB);
    const std::uint64_t first = align_down(at, block);
    must(disk->clear({first}, std::min(2 * block, size - first),
                     what == 7 ? ClearKind::zero : ClearKind::trim),
         "clear");
  }
  must(disk->close(), "close");
}

Contents EditDisk::contents(const std::shared_ptr<MemoryStore>& leaf) {
  const auto disk = open(leaf, false);
  Contents out{.size = disk->geometry().virtual_size};
  std::vector<std::byte> buffer(kPieceBytes);
  for (std::uint64_t at = 0; at < out.size;) {
    const auto entry = disk->map({at}, out.size - at);
    if (!entry) give_up("map: " + describe(entry.error(), "disk"));
    if (entry->kind != MapEntry::Kind::data) {
      // The piece that an entry begins in the middle of has been looked at.
      at = std::max(at + 1, at + entry->length);
      continue;
    }
    const std::uint64_t end = std::min(out.size, at + entry->length);
    for (std::uint64_t piece = align_down(at, kPieceBytes); piece < end; piece += kPieceBytes) {
      if (out.pieces.contains(piece)) continue;
      const std::size_t length = std::min(kPieceBytes, out.size - piece);
      std::ranges::fill(buffer, std::byte{0});
      must(disk->read({piece}, std::span{buffer}.first(length)), "read");
      const bool zeros = std::ranges::all_of(buffer, [](std::byte b) { return b == std::byte{0}; });
      if (!zeros) out.pieces.emplace(piece, crc32c(buffer));
    }
    at = end;
  }
  return out;
}

std::string findings_of(const std::shared_ptr<MemoryStore>& store, Format format, Severity least) {
  MemoryFile file{store, {.writable = false}};
  std::vector<Finding> findings;
  const Status checked = format == Format::vhdx ? vhdx::check(file, findings, 100, nullptr)
                                                : vhd::check(file, false, findings, 100, nullptr);
  std::string out;
  if (!checked) out = describe(checked.error(), "check") + '\n';
  for (const Finding& finding : findings) {
    if (finding.severity >= least && !finding.repairable)
      out += std::string{finding.id} + ": " + finding.text + '\n';
  }
  return out;
}

namespace {

/// What repair makes of it is the same disk.
std::string mended(EditDisk& disk, const std::shared_ptr<MemoryStore>& store, const Contents& is) {
  MemoryFile file{store};
  std::vector<std::string> actions;
  const Status done = disk.shape().format == Format::vhdx ? vhdx::repair(file, disk.host(), actions)
                                                          : vhd::repair(file, disk.host(), actions);
  if (!done) return "repair: " + describe(done.error(), "disk");
  if (disk.contents(store) != is) return "another disk after a repair";
  return {};
}

std::string judge(EditDisk& disk, const std::shared_ptr<MemoryStore>& store,
                  const std::vector<Contents>& allowed) {
  const Format format = disk.shape().format;
  std::string why;
  if (disk.open(store, false, &why) == nullptr) return "does not open: " + why;
  if (auto found = findings_of(store, format, Severity::error); !found.empty()) return found;
  const Contents is = disk.contents(store);
  if (std::ranges::find(allowed, is) == allowed.end()) {
    return "neither old nor new: size " + std::to_string(is.size) + ", " +
           std::to_string(is.pieces.size()) + " pieces";
  }
  const auto writable = disk.open(store, true, &why);
  if (writable == nullptr) return "does not open for writing: " + why;
  must(writable->close(), "close");
  if (disk.contents(store) != is) return "another disk after it was opened for writing";
  if (auto found = findings_of(store, format, Severity::error); !found.empty()) {
    return "after it was opened for writing: " + found;
  }
  return mended(disk, store, is);
}

}  // namespace

std::string crash_everywhere(EditDisk& disk, const std::function<Status(File&)>& change,
                             const std::vector<Contents>& allowed, std::size_t budget) {
  const auto medium = std::make_shared<SimDisk>(*disk.leaf());
  SimFile file{medium};
  if (const Status done = change(file); !done) return describe(done.error(), "change");
  for (const auto& [tick, in_flight] : crash_cuts(*medium, 0)) {
    for (const std::uint64_t unit : {std::uint64_t{4096}, std::uint64_t{512}}) {
      const CrashPoint point{*medium, tick, {.unit = unit, .in_flight = in_flight}};
      for (const auto& keep : choose_survivors(point.optional_atoms(), budget, tick)) {
        if (auto wrong = judge(disk, point.state(keep), allowed); !wrong.empty()) {
          return "cut before command " + std::to_string(tick) + ": " + wrong;
        }
      }
    }
  }
  return {};
}

std::string fail_everywhere(EditDisk& disk, const std::function<Status(File&)>& change,
                            const std::vector<Contents>& allowed, int error) {
  for (std::uint64_t nth = 0;; ++nth) {
    const auto medium = std::make_shared<SimDisk>(*disk.leaf());
    medium->fail({.nth = nth, .error = error});
    SimFile file{medium};
    const Status done = change(file);
    const bool reached =
        medium->ops().empty() ||
        std::ranges::any_of(medium->ops(), [](const SimDisk::Op& op) { return op.result < 0; });
    medium->clear_faults();
    const auto left = std::make_shared<MemoryStore>(medium->now());
    if (auto wrong = judge(disk, left, allowed); !wrong.empty()) {
      return "command " + std::to_string(nth) + " failed: " + wrong;
    }
    if (done && !reached) return {};
    if (nth > 5000) return "never ends";
  }
}

}  // namespace openvhd::test
