#include "controlplane/task/plan.h"

#include "controlplane/model/record.h"

namespace stoa::task {

// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
uint64_t Ids::random() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
}

Uuid Ids::next() {
    const uint64_t high = random();
    return model::make_id(seed_.now_ns, high, random());
}

}  // namespace stoa::task
