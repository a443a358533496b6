/// What every logical unit answers, whatever it is: identity, readiness, sense, unit attentions
/// (SPC-4). Missing: persistent reservations, ALUA, logs, self-tests.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "scsi_request.hpp"

namespace openvhd::scsi {

/// Who a unit says it is.
struct ScsiIdentity {
  std::string vendor = "Msft";           ///< Up to 8 printable characters.
  std::string product = "Virtual Disk";  ///< Up to 16.
  std::string serial;                    ///< Printable, up to 36: VPD page 80h.
  std::array<std::uint8_t, 16> naa{};    ///< Unique and stable: VPD page 83h, NAA 6.
};

/// Requests of several threads may be under way; what they share is atomic.
class ScsiUnit {
 public:
  explicit ScsiUnit(ScsiIdentity identity) : identity_{std::move(identity)} {}
  virtual ~ScsiUnit() = default;
  ScsiUnit(const ScsiUnit&) = delete;
  ScsiUnit& operator=(const ScsiUnit&) = delete;

  /// Ends in `request.done`, perhaps before it returns.
  void execute(ScsiRequest& request) noexcept;
  /// The next command but INQUIRY, REPORT LUNS and REQUEST SENSE fails with this, once.
  void raise_attention(Sense sense) noexcept;

 protected:
  enum class Served : std::uint8_t { yes, unknown };
  /// A command that is not common to all; `yes` when it ends, or will end, the request.
  virtual Served serve(ScsiRequest& request) noexcept = 0;
  virtual void inquiry(ScsiRequest& request) noexcept = 0;
  /// A page of vital product data, its header included; empty: there is none.
  virtual std::vector<std::uint8_t> product_data(std::uint8_t page) noexcept = 0;
  /// A command that serve() knows.
  struct Known {
    std::uint8_t opcode;
    std::uint8_t cdb_bytes;
    std::int8_t action = -1;  ///< Service action; -1: has none.
  };
  virtual std::vector<Known> known() const = 0;

  const ScsiIdentity& identity() const noexcept { return identity_; }
  std::vector<std::uint8_t> serial_page() const;
  std::vector<std::uint8_t> identification_page(std::uint8_t device_type) const;
  /// The 36 bytes that all units have in common; `third` is byte 3 of them.
  void standard_inquiry(ScsiRequest& request, std::uint8_t device_type, bool removable) noexcept;

 public:
  // How any request ends.
  static void end(ScsiRequest& request) noexcept;
  static void fail(ScsiRequest& request, Sense sense) noexcept;
  static void overrun(ScsiRequest& request) noexcept;
  /// Copies to the initiator what it has allocated room for, and ends the request.
  static void reply(ScsiRequest& request, std::span<const std::uint8_t> bytes,
                    std::uint64_t allocated) noexcept;

 protected:
  /// The first `bytes.size()` bytes of what the initiator sent; false: it sent fewer.
  static bool take(ScsiRequest& request, std::span<std::byte> bytes) noexcept;

  /// A transfer between the initiator's pages and the disk; ends the request. `bytes`: whole
  /// sectors of the disk.
  struct Transfer {
    bool writing = false, durable = false;
    std::uint64_t at = 0, bytes = 0;
  };
  static constexpr std::uint64_t kMostTransfer = 0x7fff'ffff;  ///< Bytes: what a queue takes.
  static void move(ScsiRequest& request, const Transfer& transfer) noexcept;
  /// Any request of the disk: `next` runs when it has succeeded, or the command ends well.
  static void start(ScsiRequest& request, ScsiBackend::Kind kind, ScsiRequest::Step next) noexcept;

  /// D_SENSE of the control mode page: how commands that fail say why.
  std::atomic<bool> descriptor_sense_ = false;

 private:
  static void arrived(IoRequest& io, Status status) noexcept;
  void report_opcodes(ScsiRequest& request) noexcept;
  void request_sense(ScsiRequest& request) noexcept;
  Sense take_attention() noexcept;

  ScsiIdentity identity_;
  std::atomic<std::uint32_t> attention_ = 0;  // key, code, qualifier
};

/// Fields of a CDB, most significant byte first.
inline std::uint64_t big_endian(const ScsiRequest& request, std::size_t at,
                                std::size_t width) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < width; ++i) value = value << 8 | request.cdb.at(at + i);
  return value;
}
void put_big_endian(std::span<std::uint8_t> to, std::size_t at, std::uint64_t value,
                    std::size_t width) noexcept;

}  // namespace openvhd::scsi
