#include "io_session.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "hex_dump.hpp"
#include "map_walk.hpp"
#include "progress_bar.hpp"
#include "report_map.hpp"
#include "signals.hpp"
#include "size.hpp"
#include "text.hpp"

namespace vhdtool {
namespace {

using openvhd::VirtualOffset;

openvhd::Error stopped() {
  return {.code = openvhd::Errc::cancelled, .where = {}, .what = "stopped on request"};
}

std::string hex(std::span<const std::byte> bytes) {
  std::string out;
  for (const auto byte : bytes) out += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return out;
}

}  // namespace

IoSession::IoSession(openvhd::Disk& disk, Console& console) : disk_{disk}, console_{console} {}

ExitCode IoSession::fail(const openvhd::Error& error, Json& result) {
  const auto failure =
      failure_of(error, {.files = disk_.files(), .notes = {}}, disk_.files().front());
  result["error"] = failure_json(failure);
  console_.error_line(failure_text(failure));
  return exit_code(error.code);
}

ExitCode IoSession::settle(const openvhd::Status& status, Json& result) {
  return status ? ExitCode::ok : fail(status.error(), result);
}

// Before the first byte moves: a command happens in whole or not at all.
openvhd::Status IoSession::within_disk(const IoCommand& command) const {
  const auto size = disk_.geometry().virtual_size;
  if (command.offset <= size && command.length <= size - command.offset) return openvhd::Ok{};
  return openvhd::Error{.code = openvhd::Errc::out_of_range,
                        .where = {std::max(command.offset, size)},
                        .what = "the range reaches beyond the end of the disk"};
}

// Reads all of it, also behind a first mismatch: what does not match is one thing, an error
// another.
ExitCode IoSession::read(const IoCommand& command, Json& result) {
  const std::byte expected{*command.pattern};
  std::uint64_t wrong = 0;
  std::uint64_t first_wrong = 0;
  std::byte found{};
  for (std::uint64_t done = 0; done < command.length;) {
    if (interrupted()) return fail(stopped(), result);
    const auto chunk = std::min<std::uint64_t>(command.length - done, kChunk);
    const std::span<std::byte> into{buffer_.data(), static_cast<std::size_t>(chunk)};
    const auto at = command.offset + done;
    if (const auto status = disk_.read(VirtualOffset{at}, into); !status)
      return fail(status.error(), result);
    for (std::size_t i = 0; i < into.size(); ++i) {
      if (into[i] == expected) continue;
      if (wrong++ != 0) continue;
      first_wrong = at + i;
      found = into[i];
    }
    done += chunk;
  }
  result["matches"] = wrong == 0;
  if (wrong == 0) return ExitCode::ok;
  result["wrong_bytes"] = wrong;
  result["first_wrong"] = first_wrong;
  console_.error_line(fmt::format("{}: {:#x}: read: {:#04x} expected, {:#04x} found; {} in all",
                                  printable(disk_.files().front()), first_wrong, *command.pattern,
                                  std::to_integer<unsigned>(found), counted(wrong, "wrong byte")));
  return ExitCode::different;
}

ExitCode IoSession::show(const IoCommand& command, Json& result) {
  HexDump dump{command.offset};
  std::string data;
  for (std::uint64_t done = 0; done < command.length;) {
    if (interrupted()) return fail(stopped(), result);
    const auto chunk = std::min<std::uint64_t>(command.length - done, kChunk);
    const std::span<std::byte> into{buffer_.data(), static_cast<std::size_t>(chunk)};
    if (const auto status = disk_.read(VirtualOffset{command.offset + done}, into); !status)
      return fail(status.error(), result);
    if (!console_.json()) {
      console_.print(dump.add(into));
    } else if (done < kMaxJsonData) {
      const auto room = static_cast<std::size_t>(kMaxJsonData - done);
      data += hex(into.first(std::min(into.size(), room)));
    }
    done += chunk;
  }
  if (!console_.json()) {
    console_.print(dump.finish());
  } else {
    result["data"] = data;
    result["truncated"] = command.length > kMaxJsonData;
  }
  return ExitCode::ok;
}

ExitCode IoSession::write(const IoCommand& command, Json& result) {
  std::fill(buffer_.begin(), buffer_.end(), std::byte{command.pattern.value_or(kDefaultPattern)});
  for (std::uint64_t done = 0; done < command.length;) {
    if (interrupted()) return fail(stopped(), result);
    const auto chunk = std::min<std::uint64_t>(command.length - done, kChunk);
    const std::span<const std::byte> from{buffer_.data(), static_cast<std::size_t>(chunk)};
    if (const auto status = disk_.write(VirtualOffset{command.offset + done}, from); !status)
      return fail(status.error(), result);
    done += chunk;
  }
  return ExitCode::ok;
}

ExitCode IoSession::map(Json& result) {
  Json extents = Json::array();
  const bool json = console_.json();
  MapMerger merger{json ? MapMerger::By::extent : MapMerger::By::kind, [&](const MapRun& run) {
                     if (json) {
                       extents.push_back(map_entry_json(run.entry));
                     } else {
                       console_.print(map_row(run));
                     }
                   }};
  if (!json) console_.print(map_header());
  ProgressBar bar{"map"};
  const auto status =
      walk_map(disk_, bar, [&](const openvhd::MapEntry& entry) { merger.add(entry); });
  if (!status) return fail(status.error(), result);
  merger.finish();
  if (json) result["extents"] = std::move(extents);
  return ExitCode::ok;
}

ExitCode IoSession::execute(const IoCommand& command, Json& result) {
  using Kind = IoCommand::Kind;
  if (const auto fits = within_disk(command); !fits) return fail(fits.error(), result);
  const VirtualOffset at{command.offset};
  switch (command.kind) {
    case Kind::read:
      return command.pattern ? read(command, result) : show(command, result);
    case Kind::write:
      return write(command, result);
    case Kind::zero:
      return settle(disk_.zero(at, command.length), result);
    case Kind::discard:
      return settle(disk_.trim(at, command.length), result);
    case Kind::flush:
      return settle(disk_.flush(), result);
    case Kind::length:
      result["length"] = disk_.geometry().virtual_size;
      if (!console_.json()) console_.print(fmt::format("{}\n", disk_.geometry().virtual_size));
      break;
    case Kind::map:
      return map(result);
  }
  return ExitCode::ok;
}

ExitCode IoSession::run(const IoCommand& command, const std::string& text) {
  if (buffer_.empty()) buffer_.resize(kChunk);
  Json result = {{"command", text}};
  const auto code = execute(command, result);
  result["exit_code"] = static_cast<int>(code);
  results_.push_back(std::move(result));
  return code;
}

}  // namespace vhdtool
