// The helper's end of the conversation with stoad: takes one order, gives one reply.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "controlplane/host/launch/request.h"

namespace stoa::apps::launch {

struct Order {
    host::LaunchSpec spec;
    std::vector<int> descriptors;  // open, close-on-exec; as many as spec.descriptors
};

// Closes the socket when it is destroyed.
class Channel {
public:
    explicit Channel(int socket);
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    ~Channel();

    // Errors: invalid_argument (what came is no order), io (stoad went away).
    Result<Order> receive();
    void reply(const host::LaunchReply& reply);
    void refuse(std::string_view step, const Error& error);
    void refuse_errno(std::string_view step, int number, std::string_view what = "");
    // Whether stoad still waits for the reply.
    [[nodiscard]] bool is_open() const;
    void close();

private:
    int socket_;
};

}  // namespace stoa::apps::launch
