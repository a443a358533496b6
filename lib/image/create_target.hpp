/// Making an image inside a file that the caller provides.
#pragma once

#include <openvhd/create.hpp>
#include <string>

#include "io/file.hpp"
#include "io/host.hpp"

namespace openvhd {

/// Writes a new image into an empty file and syncs it; `path` is the name that it will have,
/// from which relative parent paths count.
Status create_in(File& file, const std::string& path, const CreateOptions& options, Host& host);

/// From the options or the name.
Result<Format> creation_format(const std::string& path, const CreateOptions& options);

}  // namespace openvhd
