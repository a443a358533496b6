// A program of somebody else's: it sees the public headers and the library, nothing more.
#include <cstdio>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <string>

int main() {
  const auto guid = openvhd::parse_guid("{2DC27766-F623-4200-9D64-115E9BFD4A08}");
  if (!guid || openvhd::to_string(*guid) != "2dc27766-f623-4200-9d64-115e9bfd4a08") {
    std::puts("a GUID does not come back as it went in");
    return 1;
  }
  const openvhd::Error error{.code = openvhd::Errc::corrupt, .what = "header signature (2.2.2)"};
  if (openvhd::describe(error, "disk.vhdx").find("header signature") == std::string::npos) {
    std::puts("an error does not say what is wrong");
    return 1;
  }
  return 0;
}
