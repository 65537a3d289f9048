// What stoa-blockd is asked and what it answers: one struct a message, described once.
//
// Wherever a pool is named, its name or its UUID will do; wherever a volume is named, its name or
// UUID; a snapshot is a UUID or VOLUME@NAME. Sizes are bytes, times nanoseconds since 1970.
// How each method behaves: docs/blockd.md; the engine's rules: src/dataplane/pool/pool.h.
#pragma once

#include "rpc/attachments.h"
#include "rpc/daemon.h"
#include "rpc/origins.h"
#include "rpc/pools.h"
#include "rpc/snapshots.h"
#include "rpc/volumes.h"
