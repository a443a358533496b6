/// Where a conversion writes to.
#pragma once

#include <memory>
#include <openvhd/convert.hpp>
#include <openvhd/error.hpp>
#include <optional>

#include "image/convert/convert_plan.hpp"
#include "image/convert/endpoint.hpp"
#include "image/disk_state.hpp"
#include "io/new_file.hpp"

namespace openvhd {

/// A target that is ready to be written. Unless commit() succeeds, a file that it made goes away
/// and one that it would replace stays as it was.
class ConvertTarget {
 public:
  /// `source` is null where no file is read. Errors: invalid (the target exists, or is the source
  /// or one of its parents), those of creating, and of connecting to a server.
  static Result<ConvertTarget> open(const ConvertOptions& options, const ConvertPlan& plan,
                                    detail::DiskState* source);
  ConvertTarget(ConvertTarget&&) noexcept = default;
  ConvertTarget& operator=(ConvertTarget&&) = delete;
  ~ConvertTarget();

  Endpoint& endpoint() noexcept { return *endpoint_; }
  /// The new image; null for NBD and streams.
  detail::DiskState* disk() noexcept { return disk_.get(); }
  /// Everything is durable, under its name.
  Status commit();

 private:
  ConvertTarget() = default;
  Status open_file(const ConvertOptions& options, const ConvertPlan& plan);
  Status open_export(const ConvertOptions& options, const ConvertPlan& plan);
  Status open_stream(const ConvertPlan& plan);

  std::optional<NewFile> file_;
  std::unique_ptr<detail::DiskState> disk_;
  std::unique_ptr<Endpoint> endpoint_;
  bool footer_follows_ = false;  // a fixed VHD on standard output
  CreateOptions create_;
  Progress* progress_ = nullptr;
};

}  // namespace openvhd
