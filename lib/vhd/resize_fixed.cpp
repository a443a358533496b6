#include <algorithm>

#include "base/try.hpp"
#include "vhd/create.hpp"
#include "vhd/resize.hpp"

namespace openvhd::vhd {
namespace {

constexpr const char* kFooter = "footer: write";

/// Where everything is in the file of a fixed disk.
struct Places {
  std::uint64_t size = 0;    // of the disk
  std::uint64_t footer = 0;  // where the footer that ends the file is
};

/// Bytes behind a footer that does not end the file are somebody's, unless they are what a larger
/// file was made of before power was lost.
Result<bool> only_zeros_behind(File& file, const ParsedImage& image) {
  FileOffset at = image.footer_at + kFooterBytes;
  const FileOffset end{image.file_size};
  std::vector<std::byte> buffer(kMiB);
  while (at < end) {
    OVHD_TRY(const FileRange run, file.next_data(at, end));
    if (run.length == 0) break;
    const auto piece =
        std::span{buffer}.first(std::min<std::uint64_t>({buffer.size(), run.length, end - run.at}));
    OVHD_CHECK(file.read_exact(run.at, piece, "fixed disk: read behind the footer (V01)"));
    if (std::ranges::any_of(piece, [](std::byte b) { return b != std::byte{0}; })) return false;
    at = run.at + piece.size();
  }
  return true;
}

void zero(std::vector<FileStep>& steps, std::uint64_t at, std::uint64_t end) {
  if (at >= end) return;
  steps.push_back(range_step(IoCommand::Kind::zero, {at}, end - at, "zeros behind the old end"));
  // A footer may have stood there.
  steps.back().past_return = true;
  steps.push_back(sync_step("sync of the image"));
}

void commit(std::vector<FileStep>& steps, std::uint64_t at, const Footer& footer) {
  steps.push_back(durable_step({at}, bytes_of_footer(footer), kFooter));
  steps.back().commits = true;
}

/// A footer that says the old size is made the last sector of the longer file before the first one
/// becomes data: a disk with something between its data and its footer.
void grow_file(const Places& is, std::uint64_t size, const Footer& old, const Footer& fresh,
               std::vector<FileStep>& steps) {
  steps.push_back(durable_step({size}, bytes_of_footer(old), kFooter));
  const std::uint64_t from = is.footer + kFooterBytes;
  if (size > from) {
    steps.push_back(
        range_step(IoCommand::Kind::reserve, {from}, size - from, "space for a larger disk"));
  }
  steps.push_back(sync_step("sync of the image"));
  zero(steps, is.size, std::min(size, from));
  commit(steps, size, fresh);
}

/// The last sector of the file says the new size first; then a footer is written where it belongs.
void shrink_file(const Places& is, std::uint64_t size, const Footer& fresh,
                 std::vector<FileStep>& steps) {
  commit(steps, is.footer, fresh);
  steps.push_back(durable_step({size}, bytes_of_footer(fresh), kFooter));
  steps.push_back(size_step(size + kFooterBytes, "file size of a smaller disk"));
  steps.push_back(sync_step("sync of the image"));
}

}  // namespace

Result<ResizePlan> plan_fixed_resize(File& file, const ParsedImage& image,
                                     std::uint64_t virtual_bytes) {
  ResizePlan out{.file_bytes = image.file_size};
  const Places is{.size = image.virtual_size, .footer = image.footer_at.value};
  if (!image.footer_at_end) {
    OVHD_TRY(const bool zeros, only_zeros_behind(file, image));
    if (!zeros) {
      return Error{.code = Errc::unsupported,
                   .where = image.footer_at,
                   .what = "fixed disk: bytes follow the footer, repair it first (V01)"};
    }
    out.file_bytes = is.footer + kFooterBytes;
    out.steps.push_back(size_step(out.file_bytes, "file size of a fixed disk"));
    out.steps.push_back(sync_step("sync of the image"));
  }
  const Footer fresh = footer_for_size(image.footer, virtual_bytes);
  if (virtual_bytes > is.footer) {
    // The old footer, at no multiple of 512, must be whole until the new one is.
    if (virtual_bytes < is.footer + kFooterBytes) {
      return Error{.code = Errc::invalid,
                   .where = image.footer_at,
                   .what = "size: less than a sector beyond the footer, which is unaligned (V01)"};
    }
    grow_file(is, virtual_bytes, image.footer, fresh, out.steps);
  } else if (virtual_bytes == is.footer) {
    zero(out.steps, is.size, virtual_bytes);
    commit(out.steps, is.footer, fresh);
  } else {
    zero(out.steps, is.size, virtual_bytes);
    shrink_file(is, virtual_bytes, fresh, out.steps);
  }
  return out;
}

}  // namespace openvhd::vhd
