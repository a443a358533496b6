/// A virtual machine from power-on to its end: memory, processors and their threads, board, disks.
#pragma once

#include <atomic>
#include <latch>
#include <memory>
#include <mutex>
#include <openvhd/disk.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "chipset/lines.hpp"
#include "devices/queue_block.hpp"
#include "devices/scsi_controller.hpp"
#include "kvm/host.hpp"
#include "kvm/vcpu.hpp"
#include "machine/board.hpp"
#include "machine/vm_parts.hpp"

namespace openvhd::vmm {

/// A drive: the Disk is the caller's, open as the guest shall have it, and outlives the machine.
struct Drive {
  Disk* disk = nullptr;
  bool cd = false;
  bool scsi = false;  ///< Else IDE.
  std::string serial;
};

/// What is loaded instead of firmware, or the firmware.
struct Boot {
  std::vector<std::byte> firmware;     ///< Empty with a kernel.
  VariableStore* variables = nullptr;  ///< Flash below the firmware, or none; outlives the machine.
  std::vector<std::byte> kernel;
  std::vector<std::byte> initrd;
  std::string command_line;
};

struct MachineShape {
  Generation generation{};
  std::uint64_t memory_bytes = 0;
  bool huge_pages = false;
  std::uint32_t processors = 1;
  std::string name;
  std::vector<Drive> drives;  ///< Up to 4 on IDE, none in Generation 2; up to 64 on SCSI.
};

/// Where a guest's text goes.
struct Outputs {
  ByteSink& serial;
  ByteSink& firmware_log;
};

class Machine : private MachineEvents {
  struct Key {};

 public:
  static constexpr std::uint32_t kMaxProcessors = 64;
  enum class End : std::uint8_t { power_off, reset, panic, triple_fault, stuck, stopped };
  struct Outcome {
    End end{};
    std::string detail{};  ///< stuck: what happened, on one line.
  };

  /// All arguments outlive it. Errors: those of memory, KVM, queues and loading.
  static Result<std::unique_ptr<Machine>> create(const KvmHost& host, const MachineShape& shape,
                                                 const Boot& boot, const Outputs& outputs);
  Machine(Key, Vm vm, GuestMemory memory, PageBuffer rom, Fd ended) noexcept;
  ~Machine() override;

  /// Starts the processors' threads. Once.
  void start();
  /// Readable when the machine has ended.
  int ended_descriptor() const noexcept { return ended_.get(); }
  /// Ends the machine from outside. Thread: any.
  void stop() noexcept;
  /// After it has ended or been stopped: waits for all threads and requests.
  Outcome finish();

  /// Thread: any.
  void press_power_button() noexcept;
  /// How many bytes the guest's serial port takes now, and giving them to it.
  std::size_t serial_space() noexcept;
  void serial_input(std::span<const std::byte> bytes) noexcept;

 private:
  Status add_ide(const MachineShape& shape);
  Status add_scsi(const MachineShape& shape);
  Status add_flash(const Boot& boot);
  Status add_processors(const KvmHost& host, const MachineShape& shape, const Boot& boot);
  Status load(const Boot& boot, Vcpu& first);
  void request(MachineEvent event) noexcept override;
  void end(End end, const std::string& detail) noexcept;
  void run_processor(std::size_t index) noexcept;
  bool serve(const Exit& exit) noexcept;
  void serve_port(const Exit& exit) noexcept;
  void serve_memory(const Exit& exit) noexcept;
  void kick_all() noexcept;

  std::mutex lock_;  // of the board, its devices and the outcome
  Vm vm_;
  GuestMemory memory_;
  MemoryMap map_;
  Fd ended_;
  std::optional<Board> board_;
  std::optional<VmFlash> flash_;
  VmMessages messages_{vm_};
  std::optional<VmDoorbell> doorbell_;
  std::unique_ptr<ScsiController> scsi_;
  std::vector<std::unique_ptr<QueueBlock>> blocks_;
  std::vector<Vcpu> vcpus_;
  std::vector<std::thread> threads_;
  std::optional<std::latch> all_started_, all_ended_;
  std::atomic<bool> stopping_ = false;
  std::optional<Outcome> outcome_;
};

}  // namespace openvhd::vmm
