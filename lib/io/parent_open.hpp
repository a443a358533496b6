/// Which file becomes the parent of a differencing image. The image only proposes a name, and it
/// may have been written by somebody who wants to read another file of this host: the rules of
/// RELIABILITY f.4 decide.
#pragma once

#include <memory>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "io/image_layer.hpp"
#include "io/posix_file.hpp"

namespace openvhd {

/// The directory in which a file lies, held open: it stays that directory whatever is renamed.
struct ImagePlace {
  Fd directory;
  std::string path;  ///< For messages; "." for the current one.
};

/// The directory of a file that was opened by name; where the name is a symbolic link, that of
/// the file which it leads to. Errors: denied when the name stands for another file by now.
Result<ImagePlace> place_of(const PosixFile& file);

struct ParentRequest {
  const PosixFile& child;
  const ImagePlace& place;                ///< Of the child.
  std::span<const ParentPath> proposals;  ///< What the child says, in its order.
  std::span<const FileIdentity> chain;    ///< Every file opened so far: leaf first, child last.
  const ParentPolicy& policy;
  bool direct = false;
  Lock lock = Lock::reader;  ///< Kept as long as the file; none only to inspect.
};

struct OpenedParent {
  std::unique_ptr<PosixFile> file;  ///< Its name() is the path that was opened.
  ImagePlace place;
};

/// Opens the parent of `request.child`, read-only and locked for reading.
///
/// With `policy.chain` the next path of it is opened and the proposals are not looked at. Without,
/// each relative proposal that is a plain file name is looked for in the child's directory, then
/// in `policy.parent_dirs`; of a relative proposal that leads to another directory, the last
/// component is looked for in `policy.parent_dirs` only. The first that is there, and may be used,
/// is it. Whether it is the right one (linkage, sizes) is for the caller to verify.
///
/// `notes` gets a line for each proposal and file that was passed over, and one for what was
/// opened. Errors: denied (a rule forbids every proposal; `what` is the first such rule),
/// not_found, busy (somebody writes to it), out_of_range (deeper than `policy.max_depth`), io.
Result<OpenedParent> open_parent(const ParentRequest& request, std::vector<std::string>& notes);

/// The one file name that a proposed relative path stands for: `.\` at its front is dropped, and
/// what is left must be a plain name. Errors: denied, with the rule.
Result<std::string> plain_parent_name(std::string_view proposed);

/// Text from an image, fit to be shown in a line: quoted, what is no printable UTF-8 escaped, and
/// shortened where it is long.
std::string quote_for_display(std::string_view text);

}  // namespace openvhd
