/// Firmware from the distribution's packages, never a copy of our own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <span>
#include <string>
#include <vector>

namespace openvhd::vmm {

enum class Firmware : std::uint8_t { seabios, ovmf_code, ovmf_vars };

struct FirmwareFile {
  Firmware kind;
  const char* package;                 ///< Debian's name.
  std::span<const char* const> paths;  ///< Where distributions put it, best first.
};
std::span<const FirmwareFile> firmware_files() noexcept;

/// The first path that can be read; empty when there is none.
std::string find_firmware(Firmware kind);

/// The empty variable store that belongs to a firmware, "..._VARS..." beside "..._CODE..."; empty
/// when the name has no CODE in it or there is no such file. Variants of one code share a store.
std::string variables_beside(const std::string& code);

/// Reads a whole regular file of 1 to `limit` bytes. Errors: not_found, denied, io; unsupported
/// (empty, larger, or not a regular file).
Result<std::vector<std::byte>> read_file(const std::string& path, std::uint64_t limit);

}  // namespace openvhd::vmm
