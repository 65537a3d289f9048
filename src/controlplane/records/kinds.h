// STOA_EACH_KIND(M): M(Kind) for each of Kinds, to instantiate templates in one place.
#pragma once

#define STOA_EACH_KIND(M) \
    M(model::Host)        \
    M(model::Pool)        \
    M(model::Volume)      \
    M(model::Snapshot)    \
    M(model::Image)       \
    M(model::Vm)          \
    M(model::Network)     \
    M(model::User)        \
    M(model::Role)        \
    M(model::Token)       \
    M(model::Task)
