#include "base/try.hpp"
#include "vhdx/engine.hpp"
#include "vhdx/load.hpp"
#include "vhdx/log_format.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::vhdx {

Result<OpenedImage> open(std::unique_ptr<File> file, const LayerOpenOptions& options, Host& host) {
  if (options.writable && !file->writable()) {
    return Error{.code = Errc::read_only, .what = "the file was opened for reading"};
  }
  OVHD_TRY(LoadedImage loaded, load_image(std::move(file), options.writable, host));
  if (options.writable && loaded.image.log.length == 0) {
    return Error{.code = Errc::unsupported,
                 .where = kHeaderAt[loaded.image.current_header],
                 .what = "header: no log, so that metadata cannot be written (2.2.2, 2.3)"};
  }
  if (options.writable && loaded.image.log.length > kMaxLogBytes) {
    // Nobody here would replay what was written into it.
    return Error{
        .code = Errc::unsupported,
        .where = loaded.image.log.at,
        .what = "log: longer than 256 MiB, so that metadata cannot be written (2.2.2, D6)"};
  }
  OVHD_TRY(auto layer, make_engine(std::move(loaded.image), *loaded.file, options, host));
  return OpenedImage{.file = std::move(loaded.file), .layer = std::move(layer)};
}

}  // namespace openvhd::vhdx
