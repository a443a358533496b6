#include "control/command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "control/doctor.hpp"

namespace openvhd::vmm {
namespace {

ExitCode doctor(bool json) {
  const auto findings = examine_host();
  fmt::print("{}", json ? doctor_json(findings) : doctor_text(findings));
  return doctor_code(findings);
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
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked) == 0 ? ExitCode::ok : ExitCode::usage;
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "vhdvmm: {}\n", error.what());
    return ExitCode::usage;
  }
  return doctor(json);
}

}  // namespace openvhd::vmm
