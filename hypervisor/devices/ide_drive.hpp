/// What ATA disks and ATAPI drives have in common: the task file, data in pieces through the data
/// register or by bus mastering, resets (ATA/ATAPI-7, volumes 1 and 2).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "devices/block.hpp"

namespace openvhd::vmm {

/// The channel a drive hangs on.
class IdeChannelSide {
 public:
  virtual ~IdeChannelSide() = default;
  /// The drive asserts INTRQ.
  virtual void interrupt() noexcept = 0;
  /// The drive's state allows a bus-master transfer now.
  virtual void dma_wanted() noexcept = 0;
  /// The transfer that run_dma() began is over.
  virtual void dma_ended(bool good) noexcept = 0;
};

class IdeDrive {
 public:
  static constexpr std::size_t kSector = 512;
  static constexpr std::size_t kBufferBytes = 32 * 1024;

  virtual ~IdeDrive() = default;

  void attach(IdeChannelSide& channel) noexcept { channel_ = &channel; }

  /// Task-file registers 1 to 6; `previous` reads what was there before the last write.
  std::uint8_t read_register(unsigned index, bool previous) const noexcept;
  /// Both drives of a channel see a write.
  void write_register(unsigned index, std::uint8_t value) noexcept;
  void command(std::uint8_t code) noexcept;
  std::uint8_t status() const noexcept { return status_; }
  /// A piece of the data register's stream; 0 when the drive has nothing to say.
  std::uint32_t read_data(std::uint32_t width) noexcept;
  void write_data(std::uint32_t value, std::uint32_t width) noexcept;
  /// SRST or DEVICE RESET. A transfer under way is awaited first: the drive is busy until then.
  void reset() noexcept;

  /// Bytes that wait for a bus-master transfer; 0: none does.
  std::uint64_t dma_bytes() const noexcept;
  bool dma_to_memory() const noexcept { return to_memory_; }
  /// `pieces` hold dma_bytes() in total and stay until dma_ended().
  void run_dma(std::span<const iovec> pieces) noexcept;
  /// The guest's list of pieces cannot be used.
  void refuse_dma() noexcept;

 protected:
  enum class Phase : std::uint8_t { idle, busy, data_in, data_out, packet, dma_wait, dma_run };
  enum StatusBit : std::uint8_t {
    kErr = 0x01,
    kDrq = 0x08,
    kSeek = 0x10,
    kReady = 0x40,
    kBusy = 0x80
  };

  explicit IdeDrive(Block& block) noexcept;

  virtual void execute(std::uint8_t code) noexcept = 0;
  virtual void signature() noexcept = 0;
  /// A packet of 12 bytes has come.
  virtual void packet_arrived() noexcept {}
  /// All data has moved.
  virtual void completed() noexcept = 0;
  virtual void failed(const Error& error) noexcept = 0;
  /// What the register file shows while a piece of data waits.
  virtual void piece_waits(std::size_t) noexcept {}

  /// How a transfer runs.
  struct Plan {
    bool to_memory = true;
    bool dma = false;
    VirtualOffset at{};
    std::uint64_t bytes = 0;
    std::size_t load = kSector;   ///< Bytes fetched at a time, up to kBufferBytes.
    std::size_t piece = kSector;  ///< Bytes between two interrupts, up to `load`.
    bool durable = false;
  };
  void transfer(const Plan& plan) noexcept;
  /// What is in buffer() goes to the guest.
  void reply(std::size_t bytes, std::size_t piece, bool dma) noexcept;
  void want_packet() noexcept;
  void flush() noexcept;
  void end(std::uint8_t status, std::uint8_t error) noexcept;
  /// The same without an interrupt.
  void settle(std::uint8_t status) noexcept;
  void interrupt() noexcept;

  std::span<std::byte> buffer() noexcept { return buffer_; }
  Block& block() noexcept { return *block_; }

  struct TaskFile {
    std::uint8_t feature = 0, count = 0, low = 0, mid = 0, high = 0, device = 0;
  };
  TaskFile now_{}, previous_{};
  std::uint8_t error_ = 0;

 private:
  struct Request : BlockRequest {
    IdeDrive* drive = nullptr;
  };
  static void done(BlockRequest& request, Status status) noexcept;
  void submit(BlockRequest::Kind kind, std::span<const iovec> buffers) noexcept;
  void arrived(const Status& status) noexcept;
  void load_next() noexcept;
  void show_piece() noexcept;
  void ask_piece(bool interrupts) noexcept;
  void piece_read() noexcept;
  void finish_reset() noexcept;

  IdeChannelSide* channel_ = nullptr;
  Block* block_;
  std::vector<std::byte> buffer_;
  Request request_{};
  iovec own_{};  // buffer_, as a list of pieces
  Phase phase_ = Phase::idle;
  std::uint8_t status_ = kReady | kSeek;
  bool in_flight_ = false;
  bool resetting_ = false;
  bool to_memory_ = true;
  bool replying_ = false;  // from buffer_, not from the block
  Plan plan_{};
  std::size_t position_ = 0, piece_end_ = 0, filled_ = 0;
};

}  // namespace openvhd::vmm
