#include "differential/scenario.hpp"

#include <algorithm>
#include <cstring>

#include "base/checked.hpp"
#include "image/ops/clear_op.hpp"
#include "image/ops/flush_op.hpp"
#include "image/ops/read_op.hpp"
#include "image/ops/write_op.hpp"
#include "support/shuffle_driver.hpp"
#include "vhd/vhd.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kLongest = 3 * kMiB;

std::unique_ptr<File> file_on(const std::shared_ptr<MemoryStore>& store, bool writable) {
  return std::make_unique<MemoryFile>(store, MemoryFile::Options{.writable = writable});
}

Status create_file(File& file, const Shape& shape, DiskType type, const Guid& parent, Host& host) {
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

std::string Shape::name() const {
  return std::string{to_string(format)} + "_" + to_string(type) + "_size" +
         std::to_string(virtual_size) + "_block" + std::to_string(block_size) + "_sector" +
         std::to_string(sector) + "_parents" + std::to_string(parents);
}

Scenario::Scenario(const Shape& shape, std::uint64_t seed)
    : shape_{shape},
      random_{seed},
      host_{seed},
      model_{shape.virtual_size, shape.sector},
      buffer_(kLongest) {
  // Block and chunk boundaries, and both ends of the disk, are where mistakes are.
  const std::uint64_t chunk = (std::uint64_t{1} << 23) * shape.sector;
  const std::uint64_t block = shape.block_size == 0 ? kMiB : shape.block_size;
  centres_ = {0, shape.virtual_size, block, shape.virtual_size / 2};
  if (chunk < shape.virtual_size) centres_.push_back(chunk);
  for (int i = 0; i < 4; ++i) {
    centres_.push_back(align_down(random_() % shape.virtual_size, block));
  }
}

std::string Scenario::failed(const std::string& what, const Error& error) const {
  return "operation " + std::to_string(done_) + ": " + what + ": " +
         describe(error, "layer " + std::to_string(error.layer)) + " (" + to_string(error.code) +
         ")";
}

std::string Scenario::open() {
  OpenedChain chain;
  chain.format = shape_.format;
  for (std::size_t i = 0; i < stores_.size(); ++i) {
    auto image =
        open_layer(shape_.format, file_on(stores_[i], i == 0), {.writable = i == 0}, host_);
    if (!image) return failed("open of layer " + std::to_string(i), image.error());
    chain.images.push_back(*std::move(image));
    chain.paths.push_back("layer " + std::to_string(i));
  }
  for (std::size_t i = 0; i + 1 < chain.images.size(); ++i) {
    const Status link = verify_link(*chain.images[i].layer, *chain.images[i + 1].layer, false);
    if (!link) return failed("link", link.error());
  }
  disk_ = std::make_unique<detail::DiskState>(std::move(chain), Access::read_write,
                                              DriverKind::blocking);
  return {};
}

std::string Scenario::run(std::uint64_t operations) {
  // Bottom up: each level is made, written to, closed, and becomes the parent of the next.
  Guid parent;
  const std::uint64_t levels = shape_.parents + 1;
  for (std::uint64_t level = 0; level < levels; ++level) {
    const DiskType type = level + 1 == levels && levels == 1 ? shape_.type
                          : level == 0                       ? DiskType::dynamic
                                                             : DiskType::differencing;
    stores_.insert(stores_.begin(), std::make_shared<MemoryStore>());
    stores_.front()->identity.inode = level + 1;
    const auto file = file_on(stores_.front(), true);
    if (const Status made = create_file(*file, shape_, type, parent, host_); !made) {
      return failed("create", made.error());
    }
    if (auto wrong = open(); !wrong.empty()) return wrong;
    const std::uint64_t share = operations / levels;
    for (std::uint64_t i = 0; i < share; ++i, ++done_) {
      if (auto wrong = step(); !wrong.empty()) return wrong;
    }
    if (auto wrong = reopen(); !wrong.empty()) return wrong;
    if (auto wrong = read_back(); !wrong.empty()) return wrong;
    parent = disk_->image(0).link_identity();
    disk_->abandon();
  }
  return {};
}

std::string Scenario::step() {
  const std::uint64_t draw = random_() % 1000;
  if (draw < 380) return read_some();
  if (draw < 760) return write_some();
  if (draw < 880) return clear_some();
  if (draw < 960) return flush();
  if (draw < 985) return side_by_side();
  if (draw < 993) return reopen();
  return crash();
}

std::uint64_t Scenario::some_length() {
  const std::uint64_t draw = random_() % 100;
  const std::uint64_t most = draw < 80 ? 8 * kKiB : draw < 99 ? 64 * kKiB : kLongest;
  std::uint64_t length = 1 + random_() % most;
  if (random_() % 3 != 0) length = align_up(length, shape_.sector);
  return std::min({length, shape_.virtual_size, kLongest});
}

std::uint64_t Scenario::some_place(std::uint64_t length) {
  const std::uint64_t centre = centres_[random_() % centres_.size()];
  const std::uint64_t reach = random_() % 2 == 0 ? 64 * kKiB : 4 * kMiB;
  std::uint64_t at = centre + random_() % (2 * reach);
  at = at > reach ? at - reach : 0;
  at = std::min(at, shape_.virtual_size - length);
  if (random_() % 3 != 0) at = align_down(at, shape_.sector);
  return at;
}

std::string Scenario::compare(std::uint64_t at, std::uint64_t length) {
  const auto into = std::span{buffer_}.first(length);
  if (const Status read = disk_->read({at}, into); !read) return failed("read", read.error());
  std::uint64_t differs = 0;
  if (model_.matches(at, into, differs)) return {};
  return "operation " + std::to_string(done_) + ": byte " + std::to_string(differs) +
         " differs in a read of " + std::to_string(length) + " at " + std::to_string(at);
}

std::string Scenario::read_some() {
  const std::uint64_t length = some_length();
  return compare(some_place(length), length);
}

std::string Scenario::write_some() {
  const std::uint64_t length = some_length();
  const std::uint64_t at = some_place(length);
  const auto from = std::span{buffer_}.first(length);
  const auto seed = static_cast<unsigned char>(1 + random_() % 255);
  std::memset(from.data(), seed, from.size());
  for (std::size_t i = 0; i < from.size(); i += 64) from[i] = static_cast<std::byte>(random_());
  if (const Status written = disk_->write({at}, from); !written) {
    return failed("write", written.error());
  }
  model_.write(at, from);
  return {};
}

std::string Scenario::clear_some() {
  std::uint64_t length = some_length();
  std::uint64_t at = some_place(length);
  if (random_() % 2 == 0) {  // whole blocks too: they change state
    const std::uint64_t block = std::min(shape_.block_size, 2 * kMiB);
    if (block != 0 && shape_.virtual_size >= 2 * block) {
      at = align_down(at, block);
      length = std::min(block * (1 + random_() % 2), shape_.virtual_size - at);
    }
  }
  const auto kind = random_() % 2 == 0 ? ClearKind::zero : ClearKind::trim;
  if (const Status done = disk_->clear({at}, length, kind); !done) {
    return failed(kind == ClearKind::zero ? "zero" : "trim", done.error());
  }
  model_.zero(at, length);
  return {};
}

std::string Scenario::flush() {
  if (const Status done = disk_->flush(); !done) return failed("flush", done.error());
  model_.flushed();
  return {};
}

std::string Scenario::reopen() {
  if (const Status done = disk_->close(); !done) return failed("close", done.error());
  model_.flushed();
  disk_.reset();
  return open();
}

std::string Scenario::crash() {
  disk_->abandon();
  disk_.reset();
  if (auto wrong = open(); !wrong.empty()) return wrong;
  const auto sector = std::span{buffer_}.first(shape_.sector);
  for (const auto& [index, versions] : model_.unflushed_sectors()) {
    const Status read = disk_->read({index * shape_.sector}, sector);
    if (!read) return failed("read after a crash", read.error());
    if (!model_.settle(index, versions, sector)) {
      return "operation " + std::to_string(done_) + ": after a crash sector " +
             std::to_string(index) + " holds what it never held (D4)";
    }
  }
  model_.flushed();
  return {};
}

// Several operations at once, completing in any order, on ranges that do not overlap.
std::string Scenario::side_by_side() {
  constexpr std::size_t kMost = 6;
  const std::uint64_t region = random_() % 8 == 0 ? 256 * kKiB : 16 * kKiB;
  const std::uint64_t unit = align_down(region, shape_.sector);
  if (unit * kMost > shape_.virtual_size) return {};
  const std::uint64_t base = align_down(some_place(unit * kMost), shape_.sector);
  std::vector<iovec> buffers(kMost);
  std::vector<std::unique_ptr<Operation>> operations;
  std::vector<Operation*> pointers;
  for (std::size_t i = 0; i < kMost; ++i) {
    const std::uint64_t at = base + i * unit;
    const std::uint64_t length = align_up(1 + random_() % unit, shape_.sector);
    const auto bytes = std::span{buffer_}.subspan(i * unit, length);
    buffers[i] = {bytes.data(), bytes.size()};
    const std::span<const iovec> buffer{&buffers[i], 1};
    switch (random_() % 4) {
      case 0:
        operations.push_back(std::make_unique<ReadOp>(disk_->chain(), VirtualOffset{at}, buffer));
        break;
      case 1:
        operations.push_back(
            std::make_unique<ClearOp>(disk_->chain(), VirtualOffset{at}, length, ClearKind::trim));
        model_.zero(at, length);
        break;
      default:
        std::memset(bytes.data(), static_cast<int>(random_() % 256), bytes.size());
        operations.push_back(std::make_unique<WriteOp>(disk_->chain(), VirtualOffset{at}, buffer));
        model_.write(at, bytes);
    }
  }
  operations.push_back(std::make_unique<FlushOp>(disk_->chain(), FlushOp::Kind::flush));
  for (const auto& operation : operations) pointers.push_back(operation.get());
  ShuffleDriver driver{disk_->files(), random_(), true};
  for (const Status& status : driver.run(pointers)) {
    if (!status) return failed("side by side", status.error());
  }
  operations.clear();
  return compare(base, unit * kMost);
}

std::string Scenario::read_back() {
  for (const std::uint64_t page : model_.touched_pages()) {
    const std::uint64_t at = page * FlatModel::kPage;
    const std::uint64_t length = std::min(FlatModel::kPage, shape_.virtual_size - at);
    if (auto wrong = compare(at, length); !wrong.empty()) return wrong;
  }
  return {};
}

}  // namespace openvhd::test
