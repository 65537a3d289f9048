// The commands of stoa-pool: one file each. Described for users in docs/howto/stoa-pool.md.
//
// Each prints its answer on standard output, errors on standard error, and returns the program's
// exit code.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace stoa::apps::pool {

inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;  // wrong usage, or it could not be done
inline constexpr int kProblems = 2;  // fsck: something is lost or wrong
inline constexpr int kRepairable = 3;  // fsck: only copies that have a good twin are bad
inline constexpr int kInUse = 4;  // another process has the pool open
inline constexpr int kNotAPool = 5;

struct CreateCommand {
    std::string name;
    std::string size;  // empty: the devices exist
    bool force = false;
    std::vector<std::string> devices;
};
int run_create(const CreateCommand& command);

struct InfoCommand {
    bool json = false;
    bool accept_missing_devices = false;
    std::vector<std::string> devices;
};
int run_info(const InfoCommand& command);

struct FsckCommand {
    bool data = false;
    bool json = false;
    bool online = false;
    std::vector<std::string> devices;
};
int run_fsck(const FsckCommand& command);

struct DumpCommand {
    bool nodes = false;
    bool online = false;
    std::vector<std::string> devices;
};
int run_dump(const DumpCommand& command);

struct ExplainCommand {
    std::string volume;  // name, or uuid of a volume or snapshot
    std::string offset;
    bool json = false;
    bool accept_missing_devices = false;
    std::vector<std::string> devices;
};
int run_explain(const ExplainCommand& command);

// Prints "stoa-pool: message" and returns the exit code that fits: kInUse or kFailed.
int fail(const Error& error);
// The same for an error of opening a pool, where not_found means that there is none.
int fail_open(const Error& error);

}  // namespace stoa::apps::pool
