#include "control/command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "control/doctor.hpp"
#include "control/run.hpp"

namespace openvhd::vmm {
namespace {

ExitCode doctor(bool json) {
  const auto findings = examine_host();
  fmt::print("{}", json ? doctor_json(findings) : doctor_text(findings));
  return doctor_code(findings);
}

// The words of `run` before they are judged.
struct RunWords {
  std::string memory = "256M";
  std::vector<std::string> disks;
  std::string exit_on = "shutdown";
  RunOptions options;
};

void declare_run(CLI::App& verb, RunWords& words) {
  auto& options = words.options;
  verb.add_option("--generation", options.generation, "1: SeaBIOS and IDE; 2: UEFI and SCSI; 1.");
  verb.add_option("--memory", words.memory, "Guest memory, such as 512M or 2G; 256M.");
  verb.add_flag("--huge-pages", options.huge_pages, "Memory from the host's 2 MiB pages.");
  verb.add_option("--cpus", options.processors, "Processors, 1 to 64; 1.");
  verb.add_option(
          "--disk", words.disks,
          "IMAGE[,bus=ide|scsi][,readonly][,cache=direct|writeback][,serial=S]. May be given "
          "several times; the first is booted from. A comma in a name is written twice.")
      ->allow_extra_args(false);
  verb.add_option("--cdrom", options.cdrom, "A disc image, read only.");
  verb.add_option("--kernel", options.kernel,
                  "A Linux bzImage or ELF kernel, started without firmware.");
  verb.add_option("--initrd", options.initrd, "Its initial RAM disk.");
  verb.add_option("--append", options.append, "Its command line.");
  verb.add_option("--firmware", options.firmware,
                  "Instead of the file of the seabios or ovmf package.");
  verb.add_option("--vars", options.vars,
                  "Generation 2: a file that keeps UEFI variables; made where there is none. "
                  "Without it they last until vhdvmm ends.");
  verb.add_option("--firmware-log", options.firmware_log, "A file for what firmware prints.");
  verb.add_option("--serial", options.serial, "stdio, file:PATH or none; stdio.");
  verb.add_option("--name", options.name, "The machine's name; its SMBIOS serial number.");
  verb.add_option("--exit-on", words.exit_on,
                  "reset: a guest that resets itself ends vhdvmm; shutdown: it starts again.");
}

ExitCode refuse(const std::string& problem) {
  fmt::print(stderr, "vhdvmm: {}\n", problem);
  return ExitCode::usage;
}

ExitCode run(RunWords& words) {
  auto& options = words.options;
  const auto memory = parse_memory(words.memory);
  if (!memory.value) return refuse(memory.problem);
  options.memory_bytes = *memory.value;
  for (const auto& text : words.disks) {
    auto disk = parse_disk(text);
    if (!disk.value) return refuse(disk.problem);
    options.disks.push_back(*disk.value);
  }
  if (words.exit_on != "reset" && words.exit_on != "shutdown")
    return refuse("--exit-on: reset or shutdown");
  options.exit_on_reset = words.exit_on == "reset";
  return run_guest(options);
}

std::string exit_codes_text() {
  std::string text = "Exit codes:\n";
  for (const auto& code : kExitCodes)
    text += fmt::format("  {:3}  {}\n", static_cast<int>(code.code), code.text);
  return text;
}

}  // namespace

ExitCode run_command_line(int argc, const char* const* argv) {
  CLI::App app{"Runs virtual machines from VHD and VHDX images.", "vhdvmm"};
  app.footer(exit_codes_text());
  app.set_version_flag("--version", "vhdvmm " OPENVHD_VERSION);
  app.require_subcommand(1);
  auto* doctor_verb = app.add_subcommand("doctor", "Tells what this host can do for guests.");
  bool json = false;
  doctor_verb->add_flag("--json", json, "Prints a JSON document.");
  auto* run_verb = app.add_subcommand("run", "Runs a guest until it ends.");
  RunWords words;
  declare_run(*run_verb, words);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked) == 0 ? ExitCode::ok : ExitCode::usage;
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "vhdvmm: {}\n", error.what());
    return ExitCode::usage;
  }
  return run_verb->parsed() ? run(words) : doctor(json);
}

}  // namespace openvhd::vmm
