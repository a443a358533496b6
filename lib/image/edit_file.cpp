#include "image/edit_file.hpp"

#include <utility>

#include "base/try.hpp"
#include "image/open.hpp"
#include "io/host.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd {

Result<EditedFile> open_for_edit(const std::string& path) {
  OVHD_TRY(auto file, open_host_file(path, Access::read_write, false));
  OVHD_TRY(const auto format, probe(*file));
  if (!format) {
    return Error{.code = Errc::unsupported, .what = "neither VHD nor VHDX (X01, V01)"};
  }
  if (*format == Format::vhdx) {
    OVHD_TRY(const auto replayed, vhdx::replay(*file, false, system_host()));
    static_cast<void>(replayed);
  }
  return EditedFile{.file = std::move(file), .format = *format};
}

Status run_steps(std::vector<FileStep> steps, std::uint64_t file_bytes, File& file,
                 Progress* progress) {
  FileSteps operation{std::move(steps), file_bytes};
  for (;;) {
    if (auto outcome = operation.finished()) return *std::move(outcome);
    if (progress != nullptr &&
        !progress->update(operation.moved_bytes(), operation.total_bytes())) {
      operation.cancel();
    }
    if (const auto command = operation.next()) {
      operation.complete(command->slot, file.execute(*command));
    }
  }
}

Result<Disk> look_inside(const std::string& path, const ParentPolicy& parents, OpenReport* report) {
  return Disk::open(path, {.access = Access::inspect,
                           .parents = parents,
                           .driver = DriverKind::blocking,
                           .report = report});
}

}  // namespace openvhd
