#include "support/memory_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/checked.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kPage = MemoryStore::kPageBytes;

bool too_far(std::uint64_t at, std::uint64_t length) {
  return !range_fits(at, length, MemoryStore::kMaxBytes);
}

}  // namespace

/// The page, for this store alone to write to.
MemoryStore::Page& MemoryStore::own_page(std::uint64_t number) {
  auto& page = pages_[number];
  if (!page)
    page = std::make_shared<Page>();
  else if (page.use_count() > 1)
    page = std::make_shared<Page>(*page);
  return *page;
}

std::size_t MemoryStore::read(std::uint64_t at, std::span<std::byte> into) const {
  if (at >= size) return 0;
  const auto whole = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), size - at));
  const std::uint64_t end = at + whole;
  std::uint64_t done = at;
  // From written page to written page; what lies between is zeros.
  for (auto page = pages_.lower_bound(at / kPage); done < end; ++page) {
    const bool none = page == pages_.end() || page->first * kPage >= end;
    const std::uint64_t from = none ? end : std::max(page->first * kPage, done);
    if (from > done) std::memset(into.data() + (done - at), 0, from - done);
    if (none) break;
    done = std::min(end, (page->first + 1) * kPage);
    std::memcpy(into.data() + (from - at), page->second->data() + from % kPage, done - from);
  }
  return whole;
}

std::int32_t MemoryStore::take_space(std::uint64_t at, std::uint64_t length) {
  const std::uint64_t first = at / kPage;
  const std::uint64_t end = div_ceil(at + length, kPage);
  const std::uint64_t more = allocated_.missing(first, end);
  if (more > 0 && (allocated_.count() + more) * kPage > capacity) return -ENOSPC;
  allocated_.add(first, end);
  return 0;
}

std::int32_t MemoryStore::write(std::uint64_t at, std::span<const std::byte> from) {
  if (too_far(at, from.size())) return -EFBIG;
  if (from.empty()) return 0;
  if (const auto failed = take_space(at, from.size())) return failed;
  for (std::size_t done = 0; done < from.size();) {
    const std::uint64_t pos = at + done;
    const auto skip = static_cast<std::size_t>(pos % kPage);
    const std::size_t piece = std::min<std::size_t>(from.size() - done, kPage - skip);
    std::memcpy(own_page(pos / kPage).data() + skip, from.data() + done, piece);
    done += piece;
  }
  size = std::max(size, at + from.size());
  return 0;
}

void MemoryStore::clear(std::uint64_t at, std::uint64_t end, bool keep_space) {
  const std::uint64_t first_whole = div_ceil(at, kPage);
  const std::uint64_t end_whole = end / kPage;
  if (first_whole < end_whole) {
    pages_.erase(pages_.lower_bound(first_whole), pages_.lower_bound(end_whole));
    if (!keep_space) allocated_.remove(first_whole, end_whole);
  }
  const auto zero_part = [this](std::uint64_t from, std::uint64_t to) {
    if (from >= to) return;
    if (pages_.contains(from / kPage))
      std::memset(own_page(from / kPage).data() + from % kPage, 0, to - from);
  };
  zero_part(at, std::min(end, align_up(at, kPage)));
  if (end_whole >= first_whole) zero_part(std::max(at, align_down(end, kPage)), end);
}

std::int32_t MemoryStore::zero(std::uint64_t at, std::uint64_t length, bool punch) {
  if (too_far(at, length)) return -EFBIG;
  if (!punch) {
    if (const auto failed = take_space(at, length)) return failed;
  }
  clear(at, at + length, !punch);
  return 0;
}

std::int32_t MemoryStore::reserve(std::uint64_t at, std::uint64_t length) {
  if (too_far(at, length)) return -EFBIG;
  if (const auto failed = take_space(at, length)) return failed;
  size = std::max(size, at + length);
  return 0;
}

std::int32_t MemoryStore::set_size(std::uint64_t bytes) {
  if (bytes > kMaxBytes) return -EFBIG;
  if (bytes < size) clear(bytes, align_up(size, kPage), false);
  size = bytes;
  return 0;
}

std::uint64_t MemoryStore::first_data(std::uint64_t at, std::uint64_t end) const {
  const auto page = pages_.lower_bound(at / kPage);
  if (page == pages_.end()) return end;
  return std::min(std::max(at, page->first * kPage), end);
}

FileRange MemoryStore::next_data(std::uint64_t at, std::uint64_t end) const {
  end = std::min(end, size);
  if (at >= end) return {};
  auto page = pages_.lower_bound(at / kPage);
  if (page == pages_.end() || page->first * kPage >= end) return {};
  const std::uint64_t from = std::max(at, page->first * kPage);
  std::uint64_t next = page->first;
  while (page != pages_.end() && page->first == next && next * kPage < end) {
    ++page;
    ++next;
  }
  return {.at = {from}, .length = std::min(end, next * kPage) - from};
}

MemoryFile::MemoryFile(std::span<const std::byte> contents) : MemoryFile{} {
  if (store_->write(0, contents) != 0) std::abort();
}

std::int32_t MemoryFile::execute(const IoCommand& command) noexcept {
  using Kind = IoCommand::Kind;
  ++executed_[static_cast<std::size_t>(command.kind)];
  if (!options_.writable && command.kind != Kind::read && command.kind != Kind::sync) return -EBADF;
  const std::uint64_t at = command.at.value;
  std::size_t moved = 0;
  switch (command.kind) {
    case Kind::read:
      for (const iovec& piece : command.buffers) {
        const std::size_t got =
            store_->read(at + moved, {static_cast<std::byte*>(piece.iov_base), piece.iov_len});
        moved += got;
        if (got < piece.iov_len) break;
      }
      return static_cast<std::int32_t>(moved);
    case Kind::write:
      for (const iovec& piece : command.buffers) {
        const std::int32_t failed = store_->write(
            at + moved, {static_cast<const std::byte*>(piece.iov_base), piece.iov_len});
        if (failed != 0) return moved > 0 ? static_cast<std::int32_t>(moved) : failed;
        moved += piece.iov_len;
      }
      return static_cast<std::int32_t>(moved);
    case Kind::sync:
      return 0;
    case Kind::zero:
    case Kind::punch:
      if (command.length == 0) return 0;
      return store_->zero(at, command.length, command.kind == Kind::punch);
    case Kind::reserve:
      if (command.length == 0) return 0;
      return store_->reserve(at, command.length);
    case Kind::set_size:
      return store_->set_size(at);
  }
  return -EINVAL;
}

Result<FileRange> MemoryFile::next_data(FileOffset at, FileOffset end) noexcept {
  return store_->next_data(at.value, end.value);
}

}  // namespace openvhd::test
