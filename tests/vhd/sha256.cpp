#include "vhd/sha256.hpp"

#include <cstdlib>
#include <fstream>
#include <utility>

namespace openvhd::test {

Sha256::Sha256() : pipe_{::popen(("sha256sum > '" + (dir_ / "sum") + "'").c_str(), "w")} {
  if (pipe_ == nullptr) std::abort();
}

Sha256::~Sha256() {
  if (pipe_ != nullptr) ::pclose(pipe_);
}

void Sha256::add(std::span<const std::byte> bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), pipe_) != bytes.size()) std::abort();
}

std::string Sha256::finish() {
  if (::pclose(std::exchange(pipe_, nullptr)) != 0) std::abort();
  std::string sum;
  std::ifstream{dir_ / "sum"} >> sum;
  return sum;
}

}  // namespace openvhd::test
