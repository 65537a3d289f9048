// The one place where the code of Boost.Beast and of Asio's TLS is compiled.
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>
