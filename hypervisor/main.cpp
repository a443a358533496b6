#include <cstdio>
#include <exception>

#include "control/command_line.hpp"

int main(int argc, char** argv) {
  try {
    return static_cast<int>(openvhd::vmm::run_command_line(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "vhdvmm: %s\n", error.what());  // out of memory, most likely
  }
  return static_cast<int>(openvhd::vmm::ExitCode::io);
}
