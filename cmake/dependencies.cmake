# Libraries from the distribution, under the names that src/layers.txt uses.
# The Debian packages that bring them: packaging/debian-packages.txt.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(GTest REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
if(STOA_BENCH)
    find_package(benchmark REQUIRED)
endif()

# stoa_find_system(name header library): a library that ships no CMake package.
function(stoa_find_system name header library)
    find_path(STOA_${name}_INCLUDE ${header} REQUIRED)
    find_library(STOA_${name}_LIBRARY ${library} REQUIRED)
    add_library(stoa_system_${name} INTERFACE IMPORTED GLOBAL)
    target_include_directories(stoa_system_${name} SYSTEM INTERFACE "${STOA_${name}_INCLUDE}")
    target_link_libraries(stoa_system_${name} INTERFACE "${STOA_${name}_LIBRARY}")
endfunction()

stoa_find_system(boost_json boost/json.hpp boost_json)
# Its code is compiled once, in src/controlplane/async.
find_path(STOA_boost_asio_INCLUDE boost/asio/awaitable.hpp REQUIRED)
add_library(stoa_system_boost_asio INTERFACE IMPORTED GLOBAL)
target_include_directories(stoa_system_boost_asio SYSTEM INTERFACE "${STOA_boost_asio_INCLUDE}")
target_compile_definitions(stoa_system_boost_asio INTERFACE BOOST_ASIO_SEPARATE_COMPILATION
                                                            BOOST_ASIO_NO_DEPRECATED)
target_link_libraries(stoa_system_boost_asio INTERFACE Threads::Threads)
stoa_find_system(sqlite3 sqlite3.h sqlite3)
stoa_find_system(isal isa-l/crc.h isal)
stoa_find_system(liburing liburing.h uring)
stoa_find_system(libblkid blkid/blkid.h blkid)

set(STOA_TARGET_fmt fmt::fmt)
set(STOA_TARGET_boost_json stoa_system_boost_json)
set(STOA_TARGET_boost_asio stoa_system_boost_asio)
set(STOA_TARGET_sqlite3 stoa_system_sqlite3)
set(STOA_TARGET_isal stoa_system_isal)
set(STOA_TARGET_liburing stoa_system_liburing)
set(STOA_TARGET_libblkid stoa_system_libblkid)
set(STOA_TARGET_openssl OpenSSL::SSL)
set(STOA_TARGET_cli11 CLI11::CLI11)
set(STOA_TARGET_gtest GTest::gtest)
set(STOA_TARGET_benchmark benchmark::benchmark)
