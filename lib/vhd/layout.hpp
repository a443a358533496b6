/// VHD on disk (Virtual Hard Disk Image Format Specification 1.0): structures in the order and with
/// the names of the specification, constants, nothing else. All integers are big-endian.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <openvhd/types.hpp>
#include <string_view>

#include "base/checked.hpp"
#include "base/stored.hpp"

namespace openvhd::vhd {

inline constexpr std::uint32_t kSectorBytes = 512;
/// Sector numbers of the table are 32 bits, and 2040 GiB is what every other program stops at.
inline constexpr std::uint64_t kMaxVirtualSize = 2040 * kGiB;
/// Seconds from 1970-01-01 to 2000-01-01 UTC, where VHD time stamps begin.
inline constexpr std::int64_t kEpochUnix = 946'684'800;
inline constexpr std::uint64_t kNoOffset = ~std::uint64_t{0};

/// Four characters as the number that a big-endian field holds.
constexpr std::uint32_t code_of(const char (&text)[5]) noexcept {
  std::uint32_t out = 0;
  for (std::size_t i = 0; i < 4; ++i) out = out << 8 | static_cast<unsigned char>(text[i]);
  return out;
}

// "Hard Disk Footer Format". Last in the file; dynamic and differencing disks have a copy at 0.
inline constexpr std::size_t kFooterBytes = 512;
/// Virtual PC before 2004 left out the last, reserved, byte.
inline constexpr std::size_t kShortFooterBytes = 511;
inline constexpr std::string_view kFooterCookie = "conectix";
/// In place of the cookie while Xen's tools change an image in steps.
inline constexpr std::string_view kPoisonCookie = "v_poison";
inline constexpr std::uint32_t kVersion = 0x0001'0000;
inline constexpr std::uint32_t kFeatureTemporary = 1;
inline constexpr std::uint32_t kFeatureReserved = 2;  // always set
inline constexpr std::uint32_t kTypeFixed = 2;
inline constexpr std::uint32_t kTypeDynamic = 3;
inline constexpr std::uint32_t kTypeDifferencing = 4;
struct Footer {
  std::array<char, 8> cookie;               //  0  "conectix"
  Be32 features;                            //  8
  Be32 file_format_version;                 // 12  1.0
  Be64 data_offset;                         // 16  of the dynamic header; all ones when fixed
  Be32 time_stamp;                          // 24  seconds since 2000-01-01 UTC
  std::array<char, 4> creator_application;  // 28
  Be32 creator_version;                     // 32  major and minor, 16 bits each
  std::array<char, 4> creator_host_os;      // 36  "Wi2k", "Mac "
  Be64 original_size;                       // 40  bytes, at creation
  Be64 current_size;                        // 48  bytes
  Be16 cylinders;                           // 56
  std::uint8_t heads;                       // 58
  std::uint8_t sectors_per_track;           // 59
  Be32 disk_type;                           // 60
  Be32 checksum;                            // 64  one's complement of the sum of all other bytes
  std::array<std::uint8_t, 16> unique_id;   // 68  by which children know the disk
  std::uint8_t saved_state;                 // 84  1: belongs to a machine in saved state
  std::uint8_t hidden;                      // 85  Xen: kept for children only
  std::array<std::uint8_t, 426> reserved;   // 86
};
static_assert(OnDisk<Footer, kFooterBytes>);

// "Parent Locator Entry".
inline constexpr std::size_t kLocators = 8;
inline constexpr std::uint32_t kLocatorNone = 0;
inline constexpr std::uint32_t kLocatorWi2r = code_of("Wi2r");  // deprecated
inline constexpr std::uint32_t kLocatorWi2k = code_of("Wi2k");  // deprecated
inline constexpr std::uint32_t kLocatorW2ru = code_of("W2ru");  // relative, UTF-16LE
inline constexpr std::uint32_t kLocatorW2ku = code_of("W2ku");  // absolute, UTF-16LE
inline constexpr std::uint32_t kLocatorMac = code_of("Mac ");   // an alias, as a blob
inline constexpr std::uint32_t kLocatorMacX = code_of("MacX");  // a file URL, UTF-8
struct ParentLocatorEntry {
  Be32 platform_code;         //  0
  Be32 platform_data_space;   //  4  sectors, or bytes: writers differ
  Be32 platform_data_length;  //  8  bytes
  Be32 reserved;              // 12
  Be64 platform_data_offset;  // 16  bytes from the start of the file
};
static_assert(OnDisk<ParentLocatorEntry, 24>);

// "Dynamic Disk Header Format".
inline constexpr std::size_t kHeaderBytes = 1024;
inline constexpr std::string_view kHeaderCookie = "cxsparse";
struct DynamicHeader {
  std::array<char, 8> cookie;                          //   0  "cxsparse"
  Be64 data_offset;                                    //   8  all ones
  Be64 table_offset;                                   //  16  bytes; of the BAT
  Be32 header_version;                                 //  24  1.0
  Be32 max_table_entries;                              //  28
  Be32 block_size;                                     //  32  bytes, without the bitmap
  Be32 checksum;                                       //  36  as in the footer
  std::array<std::uint8_t, 16> parent_unique_id;       //  40
  Be32 parent_time_stamp;                              //  56  when the parent was changed last
  Be32 reserved_1;                                     //  60
  std::array<std::byte, 512> parent_unicode_name;      //  64  UTF-16BE
  std::array<ParentLocatorEntry, kLocators> locators;  // 576
  std::array<std::uint8_t, 256> reserved_2;            // 768
};
static_assert(OnDisk<DynamicHeader, kHeaderBytes>);

// "Block Allocation Table and Data Blocks". Entries are sector numbers of a block's bitmap; the
// block's data follows the bitmap. The table ends on a sector boundary, filled with ones.
inline constexpr std::uint32_t kUnused = 0xffff'ffff;
inline constexpr std::uint32_t kEntryBytes = 4;
inline constexpr std::uint32_t kMinBlockSize = 8 * kSectorBytes;
inline constexpr std::uint32_t kMaxBlockSize = 256 * 1024 * 1024;
inline constexpr std::uint32_t kDefaultBlockSize = 2 * 1024 * 1024;
inline constexpr std::uint32_t kMaxBlocks = 1u << 22;

/// Bytes of the bitmap in front of a block: one bit for each sector, in whole sectors.
constexpr std::uint32_t bitmap_bytes(std::uint32_t block_size) noexcept {
  return narrow<std::uint32_t>(
      align_up(div_ceil(block_size / kSectorBytes, 8), std::uint64_t{kSectorBytes}));
}

// Xen's batmap: behind the table, one bit for each block whose bitmap is all ones.
inline constexpr std::string_view kBatmapCookie = "tdbatmap";
struct BatmapHeader {
  std::array<char, 8> cookie;  //  0  "tdbatmap"
  Be64 batmap_offset;          //  8  bytes
  Be32 batmap_size;            // 16  sectors
  Be32 batmap_version;         // 20  1.1 (checksum over signed bytes), 1.2
  Be32 checksum;               // 24  one's complement of the sum of the map's bytes
  std::uint8_t marker;         // 28
};
static_assert(OnDisk<BatmapHeader, 29>);

}  // namespace openvhd::vhd
