// Any commands with any data, to a disk and a CD, with completions now or later and with failures:
// each ends exactly once, none moves more than its lists hold, and none reaches beyond the disk.
#include <cstdint>
#include <cstdlib>

#include "memory_backend.hpp"
#include "scsi_cd.hpp"
#include "scsi_disk.hpp"
#include "scsi_target.hpp"

namespace {

using namespace openvhd;
using namespace openvhd::scsi;

struct Command : ScsiRequest {
  unsigned ends = 0;
  std::vector<std::byte> bytes;
  std::array<iovec, 2> pieces{};
};

void ended(ScsiRequest& request) noexcept {
  auto& command = static_cast<Command&>(request);
  ++command.ends;
  std::uint64_t room = 0;
  for (const auto& piece : command.pieces) room += piece.iov_len;
  if (command.moved > room) std::abort();
  if (command.status == ScsiStatus::check_condition && command.sense_bytes == 0) std::abort();
}

struct Input {
  std::span<const std::uint8_t> rest;
  std::uint8_t next() {
    if (rest.empty()) return 0;
    const auto byte = rest.front();
    rest = rest.subspan(1);
    return byte;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input{{data, size}};
  const auto shape = input.next();
  test::MemoryBackend backend{256 << 10};
  test::MemoryBackend disc{32 * 2048};
  ScsiTarget target;
  static_cast<void>(target.attach(
      0, std::make_unique<ScsiDisk>(ScsiIdentity{.serial = "S"},
                                    DiskShape{.bytes = backend.bytes.size(),
                                              .logical_block = (shape & 1) != 0 ? 4096U : 512U,
                                              .physical_block = 4096,
                                              .allocation_unit = 32768,
                                              .writable = (shape & 2) == 0,
                                              .thin = (shape & 4) == 0})));
  static_cast<void>(target.attach(1, std::make_unique<ScsiCd>(ScsiIdentity{}, disc.bytes.size())));
  ScsiPort port{target};
  port.connect(0, backend);
  port.connect(1, disc);
  std::vector<std::unique_ptr<Command>> commands;
  while (!input.rest.empty() && commands.size() < 64) {
    commands.push_back(std::make_unique<Command>());
    auto& command = *commands.back();
    const auto how = input.next();
    command.lun = how & 3;
    const auto length = input.next() & 31U;
    for (unsigned i = 0; i < length; ++i) command.cdb.at(i) = input.next();
    // A parameter list comes from the input, blocks of data are all the same.
    command.bytes.resize(static_cast<std::size_t>(input.next()) << (how & 0x0c));
    for (std::size_t i = 0; i < std::min<std::size_t>(command.bytes.size(), 64); ++i)
      command.bytes[i] = static_cast<std::byte>(input.next());
    const auto half = command.bytes.size() / 3;
    command.pieces = {iovec{command.bytes.data(), half},
                      iovec{command.bytes.data() + half, command.bytes.size() - half}};
    command.done = ended;
    ((how & 0x10) != 0 ? command.in : command.out) = command.pieces;
    if ((how & 0x20) != 0) backend.failure = Error{.code = static_cast<Errc>(how % 15)};
    if ((how & 0x60) == 0x60) backend.refusal = backend.failure;
    port.execute(command);
    if ((how & 0x80) == 0) {
      backend.run();
      disc.run();
      backend.failure = backend.refusal = {};
    }
  }
  backend.run();
  disc.run();
  for (const auto& command : commands)
    if (command->ends != 1) std::abort();
  return 0;
}
