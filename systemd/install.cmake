# SPDX-License-Identifier: GPL-2.0-or-later
# Runs at install time; see CMakeLists.txt.
function(pw_under_prefix dir out)
  if(IS_ABSOLUTE "${dir}")
    set(${out} "${dir}" PARENT_SCOPE)
  else()
    set(${out} "${CMAKE_INSTALL_PREFIX}/${dir}" PARENT_SCOPE)
  endif()
endfunction()

pw_under_prefix("${PW_BIN}" BINDIR)
pw_under_prefix("${PW_SBIN}" SBINDIR)
# The programs look there by themselves (common/paths.c); /usr has its configuration in /etc.
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(SYSCONFDIR /etc/pprofwall)
else()
  pw_under_prefix("${PW_SYSCONF}/pprofwall" SYSCONFDIR)
endif()
foreach(unit pprofwalld pprofwall-sweep)
  configure_file("${PW_SOURCE}/${unit}.service.in" "${PW_BINARY}/${unit}.service" @ONLY)
  file(INSTALL "${PW_BINARY}/${unit}.service"
    DESTINATION "${CMAKE_INSTALL_PREFIX}/lib/systemd/system")
endforeach()

# The configuration belongs to whoever edited it: another installation puts its own beside it.
function(pw_install_edited shipped)
  get_filename_component(name "${shipped}" NAME)
  set(installed "$ENV{DESTDIR}${SYSCONFDIR}/${name}")
  set(rename "${name}")
  if(EXISTS "${installed}")
    file(SHA256 "${shipped}" shipped_hash)
    file(SHA256 "${installed}" installed_hash)
    if(NOT shipped_hash STREQUAL installed_hash)
      message(STATUS "Keeping: ${installed}; the shipped one becomes ${name}.new")
      set(rename "${name}.new")
    endif()
  endif()
  file(INSTALL "${shipped}" DESTINATION "${SYSCONFDIR}" RENAME "${rename}")
endfunction()

pw_install_edited("${PW_SOURCE}/../conf/pprofwall.yaml")
pw_install_edited("${PW_SOURCE}/sweep.env")
