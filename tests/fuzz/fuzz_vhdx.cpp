// Opens, reads and writes VHDX images with changed bytes.
#include "fuzz/exercise.hpp"
#include "fuzz/images.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return openvhd::test::fuzz_open(openvhd::test::fuzz_vhdx(), {data, size});
}
