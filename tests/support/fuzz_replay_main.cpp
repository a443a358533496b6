// A main for fuzz targets without libFuzzer: runs the target over every file it is given, folders
// included, and over the empty input.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
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
  const std::vector<std::uint8_t> input{bytes.begin(), bytes.end()};
  LLVMFuzzerTestOneInput(input.data(), input.size());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  bool all_read = true;
  std::size_t inputs = 1;
  const std::uint8_t nothing = 0;
  LLVMFuzzerTestOneInput(&nothing, 0);
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
  return all_read ? 0 : 1;
}
