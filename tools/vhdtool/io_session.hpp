/// Runs the commands of `vhdtool io` on an open disk.
#pragma once

#include <cstddef>
#include <openvhd/disk.hpp>
#include <span>
#include <string>
#include <vector>

#include "console.hpp"
#include "io_command.hpp"
#include "json.hpp"

namespace vhdtool {

class IoSession {
 public:
  /// All borrowed. Under --json the results are collected for results().
  IoSession(openvhd::Disk& disk, Console& console);

  /// Ok, different (a pattern did not match; work may go on), or what the failure asks for, after
  /// saying so.
  ExitCode run(const IoCommand& command, const std::string& text);

  Json take_results() { return std::move(results_); }

 private:
  static constexpr std::size_t kChunk = 1024 * 1024;
  static constexpr std::size_t kMaxJsonData = 64 * 1024;

  ExitCode execute(const IoCommand& command, Json& result);
  /// Refuses a range that reaches beyond the disk; the error is about the first byte that does.
  openvhd::Status within_disk(const IoCommand& command) const;
  ExitCode read(const IoCommand& command, Json& result);
  ExitCode show(const IoCommand& command, Json& result);
  ExitCode write(const IoCommand& command, Json& result);
  ExitCode map(Json& result);
  ExitCode settle(const openvhd::Status& status, Json& result);
  ExitCode fail(const openvhd::Error& error, Json& result);

  openvhd::Disk& disk_;
  Console& console_;
  std::vector<std::byte> buffer_;
  Json results_ = Json::array();
};

}  // namespace vhdtool
