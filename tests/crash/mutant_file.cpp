#include "crash/mutant_file.hpp"

#include <algorithm>
#include <cstring>

#include "base/checked.hpp"
#include "crash/verify/bytes.hpp"

namespace openvhd::test {
namespace {

using Kind = IoCommand::Kind;
using Phase = Surroundings::Phase;

constexpr std::uint64_t kFirstHeader = 64 * kKiB;
constexpr std::uint64_t kSecondHeader = 128 * kKiB;
constexpr std::size_t kHeaderBytes = 4096;

std::vector<std::byte> gathered(const IoCommand& command) {
  std::vector<std::byte> out;
  for (const iovec& piece : command.buffers) {
    const auto* from = static_cast<const std::byte*>(piece.iov_base);
    out.insert(out.end(), from, from + piece.iov_len);
  }
  return out;
}

void put_number(std::span<std::byte> at, std::uint64_t value) {
  for (std::byte& byte : at) {
    byte = static_cast<std::byte>(value & 0xff);
    value >>= 8;
  }
}

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::create:
      return "create";
    case Phase::run:
      return "run";
    case Phase::recover:
      return "recover";
  }
  return "";
}

}  // namespace

MutantFile::MutantFile(std::unique_ptr<File> below, const Shape& shape, Phase phase,
                       const Mutant* mutant, Seen seen, Parts unsynced)
    : below_{std::move(below)},
      shape_{shape},
      phase_{phase},
      mutant_{mutant},
      seen_{std::move(seen)},
      unsynced_{std::move(unsynced)} {}

/// As create() lays images out: VHDX log at 1 MiB, metadata, table; VHD header at 512, table.
const char* MutantFile::part_of(const IoCommand& command) const {
  const std::uint64_t at = command.at.value;
  if (command.kind == Kind::set_size || command.kind == Kind::reserve) return "size";
  if (shape_.format == Format::vhdx) {
    if (at < kFirstHeader) return "identifier";
    if (at < 192 * kKiB) return "header";
    if (at < kMiB) return "regions";
    if (at < kMiB + shape_.log_bytes) return "log";
    if (at < 2 * kMiB + shape_.log_bytes) return "metadata";
    if (at < 3 * kMiB + shape_.log_bytes) return "table";
    return "blocks";
  }
  if (at == 0 && shape_.type != DiskType::fixed) return "copy";
  if (command.kind == Kind::write && command.length == 512) {
    const auto bytes = gathered(command);
    if (verify::spells(bytes, 0, "conectix")) return "footer";
  }
  if (shape_.type == DiskType::fixed) return "blocks";
  const std::uint64_t table_bytes =
      align_up(div_ceil(shape_.virtual_size, shape_.block_size) * 4, 512);
  if (at < 512 + 1024) return "structures";
  return at < 1536 + table_bytes ? "table" : "blocks";
}

bool MutantFile::is(Mutant::Kind kind, const std::string& step) const {
  return mutant_ != nullptr && mutant_->kind == kind && mutant_->what == step;
}

std::int32_t MutantFile::below(const IoCommand& command) {
  const std::int32_t result = below_->execute(command);
  if (sync_is_late_ && command.kind != Kind::read) {
    sync_is_late_ = false;
    below_->execute({.kind = Kind::sync});
  }
  return result;
}

std::int32_t MutantFile::sync(const IoCommand& command) {
  std::string step = std::string{to_string(shape_.format)} + ' ' + name_of(phase_) + ':';
  for (const std::string& part : *unsynced_) step += ' ' + part;
  if (unsynced_->empty()) step += " nothing";
  unsynced_->clear();
  if (seen_) seen_(step, true);
  if (is(Mutant::Kind::drop_sync, step)) return 0;
  if (is(Mutant::Kind::late_sync, step)) {
    sync_is_late_ = true;
    return 0;
  }
  return below(command);
}

std::int32_t MutantFile::write(IoCommand command) {
  const std::string part = part_of(command);
  if (command.durable) {
    const std::string step =
        std::string{to_string(shape_.format)} + ' ' + name_of(phase_) + ": " + part;
    if (seen_) seen_(step, false);
    if (is(Mutant::Kind::plain_write, step)) command.durable = false;
  }
  if (!command.durable) unsynced_->insert(part);
  const bool header = part == "header";
  if (mutant_ == nullptr || phase_ == Phase::create || (!header && part != "log"))
    return below(command);
  auto bytes = gathered(command);
  const iovec piece{bytes.data(), bytes.size()};
  IoCommand changed = command;
  changed.buffers = {&piece, 1};
  switch (mutant_->kind) {
    case Mutant::Kind::one_header:
      if (header) changed.at = {kFirstHeader};
      break;
    case Mutant::Kind::no_checksum:
      if (mutant_->what == part && !verify::spells(bytes, 0, "data"))
        put_number(std::span{bytes}.subspan(4, 4), 0);
      break;
    case Mutant::Kind::flushed_too_far:
      if (verify::spells(bytes, 0, "loge")) {
        put_number(std::span{bytes}.subspan(48, 8),
                   verify::little<std::uint64_t>(bytes, 56) + kMiB);
        put_number(std::span{bytes}.subspan(4, 4), verify::crc32c_of(bytes, 4));
      }
      break;
    default:
      break;
  }
  return below(changed);
}

std::int32_t MutantFile::execute(const IoCommand& command) noexcept {
  const bool one_header = mutant_ != nullptr && mutant_->kind == Mutant::Kind::one_header;
  switch (command.kind) {
    case Kind::sync:
      return sync(command);
    case Kind::write:
      return write(command);
    case Kind::read:
      // The copy that was overwritten is the one that is current.
      if (one_header && phase_ == Phase::run && command.at.value == kSecondHeader &&
          command.length == kHeaderBytes) {
        IoCommand moved = command;
        moved.at = {kFirstHeader};
        return below(moved);
      }
      return below(command);
    default: {
      const std::int32_t result = below(command);
      if (result >= 0) unsynced_->insert(part_of(command));
      return result;
    }
  }
}

void reseal(MemoryStore& store, bool headers) {
  const auto seal = [&](std::uint64_t at, std::size_t length, const char* signature) {
    std::vector<std::byte> bytes(length);
    if (store.read(at, bytes) != length || !verify::spells(bytes, 0, signature)) return;
    const std::uint32_t crc = verify::crc32c_of(bytes, 4);
    put_number(std::span{bytes}.subspan(4, 4), crc);
    store.write(at, std::span{bytes}.first(4096));
  };
  if (headers) {
    for (const std::uint64_t at : {kFirstHeader, kSecondHeader}) seal(at, kHeaderBytes, "head");
    return;
  }
  for (std::uint64_t at = kMiB; at < 2 * kMiB; at += 4096) {
    std::array<std::byte, 16> start{};
    if (store.read(at, start) != start.size() || !verify::spells(start, 0, "loge")) continue;
    const auto length = verify::little<std::uint32_t>(start, 8);
    if (length % 4096 == 0 && length > 0 && at + length <= 2 * kMiB) seal(at, length, "loge");
  }
}

}  // namespace openvhd::test
