/// An NBD export as one side of a copy.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "image/convert/endpoint.hpp"
#include "image/convert/nbd_client.hpp"

namespace openvhd {

class NbdEndpoint final : public Endpoint {
  struct Key {};

 public:
  struct Use {
    bool write = false;      ///< A target; a read-only export is then an error.
    bool keep_full = false;  ///< Zeros are not to become holes.
    std::uint32_t depth = 8;
  };

  /// Connects to `uri`. `why` gets what libnbd says when it fails. A target whose server knows it
  /// to be all zeros gets no zeros; one that cannot zero gets them written.
  static Result<std::unique_ptr<NbdEndpoint>> open(const std::string& uri, const Use& use,
                                                   std::string& why);
  NbdEndpoint(Key, NbdClient client, const Use& use);

  const EndpointTraits& traits() const noexcept override { return traits_; }
  Result<EndpointRun> map(VirtualOffset at, std::uint64_t length) noexcept override;
  void start(Transfer& transfer) noexcept override;
  Transfer* reap() noexcept override;
  Readiness readiness() const noexcept override;
  Status finish() noexcept override;

 private:
  // What a callback of libnbd is given; its address must not change.
  struct Pending {
    NbdEndpoint* endpoint = nullptr;
    Transfer* transfer = nullptr;
  };
  // One answer to "block status": runs that follow each other from `at`.
  struct Allocation {
    std::vector<EndpointRun> runs;
    std::uint64_t at = 0;
    std::uint64_t end = 0;
    bool done = false;
    bool failed = false;
  };

  static int transfer_done(void* pending, int* error);
  static int status_done(void* endpoint, int* error);
  static int status_extents(void* endpoint, const char* context, std::uint64_t offset,
                            std::uint32_t* entries, std::size_t count, int* error);
  void ended(Pending& pending, std::optional<Error> failure) noexcept;
  std::int64_t submit(Pending& pending) noexcept;
  /// Fills known_ from `at`; false when the server cannot tell.
  bool ask_status(std::uint64_t at) noexcept;
  void note_run(std::uint64_t length, bool zero) noexcept;
  bool all_zero() noexcept;
  void give_up() noexcept;

  NbdClient client_;
  Use use_;
  EndpointTraits traits_;
  std::vector<Pending> pending_;
  TransferQueue ended_;
  std::uint32_t in_flight_ = 0;
  Allocation known_;
  bool asks_status_ = true;
};

}  // namespace openvhd
