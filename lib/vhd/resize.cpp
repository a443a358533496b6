#include "vhd/resize.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/try.hpp"
#include "vhd/create.hpp"
#include "vhd/owned_space.hpp"

namespace openvhd::vhd {
namespace {

constexpr const char* kFooter = "footer: write";
constexpr const char* kCopy = "footer copy: write";
constexpr std::size_t kFillBytes = kMiB;

class Planner {
 public:
  Planner(File& file, ParsedImage image, OwnedSpace owned, std::uint64_t virtual_bytes)
      : file_{file},
        image_{std::move(image)},
        owned_{std::move(owned)},
        blocks_{narrow<std::uint32_t>(div_ceil(virtual_bytes, image_.block_size))},
        fresh_{footer_for_size(image_.footer, virtual_bytes)},
        bytes_{virtual_bytes},
        end_{align_up(image_.data_limit(), std::uint64_t{kSectorBytes})} {}

  Result<ResizePlan> plan() {
    // From here on one footer may be lost at any time.
    if (!image_.copy_is_current && image_.footer_at_end) put_copy(image_.footer);
    if (bytes_ > image_.virtual_size) {
      grow();
    } else {
      OVHD_CHECK(shrink());
    }
    return ResizePlan{.steps = std::move(steps_),
                      .file_bytes = image_.file_size,
                      .table_moved = table_at_ != image_.table_at};
  }

 private:
  std::uint64_t table_bytes(std::uint64_t entries) const {
    return align_up(entries * kEntryBytes, kSectorBytes);
  }

  void put_copy(const Footer& footer) {
    steps_.push_back(durable_step({}, bytes_of_footer(footer), kCopy));
  }

  /// The disk has its new size once the footer at the end says so.
  void commit() {
    steps_.push_back(durable_step({end_}, bytes_of_footer(fresh_), kFooter));
    steps_.back().commits = true;
    put_copy(fresh_);
  }

  void grow() {
    const std::uint64_t bytes = table_bytes(blocks_);
    const bool move = bytes > image_.table_bytes && !room_behind_table(bytes);
    std::uint64_t end = std::max(owned_.end, last_block_end());
    if (move) {
      table_at_ = {end};
      end += bytes;
    }
    if (move || end > end_ || !image_.footer_at_end) move_footer(std::max(end, end_));
    if (move) copy_table();
    // Entries that the old size did not use may hold anything.
    fill_ones(table_at_ + std::uint64_t{image_.blocks} * kEntryBytes,
              table_at_ + std::max(bytes, move ? 0 : image_.table_bytes));
    clear_last_block();
    steps_.push_back(sync_step("sync of the image"));
    if (move || blocks_ > image_.table_entries) {
      put_header(std::max(blocks_, image_.table_entries));
    }
    commit();
  }

  /// Whether the table may become that long where it is.
  bool room_behind_table(std::uint64_t bytes) const {
    if (image_.has_batmap) return false;
    const std::uint64_t from = image_.table_at.value + image_.table_bytes;
    const std::uint64_t more = bytes - image_.table_bytes;
    if (!range_fits(from, more, end_)) return false;
    const auto taken = [&](FileOffset at, std::uint64_t length) {
      return ranges_overlap(from, more, at.value, length);
    };
    return std::ranges::none_of(
               owned_.blocks, [&](const OwnedBlock& b) { return taken(b.at, image_.stride()); }) &&
           std::ranges::none_of(owned_.structures, [&](const FileRange& s) {
             return s.at != image_.table_at && taken(s.at, s.length);
           });
  }

  const OwnedBlock* last_block() const {
    const bool there = !owned_.blocks.empty() && owned_.blocks.back().block + 1 == image_.blocks;
    return there ? &owned_.blocks.back() : nullptr;
  }

  /// Old writers left out what of it lies behind the end of the disk.
  std::uint64_t last_block_end() const {
    const OwnedBlock* last = last_block();
    return last == nullptr ? 0 : align_up(last->at.value + image_.stride(), kSectorBytes);
  }

  /// The footer as it is, at a new end of the file.
  void move_footer(std::uint64_t to) {
    const std::uint64_t file_end = to + kFooterBytes;
    if (file_end > image_.file_size) {
      steps_.push_back(range_step(IoCommand::Kind::reserve, {image_.file_size},
                                  file_end - image_.file_size, "space at the end of the file"));
    }
    end_ = to;
    steps_.push_back(durable_step({end_}, bytes_of_footer(image_.footer), kFooter));
    // What follows may be written over the old one.
    steps_.back().past_return = true;
  }

  void copy_table() {
    steps_.push_back(copy_step(image_.table_at, table_at_,
                               std::uint64_t{image_.blocks} * kEntryBytes,
                               "block allocation table: write"));
  }

  void fill_ones(FileOffset at, FileOffset end) {
    while (at < end) {
      const std::size_t part = std::min<std::uint64_t>(kFillBytes, end - at);
      steps_.push_back(write_step(at, std::vector<std::byte>(part, std::byte{0xff}),
                                  "block allocation table: new entries"));
      at = at + part;
    }
  }

  void clear_last_block() {
    const std::uint64_t inside = image_.virtual_size % image_.block_size;
    const OwnedBlock* last = last_block();
    if (inside == 0 || last == nullptr) return;
    steps_.push_back(range_step(IoCommand::Kind::zero, last->at + image_.bitmap_length + inside,
                                image_.block_size - inside,
                                "zeros behind the end of the old disk"));
  }

  /// What changes lies in its first sector: a table, and its length, or the other.
  void put_header(std::uint32_t entries) {
    DynamicHeader header = image_.header;
    header.table_offset = Be64{table_at_.value};
    header.max_table_entries = Be32{entries};
    seal(header);
    std::vector<std::byte> bytes(kHeaderBytes);
    store(std::span{bytes}, header);
    bytes.resize(kSectorBytes);
    steps_.push_back(durable_step(image_.header_at, std::move(bytes), "dynamic header: write"));
  }

  Status shrink() {
    if (!image_.footer_at_end) move_footer(end_);
    commit();
    steps_.push_back(sync_step("sync of the image"));
    fill_ones(image_.table_at + std::uint64_t{blocks_} * kEntryBytes,
              image_.table_at + std::uint64_t{image_.blocks} * kEntryBytes);
    OVHD_CHECK(clear_bits_behind());
    steps_.push_back(sync_step("sync of the image"));
    // A batmap is found by the length of the table.
    if (!image_.has_batmap || table_bytes(blocks_) == image_.table_bytes) put_header(blocks_);
    cut_file();
    return Ok{};
  }

  /// In a child no bit of a sector behind the end is set (V05).
  Status clear_bits_behind() {
    const std::uint64_t first = bytes_ % image_.block_size / kSectorBytes;
    if (image_.type != DiskType::differencing || first == 0) return Ok{};
    const auto last = std::ranges::find(owned_.blocks, blocks_ - 1, &OwnedBlock::block);
    if (last == owned_.blocks.end()) return Ok{};
    std::vector<std::byte> bits(image_.bitmap_length);
    OVHD_CHECK(file_.read_exact(last->at, bits, "sector bitmap: read (V05)"));
    const auto kept = static_cast<unsigned>(first % 8);
    const unsigned mask = image_.lsb_first ? (1u << kept) - 1 : 0xff00u >> kept & 0xff;
    bits[first / 8] &= static_cast<std::byte>(mask);
    std::fill(bits.begin() + static_cast<std::ptrdiff_t>(first / 8 + 1), bits.end(), std::byte{0});
    steps_.push_back(write_step(last->at, std::move(bits), "sector bitmap: write"));
    return Ok{};
  }

  /// The footer goes where the last block ends that is left, and the file ends there.
  void cut_file() {
    std::uint64_t end = 0;
    for (const FileRange& range : owned_.structures) {
      end = std::max(end, range.at.value + range.length);
    }
    for (const OwnedBlock& block : owned_.blocks) {
      if (block.block >= blocks_) continue;
      end = std::max(end, block.at.value + image_.stride());
      if (block.block + 1 == blocks_) clear_behind(block);
    }
    end = align_up(end, kSectorBytes);
    // Less than a footer apart, one would be written over the other.
    if (end + kFooterBytes > end_) return;
    steps_.push_back(durable_step({end}, bytes_of_footer(fresh_), kFooter));
    steps_.push_back(optionally(size_step(end + kFooterBytes, "file size of a smaller disk")));
    steps_.push_back(sync_step("sync of the image"));
  }

  void clear_behind(const OwnedBlock& block) {
    const std::uint64_t inside = bytes_ % image_.block_size;
    if (inside == 0) return;
    const FileOffset at = block.at + image_.bitmap_length + inside;
    const std::uint64_t end = std::min(block.at.value + image_.stride(), end_);
    if (at.value >= end) return;
    steps_.push_back(optionally(
        range_step(IoCommand::Kind::zero, at, end - at.value, "zeros behind the end of the disk")));
  }

  File& file_;
  ParsedImage image_;
  OwnedSpace owned_;
  std::uint32_t blocks_;  // of the new size
  Footer fresh_;
  std::uint64_t bytes_;
  std::uint64_t end_;  // where the footer at the end is, as steps are added
  FileOffset table_at_ = image_.table_at;
  std::vector<FileStep> steps_;
};

Status check_size(std::uint64_t virtual_bytes) {
  const char* what = nullptr;
  if (virtual_bytes == 0) what = "size: 0 (V01)";
  if (virtual_bytes > kMaxVirtualSize)
    what = "size: over 2040 GiB, the most that a VHD holds (V01)";
  if (!is_multiple(virtual_bytes, kSectorBytes)) what = "size: no multiple of 512 (V01)";
  if (what == nullptr) return Ok{};
  return Error{.code = Errc::invalid, .what = what};
}

}  // namespace

Footer footer_for_size(Footer footer, std::uint64_t virtual_bytes) {
  const Chs chs = chs_for(virtual_bytes);
  footer.current_size = Be64{virtual_bytes};
  footer.cylinders = Be16{chs.cylinders};
  footer.heads = chs.heads;
  footer.sectors_per_track = chs.sectors_per_track;
  if (virtual_size_of(footer) != virtual_bytes) {
    footer.creator_application = kCreator;
    footer.creator_version = Be32{kCreatorVersion};
  }
  seal(footer);
  return footer;
}

std::vector<std::byte> bytes_of_footer(const Footer& footer) {
  std::vector<std::byte> out(kFooterBytes);
  store(std::span{out}, footer);
  return out;
}

Result<ResizePlan> plan_resize(File& file, std::uint64_t virtual_bytes) {
  ParsedImage image;
  OVHD_CHECK(parse(file, image));
  OVHD_CHECK(may_write(file, image));
  OVHD_CHECK(check_size(virtual_bytes));
  if (virtual_bytes == image.virtual_size) return ResizePlan{.file_bytes = image.file_size};
  if (image.type == DiskType::fixed) return plan_fixed_resize(file, image, virtual_bytes);
  if (div_ceil(virtual_bytes, image.block_size) > kMaxBlocks) {
    return Error{.code = Errc::invalid, .what = "size: more than 2^22 blocks (V03)"};
  }
  OVHD_TRY(OwnedSpace owned, read_owned_space(file, image));
  return Planner{file, std::move(image), std::move(owned), virtual_bytes}.plan();
}

}  // namespace openvhd::vhd
