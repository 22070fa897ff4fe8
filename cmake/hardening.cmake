# SPDX-License-Identifier: GPL-2.0-or-later
# Warnings and hardening, for gcc and clang. Flags that a compiler lacks are left out by a check,
# not by its name or version.
include(CheckCCompilerFlag)
include(CheckPIESupported)
include(CheckLinkerFlag)
check_pie_supported()

option(PW_WERROR "Treat warnings as errors" ON)
set(PW_SANITIZE "" CACHE STRING "Sanitizers for every target, e.g. address,undefined")

set(PW_COMPILE_OPTIONS
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wformat=2 -Wundef
  -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual
  -Wwrite-strings -Wvla -Wnull-dereference -Wimplicit-fallthrough -Wswitch-enum
  -Werror=implicit-function-declaration -Werror=return-type -Werror=incompatible-pointer-types
  -fno-common -fno-strict-aliasing -fno-delete-null-pointer-checks)
if(PW_WERROR)
  list(APPEND PW_COMPILE_OPTIONS -Werror)
endif()

function(pw_try_flag flag)
  string(MAKE_C_IDENTIFIER "PW_HAVE${flag}" name)
  check_c_compiler_flag("${flag}" ${name})
  if(${name})
    list(APPEND PW_COMPILE_OPTIONS ${flag})
    set(PW_COMPILE_OPTIONS ${PW_COMPILE_OPTIONS} PARENT_SCOPE)
  endif()
endfunction()
pw_try_flag(-fstack-protector-strong)
pw_try_flag(-fstack-clash-protection)
pw_try_flag(-fcf-protection=full)
pw_try_flag(-ftrivial-auto-var-init=zero)

set(PW_LINK_OPTIONS -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed)

if(PW_SANITIZE)
  list(APPEND PW_COMPILE_OPTIONS -fsanitize=${PW_SANITIZE} -fno-sanitize-recover=all
       -fno-omit-frame-pointer)
  list(APPEND PW_LINK_OPTIONS -fsanitize=${PW_SANITIZE})
else()
  # Fortify needs optimisation; level 3 where the C library has it.
  check_c_compiler_flag("-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3" PW_HAVE_FORTIFY3)
  list(APPEND PW_COMPILE_OPTIONS
       $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE>
       $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=$<IF:$<BOOL:${PW_HAVE_FORTIFY3}>,3,2>>)
endif()
