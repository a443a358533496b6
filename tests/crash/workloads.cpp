// The workloads: what every proof of this directory runs on.
#include <array>

#include "base/checked.hpp"
#include "crash/workload.hpp"

namespace openvhd::test {
namespace {

using Side = Actor::Side;

constexpr Shape vhdx(DiskType type, std::uint64_t size = 6 * kMiB, std::uint64_t block = kMiB,
                     std::uint32_t sector = 512) {
  return {.format = Format::vhdx,
          .type = type,
          .virtual_size = size,
          .block_size = block,
          .sector = sector};
}

constexpr Shape vhd(DiskType type, std::uint64_t size = 20 * 16 * kKiB,
                    std::uint64_t block = 16 * kKiB,
                    std::uint64_t capacity = MemoryStore::kMaxBytes) {
  return {.format = Format::vhd,
          .type = type,
          .virtual_size = size,
          .block_size = block,
          .capacity = capacity};
}

/// 600 blocks of 1 MiB: the table has two sectors.
constexpr Shape two_table_sectors(DiskType type) { return vhdx(type, 600 * kMiB); }
/// Beyond one chunk: bitmap entries between payload entries.
constexpr Shape two_chunks(DiskType type) { return vhdx(type, 4200 * kMiB, 4 * kMiB); }
constexpr Shape few_pages(Shape shape) {
  shape.table_cache_bytes = 64 * kKiB;
  return shape;
}

constexpr auto kDynamic = DiskType::dynamic;
constexpr auto kFixed = DiskType::fixed;
constexpr auto kChild = DiskType::differencing;
/// So little that a VHD grows by what it needs, and a VHDX not at will.
constexpr std::uint64_t kNarrow = 768 * kKiB;

void first_write(Actor& a) {
  a.write(3, 4);
  a.flush();
  a.close();
}

void sequential(Actor& a) {
  for (std::uint64_t i = 0; i < 8; ++i) {
    a.write(i * a.shape().block_sectors() / 2, 6);
    if (i % 3 == 2) a.flush();
  }
  a.close();
}

void random_writes(Actor& a) {
  for (int i = 0; i < 14; ++i) {
    a.write(a.random(a.shape().sectors()), 1 + a.random(12));
    if (a.random(4) == 0) a.flush();
  }
  a.flush();
}

void overwrite(Actor& a) {
  a.write(0, 16);
  a.write(a.shape().block_sectors(), 8);
  a.flush();
  a.begin();
  a.write(4, 8);
  a.write(6, 2);
  a.write(a.shape().block_sectors() + 1, 3);
  a.flush();
  a.write(0, 2);
  a.close();
}

/// Nobody ever flushes: what a guest may do for hours.
void never_flushed(Actor& a) {
  const std::uint64_t blocks = a.shape().virtual_size / a.shape().block_size;
  for (std::uint64_t i = 0; i < 6; ++i) a.write(i % blocks * a.shape().block_sectors() + i, 3);
  a.trim_block(1);
  a.write(1, 5);
}

void trim_and_reuse(Actor& a) {
  const std::uint64_t block = a.shape().block_sectors();
  for (std::uint64_t i = 0; i < 4; ++i) a.write(i * block, 8);
  a.flush();
  a.begin();
  a.trim_block(1);
  a.trim_block(2);
  a.write(4 * block, 4);  // must not take what was freed but now
  a.flush();
  a.write(5 * block + 3, 4);  // may
  a.write(block + 5, 2);
  a.flush();
  a.trim_block(4);
  a.write(2 * block, 3);
  a.close();
}

void zero_parts(Actor& a) {
  const std::uint64_t block = a.shape().block_sectors();
  a.write(0, 20);
  a.write(block, 10);
  a.flush();
  a.begin();
  a.zero(4, 8);
  a.zero(block, block);
  a.trim(2 * block, block);
  a.flush();
  a.write(6, 2);
  a.write(block + 2, 2);
  a.zero(3 * block - 4, 8);
  a.flush();
  a.trim(0, 2 * block);
  a.close();
}

/// Bits of a differencing disk: none, some, all of a block's sectors.
void bitmap_transitions(Actor& a) {
  const std::uint64_t block = a.shape().block_sectors();
  a.write(1, 3);
  a.flush();
  a.write(8, 8);
  a.write(block - 2, 4);  // the end of one block, the start of the next
  a.flush();
  a.zero(2, 4);
  a.trim_block(1);
  a.flush();
  a.write(block + 1, 1);
  a.write(0, block);  // the whole first block
  a.flush();
  a.zero(0, block);
  a.write(5, 2);
  a.close();
}

/// The first and the last entry of a table sector, and its neighbours.
void table_sector_edges(Actor& a) {
  const std::uint64_t block = a.shape().block_sectors();
  a.write(511 * block, 2);
  a.write(512 * block, 2);
  a.flush();
  a.write(0, 1);
  a.write(513 * block + 1, 2);
  a.trim_block(512);
  a.flush();
  a.write(512 * block + 3, 2);
  a.close();
}

void chunk_edges(Actor& a) {
  const std::uint64_t block = a.shape().block_sectors();
  const std::uint64_t chunk = (std::uint64_t{1} << 23) / block;  // in blocks
  a.write(chunk * block - 3, 6);
  a.flush();
  a.write((chunk - 1) * block + 1, 2);
  a.write((chunk + 1) * block, 2);
  a.trim_block(chunk);
  a.flush();
  a.write(chunk * block + 9, 2);
  a.close();
}

/// So many commits that the log goes around: entries of one sector take 8 KiB of 1 MiB.
void log_wrap(Actor& a) {
  const std::uint64_t block = a.shape().block_sectors();
  const std::uint64_t blocks = a.shape().virtual_size / a.shape().block_size;
  for (std::uint64_t i = 0; i < 122; ++i) {
    if (i % 2 == 0)
      a.write(i / 2 % blocks * block, 1);
    else
      a.trim_block(i / 2 % blocks);
    a.flush();
  }
  a.begin();
  for (std::uint64_t i = 0; i < 10; ++i) {
    a.write((i + 1) % blocks * block + i, 1);
    a.flush();
    a.trim_block(i % blocks);
    a.flush();
  }
}

/// One group that is larger than the log: it becomes several entries.
void log_full(Actor& a) {
  const std::uint64_t stride =
      16 * a.shape().block_sectors();  // each in a bitmap sector of its own
  const std::uint64_t sectors = a.shape().sectors() / stride;
  for (std::uint64_t i = 0; i < sectors; ++i) a.write(i * stride, 1);
  a.begin();
  a.flush();
  for (std::uint64_t i = 0; i < 4; ++i) a.write(i * stride + a.shape().block_sectors(), 1);
  a.flush();
}

/// Headers change at the first write of an open and at its end.
void sessions(Actor& a) {
  a.write(0, 2);
  a.reopen();
  a.write(1, 2);
  a.reopen();
  a.write(a.shape().block_sectors(), 1);
  a.flush();
  a.reopen();
  a.trim_block(0);
  a.close();
}

/// A process dies, the next one replays and goes on; then the machine dies.
void killed_sessions(Actor& a) {
  const std::uint64_t block = a.shape().block_sectors();
  a.write(0, 4);
  a.flush();
  a.write(block, 4);
  a.kill();
  a.write(2 * block, 4);
  a.flush();
  a.trim_block(0);
  a.kill();
  a.write(3, 2);
  a.write(3 * block, 2);
  a.flush();
  a.kill();
  a.write(1, 1);
  a.flush();
}

/// The copy of the footer at 0 is damaged: until it is mended, the one at the end is all there is.
void bad_copy(Actor& a) {
  constexpr std::array<std::byte, 512> kNothing{};
  a.tamper(0, kNothing);
  a.begin();
  const std::uint64_t block = a.shape().block_sectors();
  for (std::uint64_t i = 0; i < 5; ++i) {
    a.write(2 * i * block, 3);
    if (i % 2 == 0) a.flush();
  }
  a.close();
}

void side_by_side(Actor& a) {
  const std::uint64_t block = a.shape().block_sectors();
  using Kind = Side::Kind;
  a.write(4 * block, 8);
  a.flush();
  for (std::uint64_t round = 0; round < 3; ++round) {
    a.together({{Kind::write, round, 2},
                {Kind::write, block + 4 * round, 3},
                {Kind::flush, 0, 0},
                {Kind::trim, (2 + round % 2) * block, block},
                {Kind::write, 4 * block + round, 1},
                {Kind::zero, 5 * block - 4, 4},
                {Kind::flush, 0, 0}});
    if (round == 1) a.flush();
  }
  a.close();
}

/// The host has no room for the next block: nothing changes, and what is there still works.
void host_full(Actor& a) {
  const std::uint64_t block = a.shape().block_sectors();
  a.write(0, 2);
  a.flush();
  a.write(block, 2);
  a.write(2, 2);
  a.trim_block(0);
  a.flush();
  a.write(2 * block, 2);
  a.flush();
  a.close();
}

/// Everything, at random: a new run for each seed.
void mixture(Actor& a) {
  const std::uint64_t block = a.shape().block_sectors();
  const std::uint64_t blocks = a.shape().sectors() / block;
  for (int i = 0; i < 24; ++i) {
    const std::uint64_t at = a.random(blocks) * block + a.random(24);
    switch (a.random(12)) {
      case 0:
      case 1:
        a.flush();
        break;
      case 2:
        a.trim_block(a.random(blocks));
        break;
      case 3:
        a.zero(at, 1 + a.random(block));
        break;
      case 4:
        if (a.random(3) == 0) a.reopen();
        break;
      case 5:
        if (a.random(3) == 0) a.kill();
        break;
      default:
        a.write(at, 1 + a.random(10));
    }
  }
  a.flush();
}

constexpr std::array kWorkloads{
    Workload{"vhdx_fixed_write", vhdx(kFixed, 2 * kMiB), sequential},
    Workload{"vhdx_dynamic_first_write", vhdx(kDynamic), first_write},
    Workload{"vhdx_dynamic_sequential", vhdx(kDynamic), sequential},
    Workload{"vhdx_dynamic_random", vhdx(kDynamic, 6 * kMiB + 512), random_writes},
    Workload{"vhdx_dynamic_overwrite", vhdx(kDynamic), overwrite},
    Workload{"vhdx_dynamic_never_flushed", vhdx(kDynamic), never_flushed},
    Workload{"vhdx_dynamic_trim_and_reuse", vhdx(kDynamic), trim_and_reuse},
    Workload{"vhdx_dynamic_zero_parts", vhdx(kDynamic), zero_parts},
    Workload{"vhdx_dynamic_table_edges", two_table_sectors(kDynamic), table_sector_edges},
    Workload{"vhdx_dynamic_chunk_edges", two_chunks(kDynamic), chunk_edges},
    Workload{"vhdx_dynamic_log_wrap", vhdx(kDynamic, 4 * kMiB), log_wrap},
    Workload{"vhdx_dynamic_sessions", vhdx(kDynamic), sessions},
    Workload{"vhdx_dynamic_killed", vhdx(kDynamic), killed_sessions},
    Workload{"vhdx_dynamic_side_by_side", vhdx(kDynamic), side_by_side},
    Workload{"vhdx_dynamic_4k_mixture", vhdx(kDynamic, 6 * kMiB, kMiB, 4096), mixture},
    Workload{"vhdx_dynamic_mixture", vhdx(kDynamic), mixture},
    Workload{"vhdx_child_first_write", vhdx(kChild), first_write},
    Workload{"vhdx_child_bitmaps", vhdx(kChild), bitmap_transitions},
    Workload{"vhdx_child_trim_and_reuse", vhdx(kChild), trim_and_reuse},
    Workload{"vhdx_child_zero_parts", vhdx(kChild), zero_parts},
    Workload{"vhdx_child_chunk_edges", two_chunks(kChild), chunk_edges},
    Workload{"vhdx_child_log_full", few_pages(vhdx(kChild, 2304 * kMiB)), log_full},
    Workload{"vhdx_child_killed", vhdx(kChild), killed_sessions},
    Workload{"vhdx_child_side_by_side", vhdx(kChild), side_by_side},
    Workload{"vhdx_child_4k_mixture", vhdx(kChild, 6 * kMiB, kMiB, 4096), mixture},
    Workload{"vhdx_child_mixture", vhdx(kChild, 6 * kMiB + 512), mixture},
    Workload{"vhd_fixed_write", vhd(kFixed), sequential},
    Workload{"vhd_dynamic_first_write", vhd(kDynamic), first_write},
    Workload{"vhd_dynamic_sequential", vhd(kDynamic), sequential},
    Workload{"vhd_dynamic_random_narrow", vhd(kDynamic, 20 * 16 * kKiB + 512, 16 * kKiB, kNarrow),
             random_writes},
    Workload{"vhd_dynamic_overwrite", vhd(kDynamic), overwrite},
    Workload{"vhd_dynamic_never_flushed", vhd(kDynamic), never_flushed},
    Workload{"vhd_dynamic_trim_and_reuse", vhd(kDynamic), trim_and_reuse},
    Workload{"vhd_dynamic_host_full", vhd(kDynamic, 20 * 16 * kKiB, 16 * kKiB, 32 * kKiB),
             host_full},
    Workload{"vhd_dynamic_sessions", vhd(kDynamic), sessions},
    Workload{"vhd_dynamic_killed_narrow", vhd(kDynamic, 20 * 16 * kKiB, 16 * kKiB, kNarrow),
             killed_sessions},
    Workload{"vhd_dynamic_bad_copy_narrow", vhd(kDynamic, 20 * 16 * kKiB, 16 * kKiB, 128 * kKiB),
             bad_copy},
    Workload{"vhd_dynamic_side_by_side", vhd(kDynamic), side_by_side},
    Workload{"vhd_dynamic_mixture_narrow", vhd(kDynamic, 20 * 16 * kKiB, 16 * kKiB, kNarrow),
             mixture},
    Workload{"vhd_child_bitmaps", vhd(kChild), bitmap_transitions},
    Workload{"vhd_child_zero_parts", vhd(kChild), zero_parts},
    Workload{"vhd_child_killed", vhd(kChild), killed_sessions},
    Workload{"vhd_child_mixture", vhd(kChild), mixture},
    Workload{"vhd_child_mixture_narrow", vhd(kChild, 20 * 16 * kKiB, 16 * kKiB, kNarrow), mixture},
};

}  // namespace

std::span<const Workload> workloads() { return kWorkloads; }

const Workload* find_workload(const std::string& name) {
  for (const Workload& workload : kWorkloads)
    if (name == workload.name) return &workload;
  return nullptr;
}

}  // namespace openvhd::test
