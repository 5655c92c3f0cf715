# NATIVE_LIBRARIES: every shared library of the engine, each ONE file under ONE name. A wheel keeps
# no symlinks, so libfoo.so, libfoo.so.0 and libfoo.so.0.1 would become three copies, and a process
# that maps two of them has two separate sets of backends and thread pools.
function(collect_shared_libraries directory result)
    set(_found "")
    get_property(_targets DIRECTORY "${directory}" PROPERTY BUILDSYSTEM_TARGETS)
    foreach(_target IN LISTS _targets)
        get_target_property(_type ${_target} TYPE)
        if(_type STREQUAL "SHARED_LIBRARY" OR _type STREQUAL "MODULE_LIBRARY")
            list(APPEND _found ${_target})
        endif()
    endforeach()
    get_property(_children DIRECTORY "${directory}" PROPERTY SUBDIRECTORIES)
    foreach(_child IN LISTS _children)
        collect_shared_libraries("${_child}" _below)
        list(APPEND _found ${_below})
    endforeach()
    set(${result} "${_found}" PARENT_SCOPE)
endfunction()

collect_shared_libraries("${LLAMA_CPP_DIR}" NATIVE_LIBRARIES)
list(APPEND NATIVE_LIBRARIES llama-bridge)

if(APPLE)
    set(_origin "@loader_path")
else()
    set(_origin "$ORIGIN")
endif()
foreach(_library IN LISTS NATIVE_LIBRARIES)
    set_property(TARGET ${_library} PROPERTY VERSION)
    set_property(TARGET ${_library} PROPERTY SOVERSION)
    set_target_properties(${_library} PROPERTIES
        BUILD_WITH_INSTALL_RPATH ON
        INSTALL_RPATH "${_origin}"
        MACOSX_RPATH ON
        PUBLIC_HEADER ""
        PRIVATE_HEADER "")
endforeach()

# The engine's folder is EXCLUDE_FROM_ALL, which also drops its install rules; ours come instead.
add_custom_target(native_libraries ALL DEPENDS ${NATIVE_LIBRARIES})
