/// VHDX on disk ([MS-VHDX] 8.0, section 2): structures in the order and with the names of the
/// specification, constants, nothing else. All integers are little-endian.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <openvhd/types.hpp>

#include "base/checked.hpp"
#include "base/stored.hpp"

namespace openvhd::vhdx {

/// A GUID as VHDX stores it: the first three groups little-endian, the rest as printed.
class StoredGuid {
 public:
  constexpr StoredGuid() = default;
  constexpr explicit StoredGuid(const Guid& guid) noexcept : raw_{mixed(guid.bytes)} {}
  constexpr StoredGuid& operator=(const Guid& guid) noexcept {
    raw_ = mixed(guid.bytes);
    return *this;
  }
  constexpr operator Guid() const noexcept { return Guid{mixed(raw_)}; }
  constexpr Guid value() const noexcept { return *this; }

 private:
  using Raw = std::array<std::uint8_t, 16>;
  static constexpr Raw mixed(const Raw& b) noexcept {
    return {b[3], b[2], b[1],  b[0],  b[5],  b[4],  b[7],  b[6],
            b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]};
  }
  Raw raw_{};
};
static_assert(OnDisk<StoredGuid, 16>);

/// Builds a GUID constant from its printed groups.
constexpr Guid guid_of(std::uint32_t a, std::uint16_t b, std::uint16_t c, std::uint16_t d,
                       std::uint64_t e) noexcept {
  Guid out;
  for (unsigned i = 0; i < 4; ++i) out.bytes[i] = static_cast<std::uint8_t>(a >> (24 - 8 * i));
  for (unsigned i = 0; i < 2; ++i) {
    out.bytes[4 + i] = static_cast<std::uint8_t>(b >> (8 - 8 * i));
    out.bytes[6 + i] = static_cast<std::uint8_t>(c >> (8 - 8 * i));
    out.bytes[8 + i] = static_cast<std::uint8_t>(d >> (8 - 8 * i));
  }
  for (unsigned i = 0; i < 6; ++i) {
    out.bytes[10 + i] = static_cast<std::uint8_t>(e >> (40 - 8 * i));
  }
  return out;
}

/// Four or eight characters as the number that a little-endian field holds.
template <std::size_t N>
constexpr std::uint64_t signature_of(const char (&text)[N]) noexcept {
  static_assert(N == 5 || N == 9);
  std::uint64_t out = 0;
  for (std::size_t i = N - 1; i-- > 0;) out = out << 8 | static_cast<unsigned char>(text[i]);
  return out;
}

// 2.1 Layout. Everything but the header section starts at, and is long, a multiple of this.
inline constexpr std::uint64_t kAlignment = kMiB;
inline constexpr std::uint64_t kHeaderSectionBytes = kMiB;

// 2.2.1 File Type Identifier.
inline constexpr std::uint64_t kFileSignature = signature_of("vhdxfile");
inline constexpr std::uint64_t kFileIdentifierBytes = 64 * kKiB;
struct FileIdentifier {
  Le64 signature;                 //  0  "vhdxfile"
  std::array<Le16, 256> creator;  //  8  UTF-16; written once, means nothing
};
static_assert(OnDisk<FileIdentifier, 520>);

// 2.2.2 Headers. Copies at 64 and 128 KiB; the valid one with the higher number counts.
inline constexpr std::array<FileOffset, 2> kHeaderAt{{{64 * kKiB}, {128 * kKiB}}};
inline constexpr std::size_t kHeaderBlockBytes = 4096;
inline constexpr std::size_t kHeaderChecksumField = 4;
inline constexpr std::uint32_t kHeaderSignature = narrow<std::uint32_t>(signature_of("head"));
inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::uint16_t kLogVersion = 0;
struct Header {
  Le32 signature;              //  0  "head"
  Le32 checksum;               //  4  CRC-32C of the 4 KiB block, this field taken as zero
  Le64 sequence_number;        //  8
  StoredGuid file_write_guid;  // 16
  StoredGuid data_write_guid;  // 32
  StoredGuid log_guid;         // 48  nil: no log to replay
  Le16 log_version;            // 64  0
  Le16 version;                // 66  1
  Le32 log_length;             // 68  bytes; a multiple of 1 MiB
  Le64 log_offset;             // 72  bytes; a multiple of 1 MiB, not below 1 MiB
};  // 80  reserved up to 4 KiB
static_assert(OnDisk<Header, 80>);

// 2.2.3 Region Table. Copies at 192 and 256 KiB.
inline constexpr std::array<FileOffset, 2> kRegionTableAt{{{192 * kKiB}, {256 * kKiB}}};
inline constexpr std::size_t kRegionTableBytes = 64 * kKiB;
inline constexpr std::size_t kRegionChecksumField = 4;
inline constexpr std::uint32_t kRegionSignature = narrow<std::uint32_t>(signature_of("regi"));
inline constexpr std::uint32_t kMaxRegions = 2047;
struct RegionTableHeader {
  Le32 signature;    //  0  "regi"
  Le32 checksum;     //  4  CRC-32C of the 64 KiB table, this field taken as zero
  Le32 entry_count;  //  8  at most 2047
  Le32 reserved;     // 12
};
static_assert(OnDisk<RegionTableHeader, 16>);
inline constexpr std::uint32_t kRegionRequired = 1;
struct RegionTableEntry {
  StoredGuid guid;   //  0
  Le64 file_offset;  // 16  bytes; a multiple of 1 MiB, not below 1 MiB
  Le32 length;       // 24  bytes; a multiple of 1 MiB
  Le32 required;     // 28  bit 0: a reader that does not know the region must not open the file
};
static_assert(OnDisk<RegionTableEntry, 32>);
inline constexpr Guid kBatRegion = guid_of(0x2dc27766, 0xf623, 0x4200, 0x9d64, 0x115e9bfd4a08);
inline constexpr Guid kMetadataRegion = guid_of(0x8b7ca206, 0x4790, 0x4b9a, 0xb8fe, 0x575f050f886e);

// 2.3 Log: a ring of 4 KiB sectors.
inline constexpr std::size_t kLogSectorBytes = 4096;
inline constexpr std::size_t kLogChecksumField = 4;
inline constexpr std::uint32_t kLogEntrySignature = narrow<std::uint32_t>(signature_of("loge"));
inline constexpr std::uint32_t kZeroSignature = narrow<std::uint32_t>(signature_of("zero"));
inline constexpr std::uint32_t kDataDescriptorSignature =
    narrow<std::uint32_t>(signature_of("desc"));
inline constexpr std::uint32_t kDataSectorSignature = narrow<std::uint32_t>(signature_of("data"));
// 2.3.1.1 Entry Header.
struct LogEntryHeader {
  Le32 signature;            //  0  "loge"
  Le32 checksum;             //  4  CRC-32C of the whole entry, this field taken as zero
  Le32 entry_length;         //  8  bytes; a multiple of 4 KiB
  Le32 tail;                 // 12  bytes from the start of the log; a multiple of 4 KiB
  Le64 sequence_number;      // 16  greater than zero
  Le32 descriptor_count;     // 24
  Le32 reserved;             // 28
  StoredGuid log_guid;       // 32
  Le64 flushed_file_offset;  // 48  bytes; the file was durably at least this long
  Le64 last_file_offset;     // 56  bytes; every structure lies below
};
static_assert(OnDisk<LogEntryHeader, 64>);
// 2.3.1.2 Zero Descriptor.
struct ZeroDescriptor {
  Le32 signature;        //  0  "zero"
  Le32 reserved;         //  4
  Le64 zero_length;      //  8  bytes; a multiple of 4 KiB
  Le64 file_offset;      // 16  bytes; a multiple of 4 KiB
  Le64 sequence_number;  // 24
};
static_assert(OnDisk<ZeroDescriptor, 32>);
// 2.3.1.3 Data Descriptor.
struct DataDescriptor {
  Le32 signature;                           //  0  "desc"
  std::array<std::byte, 4> trailing_bytes;  //  4  the last bytes of the sector that is restored
  std::array<std::byte, 8> leading_bytes;   //  8  its first bytes
  Le64 file_offset;                         // 16  bytes; a multiple of 4 KiB
  Le64 sequence_number;                     // 24
};
static_assert(OnDisk<DataDescriptor, 32>);
// 2.3.1.4 Data Sector.
struct DataSector {
  Le32 signature;                    //    0  "data"
  Le32 sequence_high;                //    4
  std::array<std::byte, 4084> data;  //    8
  Le32 sequence_low;                 // 4092
};
static_assert(OnDisk<DataSector, 4096>);
inline constexpr std::size_t kDescriptorBytes = 32;
inline constexpr std::size_t kFirstSectorDescriptors = 126;  // behind the 64-byte entry header
inline constexpr std::size_t kSectorDescriptors = 128;

// 2.4.2 Sector Bitmap Blocks: one bit per sector, low bit first; 1 means present here.
inline constexpr std::uint64_t kBitmapBlockBytes = kMiB;
inline constexpr std::uint64_t kBitmapBlockSectors = std::uint64_t{1} << 23;

// 2.5.1.1 Payload BAT Entry States.
enum class PayloadState : std::uint8_t {
  not_present = 0,
  undefined = 1,
  zero = 2,
  unmapped = 3,
  fully_present = 6,
  partially_present = 7,
};
// 2.5.1.2 Sector Bitmap BAT Entry States.
enum class BitmapState : std::uint8_t { not_present = 0, present = 6 };

/// 2.5.1 BAT Entry: bits 0-2 state, 3-19 reserved, 20-63 file offset in MiB, so that the entry
/// with its low 20 bits cleared is the offset in bytes. The raw number is kept as it came.
struct BatEntry {
  std::uint64_t raw = 0;

  static constexpr BatEntry make(PayloadState state, FileOffset at) noexcept {
    return {(at.value & ~(kMiB - 1)) | static_cast<std::uint64_t>(state)};
  }
  static constexpr BatEntry make(BitmapState state, FileOffset at) noexcept {
    return {(at.value & ~(kMiB - 1)) | static_cast<std::uint64_t>(state)};
  }
  constexpr unsigned state_bits() const noexcept { return static_cast<unsigned>(raw & 7); }
  /// One of the named states only after validate_payload_entry().
  constexpr PayloadState payload_state() const noexcept {
    return static_cast<PayloadState>(state_bits());
  }
  constexpr BitmapState bitmap_state() const noexcept {
    return static_cast<BitmapState>(state_bits());
  }
  constexpr std::uint64_t reserved_bits() const noexcept { return raw & (kMiB - 8); }
  constexpr FileOffset offset() const noexcept { return {raw & ~(kMiB - 1)}; }
  friend constexpr bool operator==(BatEntry, BatEntry) = default;
};
inline constexpr std::uint64_t kBatEntryBytes = 8;

// 2.6.1 Metadata Table.
inline constexpr std::uint64_t kMetadataSignature = signature_of("metadata");
inline constexpr std::size_t kMetadataTableBytes = 64 * kKiB;
inline constexpr std::uint32_t kMaxMetadataItems = 2047;
inline constexpr std::uint32_t kMaxUserMetadataItems = 1024;
inline constexpr std::uint64_t kMaxMetadataItemBytes = kMiB;
struct MetadataTableHeader {
  Le64 signature;                 //  0  "metadata"
  Le16 reserved;                  //  8
  Le16 entry_count;               // 10  at most 2047
  std::array<Le32, 5> reserved2;  // 12
};
static_assert(OnDisk<MetadataTableHeader, 32>);
inline constexpr std::uint32_t kMetadataIsUser = 1;
inline constexpr std::uint32_t kMetadataIsVirtualDisk = 2;
inline constexpr std::uint32_t kMetadataIsRequired = 4;
struct MetadataTableEntry {
  StoredGuid item_id;  //  0
  Le32 offset;         // 16  bytes from the start of the region, at least 64 KiB; 0 when empty
  Le32 length;         // 20  bytes, at most 1 MiB
  Le32 flags;          // 24  bits 0-2: IsUser, IsVirtualDisk, IsRequired
  Le32 reserved2;      // 28
};
static_assert(OnDisk<MetadataTableEntry, 32>);

// 2.6.2 Known Metadata Items.
inline constexpr Guid kFileParametersItem =
    guid_of(0xcaa16737, 0xfa36, 0x4d43, 0xb3b6, 0x33f0aa44e76b);
inline constexpr Guid kVirtualDiskSizeItem =
    guid_of(0x2fa54224, 0xcd1b, 0x4876, 0xb211, 0x5dbed83bf4b8);
inline constexpr Guid kVirtualDiskIdItem =
    guid_of(0xbeca12ab, 0xb2e6, 0x4523, 0x93ef, 0xc309e000c746);
inline constexpr Guid kLogicalSectorSizeItem =
    guid_of(0x8141bf1d, 0xa96f, 0x4709, 0xba47, 0xf233a8faab5f);
inline constexpr Guid kPhysicalSectorSizeItem =
    guid_of(0xcda348c7, 0x445d, 0x4471, 0x9cc9, 0xe9885251c556);
inline constexpr Guid kParentLocatorItem =
    guid_of(0xa8d35f2d, 0xb30b, 0x454d, 0xabf7, 0xd3d84834ab0c);
// 2.6.2.1 File Parameters.
inline constexpr std::uint32_t kLeaveBlocksAllocated = 1;
inline constexpr std::uint32_t kHasParent = 2;
struct FileParameters {
  Le32 block_size;  //  0  bytes; a power of two, 1 to 256 MiB
  Le32 flags;       //  4  bit 0 LeaveBlocksAllocated, bit 1 HasParent
};
static_assert(OnDisk<FileParameters, 8>);
inline constexpr std::uint64_t kMinBlockBytes = kMiB;
inline constexpr std::uint64_t kMaxBlockBytes = 256 * kMiB;
inline constexpr std::uint64_t kMaxVirtualBytes = 64 * kTiB;
// 2.6.2.6 Parent Locator.
inline constexpr Guid kVhdxParentLocatorType =
    guid_of(0xb04aefb7, 0xd19e, 0x4a81, 0xb789, 0x25b8e9445913);
struct ParentLocatorHeader {
  StoredGuid locator_type;  //  0
  Le16 reserved;            // 16
  Le16 key_value_count;     // 18
};
static_assert(OnDisk<ParentLocatorHeader, 20>);
struct ParentLocatorEntry {
  Le32 key_offset;    //  0  bytes from the start of the item
  Le32 value_offset;  //  4
  Le16 key_length;    //  8  bytes of UTF-16, no terminator
  Le16 value_length;  // 10
};
static_assert(OnDisk<ParentLocatorEntry, 12>);

}  // namespace openvhd::vhdx
