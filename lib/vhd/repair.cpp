#include <algorithm>

#include "base/try.hpp"
#include "vhd/scan.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::vhd {
namespace {

class Repairer {
 public:
  Repairer(File& file, std::vector<std::string>& actions) : file_{file}, actions_{actions} {}

  Status run();

 private:
  Status put_footer(FileOffset at, std::string action);
  Status cut(std::uint64_t size, const std::string& what);
  Status repair_copy();
  Status repair_tail();

  File& file_;
  std::vector<std::string>& actions_;
  ParsedImage image_;
};

Status Repairer::run() {
  // What cannot be parsed has no good copy to be mended from.
  OVHD_CHECK(parse(file_, image_));
  if (image_.type == DiskType::fixed) {
    if (image_.footer_at_end) return Ok{};
    return cut(image_.footer_at.value + kFooterBytes, "bytes behind the footer cut off");
  }
  OVHD_CHECK(repair_copy());
  return repair_tail();
}

/// One footer at a time, each durable before the next step: one of them is always whole.
Status Repairer::put_footer(FileOffset at, std::string action) {
  OVHD_CHECK(file_.write_all(at, std::as_bytes(std::span{&image_.footer, 1})));
  OVHD_CHECK(file_.sync());
  actions_.push_back(std::move(action));
  return Ok{};
}

Status Repairer::cut(std::uint64_t size, const std::string& what) {
  if (size == image_.file_size) return Ok{};
  OVHD_CHECK(file_.set_size(size));
  OVHD_CHECK(file_.sync());
  actions_.push_back(what + ": " + std::to_string(image_.file_size) + " to " +
                     std::to_string(size) + " bytes");
  return Ok{};
}

Status Repairer::repair_copy() {
  if (!image_.footer_at_end || image_.copy_is_current) return Ok{};
  return put_footer({}, "footer copy at 0 rewritten from the footer");
}

Status Repairer::repair_tail() {
  OVHD_TRY(ScanResult scan,
           scan_table(file_, image_, [](auto...) -> Result<bool> { return true; }));
  for (const FileRange& kept : image_.set_aside)
    scan.end = std::max(scan.end, align_up(kept.at.value + kept.length, kSectorBytes));
  if (image_.footer_at_end) {
    const bool far = !image_.has_batmap && image_.data_limit() >= scan.end + image_.stride();
    if (scan.damaged || !far) return Ok{};
    OVHD_CHECK(put_footer({scan.end}, "footer moved to the end of the last block"));
    return cut(scan.end + kFooterBytes, "unused space cut off");
  }
  // With a damaged table nobody knows what the end of the file is: it stays as it is.
  const std::uint64_t at =
      scan.damaged ? align_up(image_.file_size, std::uint64_t{kSectorBytes}) : scan.end;
  OVHD_CHECK(put_footer({at}, "footer rewritten from its copy at 0"));
  if (at + kFooterBytes > image_.file_size) return Ok{};
  return cut(at + kFooterBytes, "bytes behind the footer cut off");
}

}  // namespace

Status repair(File& file, Host&, std::vector<std::string>& actions) {
  Repairer repairer{file, actions};
  return repairer.run();
}

}  // namespace openvhd::vhd
