#include "control/run.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <list>

#include "firmware/firmware_file.hpp"
#include "firmware/variable_store.hpp"
#include "machine/machine.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::uint64_t kMaxFirmware = 4 << 20, kMaxKernel = 512ULL << 20, kMaxInitrd = 2ULL << 30;

/// Writes all; where the other end is gone, or full, what a guest prints is lost and the guest
/// goes on.
class FileSink : public ByteSink {
 public:
  explicit FileSink(int fd) noexcept : fd_{fd} {}
  void put(std::span<const std::byte> bytes) noexcept override {
    while (fd_ >= 0 && !bytes.empty()) {
      const auto done = ::write(fd_, bytes.data(), bytes.size());
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) return;
      bytes = bytes.subspan(static_cast<std::size_t>(done));
    }
  }

 private:
  int fd_;
};

ExitCode fail(const std::string& option, const std::string& reason, ExitCode code) {
  fmt::print(stderr, "vhdvmm: {}: {}\n", option, reason);
  return code;
}

ExitCode fail(const std::string& option, const Error& error, const std::string& file) {
  return fail(option, describe(error, file), exit_code(error.code));
}

struct Opened {
  std::list<Disk> disks;  // a list: drives point into it
  MachineShape shape;
  Boot boot;
  std::optional<VariableStore> variables;
  Fd serial, firmware_log;
};

ExitCode open_drive(Opened& opened, const DiskOption& option, bool cd, bool scsi) {
  OpenReport report;
  OpenOptions how{.access = option.read_only ? Access::read_only : Access::read_write,
                  .direct = option.direct,
                  .report = &report};
  // A disc is nothing but bytes, and says so by no signature that an image has.
  if (cd) how.format = Format::raw;
  auto disk = Disk::open(option.path, how);
  const char* name = cd ? "--cdrom" : "--disk";
  if (!disk) {
    const auto layer = disk.error().layer;
    return fail(name, disk.error(),
                layer < report.files.size() ? report.files[layer] : option.path);
  }
  for (const auto& note : report.notes) fmt::print(stderr, "vhdvmm: {}: {}\n", name, note);
  opened.disks.push_back(*std::move(disk));
  // A SCSI disk without one has that of its image.
  const auto serial = !option.serial.empty() || scsi
                          ? option.serial
                          : fmt::format("OVHD{:04}", opened.disks.size());
  opened.shape.drives.push_back(
      {.disk = &opened.disks.back(), .cd = cd, .scsi = scsi, .serial = serial});
  return ExitCode::ok;
}

ExitCode load_file(const char* option, const std::string& path, std::uint64_t limit,
                   std::vector<std::byte>& into) {
  if (path.empty()) return ExitCode::ok;
  auto bytes = read_file(path, limit);
  if (!bytes) return fail(option, bytes.error(), path);
  into = *std::move(bytes);
  return ExitCode::ok;
}

ExitCode open_output(const char* option, const std::string& path, Fd& into) {
  into = Fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
  if (into) return ExitCode::ok;
  return fail(option, Error{.code = Errc::io, .sys_errno = errno, .what = "open"}, path);
}

ExitCode open_firmware(const RunOptions& options, Opened& opened) {
  const bool first = options.generation == 1;
  auto path = options.firmware;
  if (path.empty()) path = find_firmware(first ? Firmware::seabios : Firmware::ovmf_code);
  if (path.empty())
    return fail("--firmware",
                fmt::format("{} was not found: apt-get install {}, or name a file",
                            first ? "SeaBIOS" : "OVMF", first ? "seabios" : "ovmf"),
                ExitCode::not_found);
  const auto code = load_file("--firmware", path, kMaxFirmware, opened.boot.firmware);
  if (code != ExitCode::ok || first) return code;
  const auto empty = variables_beside(path);
  if (empty.empty()) {
    if (options.vars.empty()) return code;  // one file for both: variables are lost at a reset
    return fail("--vars",
                fmt::format("{} has no empty store beside it (OVMF_VARS for OVMF_CODE)", path),
                ExitCode::not_found);
  }
  std::vector<std::byte> initial;
  if (const auto read = load_file("--firmware", empty, kMaxFirmware, initial); read != ExitCode::ok)
    return read;
  auto store = options.vars.empty() ? VariableStore::in_memory(initial)
                                    : VariableStore::open(options.vars, initial);
  if (!store) return fail("--vars", store.error(), options.vars.empty() ? empty : options.vars);
  opened.variables.emplace(*std::move(store));
  opened.boot.variables = &*opened.variables;
  return ExitCode::ok;
}

ExitCode open_all(const RunOptions& options, Opened& opened) {
  auto code = ExitCode::ok;
  const auto next = [&](auto&& step) {
    if (code == ExitCode::ok) code = step();
  };
  opened.shape.memory_bytes = options.memory_bytes;
  opened.shape.huge_pages = options.huge_pages;
  opened.shape.processors = options.processors;
  opened.shape.name = options.name;
  opened.boot.command_line = options.append;
  next([&] { return load_file("--kernel", options.kernel, kMaxKernel, opened.boot.kernel); });
  next([&] { return load_file("--initrd", options.initrd, kMaxInitrd, opened.boot.initrd); });
  opened.shape.generation = options.generation == 1 ? Generation::one : Generation::two;
  if (options.kernel.empty()) next([&] { return open_firmware(options, opened); });
  if (options.serial.starts_with("file:"))
    next([&] { return open_output("--serial", options.serial.substr(5), opened.serial); });
  if (!options.firmware_log.empty())
    next([&] { return open_output("--firmware-log", options.firmware_log, opened.firmware_log); });
  for (const auto& disk : options.disks)
    next([&] { return open_drive(opened, disk, false, bus_of(options, disk) == "scsi"); });
  if (!options.cdrom.empty())
    next([&] {
      return open_drive(opened, {.path = options.cdrom, .serial = {}, .bus = {}, .read_only = true},
                        true, options.generation == 2);
    });
  return code;
}

Fd catch_signals() noexcept {
  sigset_t set{};
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  // Before any thread starts: they all inherit it. A reader that has gone is not our end either.
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  static_cast<void>(std::signal(SIGPIPE, SIG_IGN));
  return Fd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
}

// Until the guest ends or a signal comes; true for a signal.
bool wait_for_end(Machine& machine, const Fd& signals, bool input) {
  std::array<std::byte, Uart::kFifo> bytes{};
  for (;;) {
    const auto space = input ? machine.serial_space() : 0;
    std::array<pollfd, 3> polls{
        pollfd{.fd = signals.get(), .events = POLLIN, .revents = 0},
        pollfd{.fd = machine.ended_descriptor(), .events = POLLIN, .revents = 0},
        pollfd{.fd = space > 0 ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0}};
    // The guest takes bytes without telling: look again soon while it has some to take.
    const int wait_ms = input && space == 0 ? 10 : -1;
    if (::poll(polls.data(), polls.size(), wait_ms) < 0 && errno != EINTR) return true;
    if (polls[0].revents != 0) return true;
    if (polls[1].revents != 0) return false;
    if (polls[2].revents != 0) {
      const auto got = ::read(STDIN_FILENO, bytes.data(), space);
      if (got > 0)
        machine.serial_input(std::span{bytes}.first(static_cast<std::size_t>(got)));
      else if (got == 0 || errno != EINTR)
        input = false;  // nobody types any more
    }
  }
}

// What the guest's end means; empty: it starts again.
std::optional<ExitCode> judge(const Machine::Outcome& outcome, bool by_signal, bool exit_on_reset) {
  using End = Machine::End;
  if (by_signal) return ExitCode::cancelled;
  switch (outcome.end) {
    case End::power_off:
      return ExitCode::ok;
    case End::panic:
      return fail("guest", "it reported a panic", ExitCode::guest_panic);
    case End::stuck:
      return fail("guest", outcome.detail, ExitCode::guest_stuck);
    case End::stopped:
      return ExitCode::cancelled;
    case End::reset:
      if (exit_on_reset) return ExitCode::guest_reset;
      return {};
    case End::triple_fault:
      if (exit_on_reset)
        return fail("guest", "a processor shut down (triple fault)", ExitCode::guest_triple_fault);
      return {};
  }
  return ExitCode::io;
}

ExitCode run_until_end(const RunOptions& options, Opened& opened, const KvmHost& host,
                       const Fd& signals) {
  const bool stdio = options.serial == "stdio";
  FileSink serial{stdio ? STDOUT_FILENO : opened.serial.get()};
  FileSink log{opened.firmware_log.get()};
  for (;;) {
    auto machine =
        Machine::create(host, opened.shape, opened.boot, {.serial = serial, .firmware_log = log});
    if (!machine) return fail("run", machine.error(), "machine");
    (*machine)->start();
    const bool by_signal = wait_for_end(**machine, signals, stdio);
    const auto outcome = (*machine)->finish();
    if (const auto code = judge(outcome, by_signal, options.exit_on_reset)) return *code;
  }
}

}  // namespace

ExitCode run_guest(const RunOptions& options) {
  const auto problem = contradiction(options);
  if (!problem.empty()) {
    fmt::print(stderr, "vhdvmm: {}\n", problem);
    return ExitCode::usage;
  }
  const auto signals = catch_signals();
  if (!signals)
    return fail("run", Error{.code = Errc::io, .sys_errno = errno, .what = "signalfd"}, "signals");
  const auto host = KvmHost::open();
  if (!host) return fail("run", host.error(), "/dev/kvm (see vhdvmm doctor)");
  Opened opened;
  auto code = open_all(options, opened);
  if (code == ExitCode::ok) code = run_until_end(options, opened, *host, signals);
  if (opened.variables) {
    const auto synced = opened.variables->sync();
    if (!synced) code = fail("--vars", synced.error(), options.vars);
  }
  for (auto& disk : opened.disks) {
    const auto closed = disk.close();
    if (!closed) {
      const auto failed = fail("--disk", closed.error(), disk.files().front());
      if (code == ExitCode::ok) code = failed;
    }
  }
  return code;
}

}  // namespace openvhd::vmm
