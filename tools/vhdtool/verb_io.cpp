#include <fmt/format.h>
#include <unistd.h>

#include <openvhd/disk.hpp>

#include "console.hpp"
#include "io_session.hpp"
#include "shared_options.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

class Io : public Verb {
 public:
  VerbText text() const override {
    return {
        .name = "io",
        .summary = "Reads and writes parts of a disk, by script.",
        .description =
            {"Opens FILE, runs the commands in order and closes it. The first command that fails "
             "ends the run. CMD is one of: \"read [-P BYTE] OFF LEN\" shows the bytes, or with -P "
             "verifies that each is BYTE; \"write [-P BYTE] OFF LEN\" writes BYTE (0xcd without "
             "-P); \"zero OFF LEN\" makes the range read as zeros; \"discard OFF LEN\" gives its "
             "space back; \"flush\" makes what was written durable; \"length\" prints the size in "
             "bytes; \"map\" prints what is stored where.",
             "OFF and LEN are bytes and take K, M, G, T; BYTE is 0 to 255, decimal or 0x. A "
             "pattern that does not match is one line on standard error, does not end the run, "
             "and makes the exit code 1."},
        .examples = {{"vhdtool io disk.vhdx -c 'write -P 0xa5 1M 64K' -c flush",
                      "Writes a pattern, durably."},
                     {"vhdtool io disk.vhdx -r -c 'read 0 512'", "Shows the first sector."},
                     {"vhdtool io disk.vhdx -c 'write 0 4K' -c flush --crash-after 2",
                      "Leaves the image as a killed process would."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "FILE", .help = "The image."}, file_into(file_));
    arguments.required_option({.name = "--command",
                               .letter = 'c',
                               .value = "CMD",
                               .help = "A command. May be given several times."},
                              texts_into(texts_));
    arguments.option({.name = "--read-only",
                      .letter = 'r',
                      .help = "Opens read-only: nothing is written, also not to replay a log."},
                     flag_into(read_only_));
    arguments.option({.name = "--crash-after",
                      .value = "N",
                      .help = "Ends the process after the N-th command, without flushing or "
                              "closing the image; 0 is right after the open."},
                     number_into(crash_after_));
    declare_format(arguments, options_.format);
    declare_parents(arguments, options_.parents);
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    std::vector<IoCommand> commands;
    for (const auto& text : texts_) {
      const auto parsed = parse_io_command(text);
      if (!parsed.command) return console.usage("io: " + parsed.problem);
      commands.push_back(*parsed.command);
    }
    if (crash_after_ && *crash_after_ > commands.size())
      return console.usage(fmt::format("io: --crash-after {}, but there are {} commands",
                                       *crash_after_, commands.size()));
    openvhd::OpenReport report;
    options_.report = &report;
    options_.access = read_only_ ? openvhd::Access::read_only : openvhd::Access::read_write;
    auto disk = openvhd::Disk::open(file_, options_);
    if (!disk) return console.fail(failure_of(disk.error(), report, file_));
    console.notes(report.notes);
    return run_all(console, *disk, commands);
  }

 private:
  ExitCode run_all(Console& console, openvhd::Disk& disk, const std::vector<IoCommand>& commands) {
    IoSession session{disk, console};
    auto worst = ExitCode::ok;
    if (crash_after_ == 0) crash(console, session, worst);
    for (std::size_t i = 0; i < commands.size(); ++i) {
      const auto code = session.run(commands[i], texts_[i]);
      worst = worse(worst, code);
      if (code > ExitCode::different) break;
      if (crash_after_ == i + 1) crash(console, session, worst);
    }
    Json failure;
    if (const auto closed = disk.close(); !closed) {
      const auto why = failure_of(closed.error(), {.files = {file_}, .notes = {}}, file_);
      failure = failure_json(why);
      console.error_line(failure_text(why));
      worst = worse(worst, exit_code(closed.error().code));
    }
    report(console, session, failure);
    return worst;
  }

  void report(Console& console, IoSession& session, const Json& failure) const {
    if (!json_) return;
    Json json = {{"schema", kJsonSchema}, {"commands", session.take_results()}};
    if (!failure.is_null()) json["error"] = failure;
    console.print_json(json);
  }

  [[noreturn]] void crash(Console& console, IoSession& session, ExitCode code) const {
    report(console, session, {});
    ::_exit(static_cast<int>(console.finish(code)));
  }

  std::string file_;
  std::vector<std::string> texts_;
  openvhd::OpenOptions options_;
  std::optional<std::uint64_t> crash_after_;
  bool read_only_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> io_verb() { return std::make_unique<Io>(); }

}  // namespace vhdtool
