#include "export.hpp"

#include <algorithm>
#include <cerrno>

namespace openvhd::nbd {
namespace {

// One answer of nbdkit has so many extents at most.
constexpr unsigned kMostExtents = 1U << 20;

int number_of(const Error& error) noexcept {
  switch (error.code) {
    case Errc::no_space:
      return ENOSPC;
    case Errc::read_only:
      return EROFS;
    case Errc::out_of_range:
    case Errc::misaligned:
    case Errc::invalid:
      return EINVAL;
    case Errc::unsupported:
      return ENOTSUP;
    default:
      return EIO;
  }
}

int refuse(int number) noexcept {
  nbdkit_set_error(number);
  return -1;
}

std::uint32_t kind_of(MapEntry::Kind kind) noexcept {
  switch (kind) {
    case MapEntry::Kind::data:
      return 0;
    case MapEntry::Kind::zero:
      return NBDKIT_EXTENT_ZERO;
    case MapEntry::Kind::hole:
      break;
  }
  return NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO;
}

}  // namespace

int Export::answer(const Status& status) noexcept {
  if (status) return 0;
  const Error& error = status.error();
  const auto& files = disk_.files();
  nbdkit_error("%s",
               describe(error, error.layer < files.size() ? files[error.layer] : file_).c_str());
  return refuse(number_of(error));
}

std::uint32_t Export::preferred_block() const noexcept {
  return std::max<std::uint32_t>(4096, disk_.geometry().physical_sector_size);
}

int Export::read(void* into, std::uint32_t count, std::uint64_t at) noexcept {
  return answer(disk_.read({at}, {static_cast<std::byte*>(into), count}));
}

int Export::write(const void* from, std::uint32_t count, std::uint64_t at,
                  std::uint32_t flags) noexcept {
  const std::span bytes{static_cast<const std::byte*>(from), count};
  return answer(disk_.write({at}, bytes, (flags & NBDKIT_FLAG_FUA) != 0));
}

int Export::flush() noexcept { return answer(disk_.flush()); }

int Export::trim(std::uint32_t count, std::uint64_t at, std::uint32_t flags) noexcept {
  return answer(disk_.trim({at}, count, (flags & NBDKIT_FLAG_FUA) != 0));
}

bool Export::covers_whole_blocks(std::uint32_t count, std::uint64_t at) const noexcept {
  const std::uint64_t block = disk_.geometry().block_size;
  if (block == 0 || at % block != 0) return false;
  return (at + count) % block == 0 || at + count == size();
}

int Export::zero(std::uint32_t count, std::uint64_t at, std::uint32_t flags) noexcept {
  const bool durable = (flags & NBDKIT_FLAG_FUA) != 0;
  const bool may_trim = (flags & NBDKIT_FLAG_MAY_TRIM) != 0;
  // Whole blocks change in the metadata alone. Anything else may have to write.
  if ((flags & NBDKIT_FLAG_FAST_ZERO) != 0 && !(may_trim && covers_whole_blocks(count, at)))
    return refuse(ENOTSUP);
  if (may_trim) return answer(disk_.trim({at}, count, durable));
  // Blocks of zeros have no space of their own, in the format: to have it they must be written.
  if (disk_.geometry().block_size != 0) return refuse(EOPNOTSUPP);
  return answer(disk_.zero({at}, count, durable));
}

int Export::extents(std::uint32_t count, std::uint64_t at, std::uint32_t flags,
                    nbdkit_extents* into) noexcept {
  const std::uint64_t mask = sector() - std::uint64_t{1};
  const std::uint64_t end = std::min(size(), (at + count + mask) & ~mask);
  std::uint64_t next = at & ~mask;
  std::uint64_t seen = ~std::uint64_t{0};  // the kind of the first one
  for (unsigned i = 0; next < end && i < kMostExtents; ++i) {
    const auto entry = disk_.map({next}, end - next);
    if (!entry) return answer(entry.error());
    const std::uint32_t kind = kind_of(entry->kind);
    // One extent was asked for: it ends where the kind changes.
    if ((flags & NBDKIT_FLAG_REQ_ONE) != 0 && i != 0 && kind != seen) break;
    seen = kind;
    if (nbdkit_add_extent(into, next, entry->length, kind) == -1) return -1;
    next += entry->length;
  }
  return 0;
}

void Export::close() noexcept {
  if (const Status closed = disk_.close(); !closed)
    nbdkit_error("%s", describe(closed.error(), file_).c_str());
}

}  // namespace openvhd::nbd
