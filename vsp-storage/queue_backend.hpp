/// A disk of the library as a backend.
#pragma once

#include "scsi_request.hpp"

namespace openvhd::scsi {

/// Thread: that of the queue, which outlives it.
class QueueBackend : public ScsiBackend {
 public:
  explicit QueueBackend(Queue& queue) noexcept : queue_{&queue} {}
  Status start(Kind kind, IoRequest& request) noexcept override {
    switch (kind) {
      case Kind::read:
        return queue_->read(request);
      case Kind::write:
        return queue_->write(request);
      case Kind::zero:
        return queue_->write_zeroes(request);
      case Kind::trim:
        return queue_->trim(request);
      case Kind::flush:
        break;
    }
    return queue_->flush(request);
  }

 private:
  Queue* queue_;
};

}  // namespace openvhd::scsi
