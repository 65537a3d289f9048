# Language, warnings, linker, sanitizers and ccache for all targets.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_program(STOA_CCACHE ccache)
if(STOA_CCACHE)
    # So that it keeps what was compiled with a precompiled header, and knows a file again in another
    # checkout (whose paths -ffile-prefix-map takes out of the result).
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env
        "CCACHE_SLOPPINESS=pch_defines,time_macros" "CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}"
        "CCACHE_NOHASHDIR=1" "${STOA_CCACHE}")
endif()
add_compile_options("SHELL:-Xclang -fno-pch-timestamp")

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror)
add_compile_options("-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=")
add_link_options(-fuse-ld=lld)

set(stoa_sanitizers "${STOA_SANITIZE}")
if(STOA_FUZZ)
    string(APPEND stoa_sanitizers ",fuzzer-no-link")
endif()
if(stoa_sanitizers)
    add_compile_options(-fsanitize=${stoa_sanitizers} -fno-sanitize-recover=all
                        -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${stoa_sanitizers} -fno-sanitize-recover=all)
endif()

if(STOA_MUTANTS)
    add_compile_definitions(STOA_MUTANTS)
endif()
