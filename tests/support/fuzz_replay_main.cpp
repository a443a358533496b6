// A main for fuzz targets without libFuzzer: runs the target over every file it is given, folders
// included, or with --random N over N inputs that are the same in every run.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

bool run_file(const std::filesystem::path& path) {
  std::ifstream file{path, std::ios::binary};
  if (!file) {
    std::fprintf(stderr, "%s: cannot be read\n", path.c_str());
    return false;
  }
  const std::vector<char> bytes{std::istreambuf_iterator<char>{file}, {}};
  std::vector<std::uint8_t> input(bytes.size());
  std::ranges::transform(bytes, input.begin(),
                         [](char byte) { return static_cast<std::uint8_t>(byte); });
  LLVMFuzzerTestOneInput(input.data(), input.size());
  return true;
}

/// Up to 200 bytes each; small numbers are more frequent, as they are in images.
void run_random(unsigned count) {
  std::mt19937 random{20090922};
  std::vector<std::uint8_t> input;
  for (unsigned i = 0; i < count; ++i) {
    input.resize(1 + random() % 200);
    for (std::uint8_t& byte : input) {
      byte = static_cast<std::uint8_t>(random() % (random() % 2 == 0 ? 256 : 8));
    }
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view{argv[1]} == "--random") {
    run_random(static_cast<unsigned>(std::stoul(argv[2])));
    return 0;
  }
  bool all_read = true;
  std::size_t inputs = 0;
  for (int i = 1; i < argc; ++i) {
    std::error_code ignored;
    if (!std::filesystem::is_directory(argv[i], ignored)) {
      all_read = run_file(argv[i]) && all_read;
      ++inputs;
      continue;
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator{argv[i]}) {
      if (entry.is_regular_file()) {
        all_read = run_file(entry.path()) && all_read;
        ++inputs;
      }
    }
  }
  std::printf("%zu inputs\n", inputs);
  return all_read && inputs > 0 ? 0 : 1;
}
