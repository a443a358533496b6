#include "control/run_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/checked.hpp"
#include "memory/guest_memory.hpp"

namespace openvhd::vmm {
namespace {

// At commas; two of them are one that belongs to the text.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += ',';
      ++i;
    } else {
      parts.emplace_back();
    }
  }
  return parts;
}

std::string bus_problem(const std::string& value) {
  if (value == "ide" || value == "scsi") return {};
  return fmt::format("--disk: no bus '{}': ide or scsi", value);
}

std::string serial_problem(const std::string& value) {
  const bool good = !value.empty() && value.size() <= 20 &&
                    std::ranges::all_of(value, [](char c) { return c > 0x20 && c < 0x7f; });
  return good ? "" : "--disk: serial= takes 1 to 20 printable characters without blanks";
}

}  // namespace

Parsed<std::uint64_t> parse_memory(const std::string& text) {
  std::uint64_t number = 0;
  const auto* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const std::string unit{rest, end};
  const std::uint64_t scale = unit.empty()                   ? 1
                              : unit == "M" || unit == "MiB" ? kMiB
                              : unit == "G" || unit == "GiB" ? kGiB
                                                             : 0;
  const auto bytes = checked_mul(number, scale);
  if (error != std::errc{} || scale == 0 || !bytes)
    return {.problem = fmt::format("--memory: '{}' is not a size such as 512M or 2G", text)};
  if (*bytes < kMinMemory || *bytes > kMaxMemory || !is_multiple(*bytes, 2 * kMiB))
    return {.problem = "--memory: 4M to 1024G, a multiple of 2M"};
  return {.value = *bytes};
}

Parsed<DiskOption> parse_disk(const std::string& text) {
  const auto parts = split(text);
  DiskOption disk;
  disk.path = parts[0];
  if (disk.path.empty()) return {.problem = "--disk: the image's name is missing"};
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto& part = parts[i];
    const auto equals = part.find('=');
    const auto key = part.substr(0, equals);
    const auto value = equals == std::string::npos ? std::string{} : part.substr(equals + 1);
    std::string problem;
    if (part == "readonly") {
      disk.read_only = true;
    } else if (key == "bus") {
      disk.bus = value;
      problem = bus_problem(value);
    } else if (key == "cache") {
      disk.direct = value == "direct";
      if (!disk.direct && value != "writeback")
        problem = fmt::format("--disk: no cache '{}': direct or writeback", value);
    } else if (key == "serial") {
      disk.serial = value;
      problem = serial_problem(value);
    } else {
      problem = fmt::format("--disk: no '{}': bus=, readonly, cache=, serial=", part);
    }
    if (!problem.empty()) return {.problem = problem};
  }
  return {.value = disk};
}

std::string bus_of(const RunOptions& options, const DiskOption& disk) {
  if (!disk.bus.empty()) return disk.bus;
  return options.generation == 1 ? "ide" : "scsi";
}

namespace {

std::string drive_contradiction(const RunOptions& options) {
  std::size_t ide = 0, scsi = 0;
  for (const auto& disk : options.disks) ++(bus_of(options, disk) == "ide" ? ide : scsi);
  if (options.generation == 2 && ide > 0)
    return "--disk: Generation 2 has no IDE; leave out bus=ide";
  if (!options.cdrom.empty()) ++(options.generation == 1 ? ide : scsi);
  if (ide > 4) return "--disk, --cdrom: IDE has room for 4 drives";
  if (scsi > 64) return "--disk, --cdrom: SCSI has room for 64 drives";
  return {};
}

}  // namespace

std::string contradiction(const RunOptions& options) {
  if (options.generation != 1 && options.generation != 2) return "--generation: 1 or 2";
  if (auto drives = drive_contradiction(options); !drives.empty()) return drives;
  if (!options.vars.empty() && (options.generation == 1 || !options.kernel.empty()))
    return "--vars: only Generation 2's firmware keeps variables";
  if (!options.kernel.empty() && !options.firmware.empty())
    return "--kernel boots without firmware: leave out --firmware";
  if (options.kernel.empty() && !options.initrd.empty()) return "--initrd needs --kernel";
  if (options.kernel.empty() && !options.append.empty()) return "--append needs --kernel";
  if (options.processors == 0 || options.processors > 64) return "--cpus: 1 to 64";
  const auto& serial = options.serial;
  if (serial != "stdio" && serial != "none" && !(serial.starts_with("file:") && serial.size() > 5))
    return serial.starts_with("unix:") ? "--serial: unix: is not served yet; use file:PATH"
                                       : "--serial: stdio, file:PATH or none";
  return {};
}

}  // namespace openvhd::vmm
