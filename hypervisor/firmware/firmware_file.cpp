#include "firmware/firmware_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/fd.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::array kSeabios = {"/usr/share/seabios/bios-256k.bin",
                                 "/usr/share/qemu/bios-256k.bin"};
constexpr std::array kOvmfCode = {"/usr/share/OVMF/OVMF_CODE_4M.fd",
                                  "/usr/share/OVMF/OVMF_CODE.fd"};
constexpr std::array kOvmfVars = {"/usr/share/OVMF/OVMF_VARS_4M.fd",
                                  "/usr/share/OVMF/OVMF_VARS.fd"};
constexpr std::array kFiles = {
    FirmwareFile{Firmware::seabios, "seabios", kSeabios},
    FirmwareFile{Firmware::ovmf_code, "ovmf", kOvmfCode},
    FirmwareFile{Firmware::ovmf_vars, "ovmf", kOvmfVars},
};

Error failed(const char* what) noexcept {
  Error error{.code = Errc::io, .sys_errno = errno, .what = what};
  if (errno == ENOENT) error.code = Errc::not_found;
  if (errno == EACCES || errno == EPERM) error.code = Errc::denied;
  return error;
}

}  // namespace

std::span<const FirmwareFile> firmware_files() noexcept { return kFiles; }

std::string find_firmware(Firmware kind) {
  for (const auto& file : kFiles) {
    if (file.kind != kind) continue;
    for (const char* path : file.paths)
      if (::access(path, R_OK) == 0) return path;
  }
  return {};
}

std::string variables_beside(const std::string& code) {
  const auto slash = code.rfind('/');
  const auto word = code.find("CODE", slash == std::string::npos ? 0 : slash);
  if (word == std::string::npos) return {};
  auto path = code;
  path.replace(word, 4, "VARS");
  if (::access(path.c_str(), R_OK) == 0) return path;
  // OVMF_CODE_4M.secboot.fd has its variables in OVMF_VARS_4M.fd.
  const auto dot = path.find('.', word);
  const auto last = path.rfind('.');
  if (dot == std::string::npos || dot == last) return {};
  path.erase(dot, last - dot);
  return ::access(path.c_str(), R_OK) == 0 ? path : std::string{};
}

Result<std::vector<std::byte>> read_file(const std::string& path, std::uint64_t limit) {
  // A FIFO must not make us wait for its writer.
  const Fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!file) return failed("open");
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return failed("fstat");
  if (!S_ISREG(status.st_mode)) return Error{.code = Errc::unsupported, .what = "not a file"};
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size == 0) return Error{.code = Errc::unsupported, .what = "the file is empty"};
  if (size > limit)
    return Error{.code = Errc::unsupported, .what = "the file is larger than it may be"};
  std::vector<std::byte> bytes(size);
  for (std::size_t at = 0; at < bytes.size();) {
    const auto got =
        ::pread(file.get(), bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read");
    if (got == 0) return Error{.code = Errc::io, .what = "the file shrank while it was read"};
    at += static_cast<std::size_t>(got);
  }
  return bytes;
}

}  // namespace openvhd::vmm
