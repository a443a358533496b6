#include "support/temp_dir.hpp"

#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace openvhd::test {

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "openvhd-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    std::perror(name.c_str());
    std::abort();
  }
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace openvhd::test
