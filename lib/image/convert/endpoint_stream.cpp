#include "image/convert/endpoint_stream.hpp"

namespace openvhd {

void StreamTarget::start(Transfer& transfer) noexcept {
  transfer.failure.reset();
  if (transfer.kind != Transfer::Kind::write || transfer.at.value != written_) {
    transfer.failure = Error{.code = Errc::invalid, .what = "a stream is written in order"};
  } else if (const Status put = stream_.write_all({transfer.data, transfer.length}); !put) {
    transfer.failure = put.error();
  } else {
    written_ += transfer.length;
  }
  ended_.push(transfer);
}

}  // namespace openvhd
