# Tests, built only with TB_TESTS: a component may call these functions always. A test's name is label/component/topic; the label before the first slash is its ctest label.
#
# tb_add_test(NAME label/component/topic
#             [SOURCES a_test.c …] [LIBS target …]     a cmocka program
#             [COMMAND program arg …]                  or any command; exit 77 = skipped
#             [ENV KEY=VALUE …] [TIMEOUT seconds] [ARGS …] [SERIAL])
#
# TB_PRELOAD in the environment: what a foreign program has to preload before it can load a module of ours, in a sanitizer
# build.
set(TB_PRELOAD "")
if(TB_SANITIZE MATCHES address AND CMAKE_C_COMPILER_ID STREQUAL Clang)
  execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=libclang_rt.asan-x86_64.so
    OUTPUT_VARIABLE TB_PRELOAD OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()

# A test ends when ctest does, by whatever cause, and what it started with it.
find_program(TB_SETPRIV setpriv)
mark_as_advanced(TB_SETPRIV)

function(tb_add_test)
  if(NOT TB_TESTS)
    return()
  endif()
  cmake_parse_arguments(T "SERIAL" "NAME;TIMEOUT" "SOURCES;LIBS;COMMAND;ENV;ARGS" ${ARGN})
  string(REGEX REPLACE "/.*" "" label ${T_NAME})
  if(T_SOURCES)
    string(MAKE_C_IDENTIFIER test_${T_NAME} target)
    add_executable(${target} ${T_SOURCES})
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_link_libraries(${target} PRIVATE tb_options ${T_LIBS} PkgConfig::CMOCKA)
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE TB_SOURCE_DIR="${CMAKE_CURRENT_SOURCE_DIR}"
      TB_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
    target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/common/run)
    set(T_COMMAND ${target} ${T_ARGS})
  endif()
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 60)
  endif()
  if(TB_SETPRIV)
    list(POP_FRONT T_COMMAND program)
    if(TARGET ${program})
      set(program $<TARGET_FILE:${program}>)
    endif()
    list(PREPEND T_COMMAND ${TB_SETPRIV} --pdeathsig TERM -- ${program})
  endif()
  add_test(NAME ${T_NAME} COMMAND ${T_COMMAND})
  set_tests_properties(${T_NAME} PROPERTIES LABELS ${label} TIMEOUT ${T_TIMEOUT} SKIP_RETURN_CODE 77
    ENVIRONMENT "TB_BIN=${CMAKE_BINARY_DIR}/bin;TB_SOURCE=${CMAKE_SOURCE_DIR};TB_BUILD=${CMAKE_BINARY_DIR};TB_PRELOAD=${TB_PRELOAD};PYTHONDONTWRITEBYTECODE=1;PYTHONPATH=${CMAKE_SOURCE_DIR}/common/tests;${T_ENV}")
  if(T_SERIAL)
    set_tests_properties(${T_NAME} PROPERTIES RUN_SERIAL TRUE)
  endif()
endfunction()

# tb_add_fuzzer(NAME component_target SOURCES fuzz_x.c LIBS … CORPUS folder)
# With TB_FUZZ a libFuzzer program; otherwise a program that replays the corpus, run as test fuzz/NAME.
function(tb_add_fuzzer)
  if(NOT TB_TESTS)
    return()
  endif()
  cmake_parse_arguments(F "" "NAME;CORPUS" "SOURCES;LIBS" ${ARGN})
  set(target fuzz_${F_NAME})
  add_executable(${target} ${F_SOURCES})
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${target} PRIVATE tb_options ${F_LIBS})
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
  get_filename_component(corpus ${F_CORPUS} ABSOLUTE)
  if(TB_FUZZ)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/common/tests/fuzz_replay.c)
    tb_add_test(NAME fuzz/${F_NAME} COMMAND ${target} ${corpus})
  endif()
endfunction()

# Every public header must compile alone: tb_check_headers(target folder header…)
function(tb_check_headers target folder)
  if(NOT TB_TESTS)
    return()
  endif()
  foreach(header IN LISTS ARGN)
    string(MAKE_C_IDENTIFIER ${header} id)
    file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/headers/${id}.c CONTENT "#include \"${header}\"\nextern int tb_header_${id};\n")
    list(APPEND sources ${CMAKE_CURRENT_BINARY_DIR}/headers/${id}.c)
  endforeach()
  add_library(${target}_headers OBJECT ${sources})
  target_include_directories(${target}_headers PRIVATE ${folder})
  target_link_libraries(${target}_headers PRIVATE tb_options ${target})
endfunction()
