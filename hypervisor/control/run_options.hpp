/// What `vhdvmm run` was asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace openvhd::vmm {

struct DiskOption {
  std::string path;
  std::string serial;
  std::string bus;  ///< "ide", "scsi"; empty: what the generation has.
  bool read_only = false;
  bool direct = true;  ///< cache=direct; else cache=writeback.
};

struct RunOptions {
  unsigned generation = 1;
  std::uint64_t memory_bytes = 256ULL << 20;
  bool huge_pages = false;
  std::uint32_t processors = 1;
  std::vector<DiskOption> disks;
  std::string cdrom, kernel, initrd, append, firmware, vars, name, firmware_log;
  std::string serial = "stdio";  ///< Or "file:PATH", "none".
  bool exit_on_reset = false;
};

/// Either a value, or why not: one line that names the option.
template <class T>
struct Parsed {
  std::optional<T> value{};
  std::string problem{};
};

/// "512M", "2G", "1048576": bytes, units of 1024.
Parsed<std::uint64_t> parse_memory(const std::string& text);
/// "IMAGE[,bus=ide|scsi][,readonly][,cache=direct|writeback][,serial=S]". A comma in a name is
/// written twice.
Parsed<DiskOption> parse_disk(const std::string& text);
/// Which bus a drive is on: "ide" or "scsi".
std::string bus_of(const RunOptions& options, const DiskOption& disk);
/// What contradicts what; empty when nothing does.
std::string contradiction(const RunOptions& options);

}  // namespace openvhd::vmm
