# Tests of what was built, not of what it does.

# Planted bugs must not ship: no library or program holds the selector of mutants.
get_property(shipped GLOBAL PROPERTY STOA_SHIPPED)
if(shipped AND NOT STOA_MUTANTS AND NOT STOA_FUZZ)
    set(files)
    foreach(target IN LISTS shipped)
        list(APPEND files $<TARGET_FILE:${target}>)
    endforeach()
    add_test(NAME no_mutants_shipped COMMAND "${CMAKE_SOURCE_DIR}/tools/no_mutants.sh" ${files})
    set_tests_properties(no_mutants_shipped PROPERTIES LABELS unit)
endif()

# What some stages of tools/test.sh need, instead of everything.
get_property(tests GLOBAL PROPERTY STOA_TESTS)
add_custom_target(without_sim DEPENDS ${tests} ${shipped})
get_property(fuzzers GLOBAL PROPERTY STOA_FUZZERS)
add_custom_target(fuzzers DEPENDS ${fuzzers})
