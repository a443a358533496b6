/// A SCSI command on its way through a target (SAM-5, SPC-4), and what it is served from.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <openvhd/queue.hpp>
#include <span>
#include <vector>

namespace openvhd::scsi {

/// SAM-5, 5.3.1.
enum class ScsiStatus : std::uint8_t {
  good = 0x00,
  check_condition = 0x02,
  busy = 0x08,
  reservation_conflict = 0x18,
  task_set_full = 0x28,
};

/// Why a command failed (SPC-4, 4.5): key, additional code and qualifier.
struct Sense {
  std::uint8_t key = 0, code = 0, qualifier = 0;
  friend constexpr bool operator==(const Sense&, const Sense&) = default;
};

inline constexpr Sense kNoSense{};
inline constexpr Sense kNotReady{0x02, 0x04, 0x00};
inline constexpr Sense kReadError{0x03, 0x11, 0x00};
inline constexpr Sense kWriteError{0x03, 0x0c, 0x00};
inline constexpr Sense kTargetFailure{0x04, 0x44, 0x00};
inline constexpr Sense kParameterListLength{0x05, 0x1a, 0x00};
inline constexpr Sense kInvalidCommand{0x05, 0x20, 0x00};
inline constexpr Sense kOutOfRange{0x05, 0x21, 0x00};
inline constexpr Sense kInvalidField{0x05, 0x24, 0x00};
inline constexpr Sense kNoSuchUnit{0x05, 0x25, 0x00};
inline constexpr Sense kInvalidParameter{0x05, 0x26, 0x00};
inline constexpr Sense kResetOccurred{0x06, 0x29, 0x03};
inline constexpr Sense kModeChanged{0x06, 0x2a, 0x01};
inline constexpr Sense kCapacityChanged{0x06, 0x2a, 0x09};
inline constexpr Sense kWriteProtected{0x07, 0x27, 0x00};
inline constexpr Sense kNoSpace{0x07, 0x27, 0x07};
inline constexpr Sense kAborted{0x0b, 0x00, 0x00};

/// What the library's error means to an initiator (RELIABILITY e.2).
Sense sense_of(const Error& error, bool writing) noexcept;

/// One thread's door to a disk. Tests give something of their own.
class ScsiBackend {
 public:
  enum class Kind : std::uint8_t { read, write, zero, trim, flush };
  virtual ~ScsiBackend() = default;
  /// Ok: `request.done` runs exactly once, later, in the same thread. Error: it never runs.
  virtual Status start(Kind kind, IoRequest& request) noexcept = 0;
};

/// The transport's, and in place until `done` has run; it may be used again then. What the guest
/// sent is copied into `cdb` once; `in` and `out` are the guest's own pages.
class ScsiRequest : private IoRequest {
 public:
  static constexpr std::size_t kMostCommandBytes = 32;
  static constexpr std::size_t kSenseBytes = 18;

  std::uint16_t lun = 0;
  std::uint32_t tag = 0;  ///< The transport's own.
  std::array<std::uint8_t, kMostCommandBytes> cdb{};
  /// What the target may write to, and what it reads from. The lists are the request's own: the
  /// target shortens their last piece. At most one of them is not empty for a command with data.
  std::span<iovec> in{};
  std::span<iovec> out{};
  void (*done)(ScsiRequest&) noexcept = nullptr;

  ScsiStatus status = ScsiStatus::good;
  /// With check_condition; descriptor format is shorter, and padded with zeros.
  std::array<std::uint8_t, kSenseBytes> sense{};
  std::uint8_t sense_bytes = 0;
  bool overrun = false;  ///< The command wants to move more than the lists hold; nothing was done.
  std::uint64_t moved = 0;  ///< Bytes written to `in`, or taken from `out`.

 private:
  friend class ScsiUnit;
  friend class ScsiDisk;
  friend class ScsiPort;

  /// Some blocks of a disk.
  struct Extent {
    std::uint64_t block = 0, count = 0;
  };
  using Step = void (*)(ScsiRequest&) noexcept;

  ScsiBackend* backend_ = nullptr;
  Step next_ = nullptr;  // after a transfer that succeeded; null: the command has then ended
  bool writing_ = false;
  bool descriptor_sense_ = false;
  std::vector<Extent> extents_;     // what UNMAP still has to do, in bytes
  std::vector<std::byte> pattern_;  // WRITE SAME: as many blocks as are written at a time
  iovec piece_{};                   // of pattern_
  std::uint64_t left_ = 0;          // bytes of WRITE SAME
};

}  // namespace openvhd::scsi
