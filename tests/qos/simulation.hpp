/// Flows that ask a scheduler in virtual time for what a device serves, woken as queues are.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <queue>
#include <random>
#include <vector>

#include "qos/policy.hpp"

namespace openvhd::test {

using detail::QosCost;
using detail::QosFlowState;
using detail::QosHeld;
using detail::QosLine;
using detail::QosPolicyState;
using detail::QosScheduler;

constexpr std::uint64_t kSecond = 1'000'000'000;

class Simulation;

/// A queue that always has `depth` requests to be served, and one of as many operations each.
struct Client : QosLine {
  Simulation* simulation = nullptr;
  std::shared_ptr<QosFlowState> state;
  std::deque<QosHeld> requests;
  std::vector<QosHeld*> idle;
  std::uint64_t timer_at = 0;  // 0: not set
  std::uint64_t timer_number = 0;
  std::uint64_t served = 0;  // operations
  std::uint32_t held = 0;
  bool submits = true;
  bool polls = true;
};

class Simulation {
 public:
  explicit Simulation(const QosHostLimits& host, std::uint64_t now_ns = kSecond)
      : now{now_ns},
        scheduler{std::make_shared<QosScheduler>(
            host,
            QosClock{[](void* context) noexcept { return static_cast<Simulation*>(context)->now; },
                     this})} {}
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;
  ~Simulation() {
    for (auto& client : clients) {
      scheduler->drain(client);
      scheduler->remove(client);
    }
  }

  std::shared_ptr<QosPolicyState> policy(const QosLimits& limits,
                                         QosSharing sharing = QosSharing::aggregated) {
    return std::make_shared<QosPolicyState>(scheduler, limits, sharing);
  }
  Client& client(const std::shared_ptr<QosFlowState>& flow, std::uint64_t operations = 1,
                 unsigned depth = 8) {
    Client& client = clients.emplace_back();
    client.simulation = this;
    client.state = flow;
    client.flow = &flow->node();
    client.group = flow->node().group;
    client.wake = [](QosLine& line, std::uint64_t in_ns) noexcept {
      auto& woken = static_cast<Client&>(line);
      woken.simulation->set_timer(woken, in_ns);
    };
    for (unsigned i = 0; i < depth; ++i) {
      client.requests.emplace_back().cost = {operations, operations * 4096};
      client.idle.push_back(&client.requests.back());
    }
    scheduler->add(client);
    return client;
  }
  Client& client(const std::shared_ptr<QosPolicyState>& policy, std::uint32_t weight = 100) {
    return client(std::make_shared<QosFlowState>(policy, weight));
  }

  /// Goes on for so long. The device takes one request after the other.
  void run(std::uint64_t for_ns) {
    const std::uint64_t end = now + for_ns;
    for (auto& client : clients) visit(client);
    while (!events_.empty() && events_.top().at <= end) {
      const Event event = events_.top();
      events_.pop();
      Client& client = *event.client;
      if (event.request == nullptr) {
        if (event.number != client.timer_number) continue;  // it was set anew
        ++wakeups;
        now = std::max(now, event.at);
        visit(client);
        continue;
      }
      now = std::max(now, event.at);
      client.idle.push_back(event.request);
      if (!client.polls) continue;  // nobody notices
      if (event.request->slot) scheduler->give_back_slots(1);
      visit(client);
    }
    now = end;
  }

  /// The clock went back: timers of the host, which go by how long, do not know.
  void restart() {
    events_ = {};
    for (auto& client : clients)
      if (client.held != 0) scheduler->sleep(client);
  }

  std::uint64_t now;
  std::shared_ptr<QosScheduler> scheduler;
  std::deque<Client> clients;
  std::uint64_t device_iops = 0;  // 0: it takes no time
  double device_jitter = 0;       // of the time that it takes
  std::uint64_t wakeups = 0;
  std::uint64_t grants = 0;
  std::function<void(Client&, const QosCost&)> began = [](Client&, const QosCost&) {};

 private:
  struct Event {
    std::uint64_t at;
    Client* client;
    QosHeld* request;  // null: a timer
    std::uint64_t number;
    bool operator<(const Event& other) const { return at > other.at; }
  };

  void set_timer(Client& client, std::uint64_t in_ns) {
    client.timer_at = now + in_ns;
    events_.push({client.timer_at, &client, nullptr, ++client.timer_number});
  }

  /// What a thread does when it is woken.
  void visit(Client& client) {
    if (!client.polls) return;
    for (bool more = true; more;) {
      if (client.held != 0) fetch(client);
      more = submit(client);
    }
    if (client.held != 0) scheduler->sleep(client);
  }

  void fetch(Client& client) {
    auto granted = scheduler->collect(client);
    while (!granted.empty()) {
      --client.held;
      ++grants;
      begin(client, *granted.pop());
    }
  }

  // As QosQueueState does. True: something began at once, and there is more.
  bool submit(Client& client) {
    while (client.submits && !client.idle.empty()) {
      QosHeld& request = *client.idle.back();
      client.idle.pop_back();
      request.slot = false;
      if (client.held == 0 && !scheduler->contended()) {
        const bool counted = client.cache.slots;
        request.slot = counted && scheduler->take_slot();
        if (request.slot == counted && client.admit(request.cost)) {
          begin(client, request);
          continue;
        }
        if (request.slot) scheduler->give_back_slots(1);
      }
      if (scheduler->submit(client, request)) {
        begin(client, request);
      } else {
        ++client.held;
      }
    }
    return !client.granted.empty();
  }

  void begin(Client& client, QosHeld& request) {
    client.began(request.cost);
    client.served += request.cost.operations;
    began(client, request.cost);
    if (device_iops == 0) {
      if (request.slot) scheduler->give_back_slots(1);
      client.idle.push_back(&request);
      return;
    }
    const double usual = double(request.cost.operations) * double(kSecond) / double(device_iops);
    const double factor =
        1 + device_jitter * std::uniform_real_distribution<double>{-1, 1}(random_);
    device_free_ = std::max(device_free_, now) + static_cast<std::uint64_t>(usual * factor);
    events_.push({device_free_, &client, &request, 0});
  }

  std::priority_queue<Event> events_;
  std::uint64_t device_free_ = 0;
  std::mt19937_64 random_{1};
};

/// 1: all have got the same. 1 / n: one has got everything.
inline double jain(const std::deque<Client>& clients) {
  double sum = 0;
  double squares = 0;
  for (const auto& client : clients) {
    sum += double(client.served);
    squares += double(client.served) * double(client.served);
  }
  return sum * sum / (double(clients.size()) * squares);
}

}  // namespace openvhd::test
