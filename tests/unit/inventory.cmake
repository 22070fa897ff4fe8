# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_cgroup pw_inventory)
pw_unit_test(test_inventory_table pw_inventory PkgConfig::LIBMNL)
target_sources(test_inventory_table PRIVATE
  ${PROJECT_SOURCE_DIR}/daemon/inventory/table.c
  ${PROJECT_SOURCE_DIR}/daemon/inventory/namespaces.c
  ${PROJECT_SOURCE_DIR}/daemon/inventory/addresses.c
  ${PROJECT_SOURCE_DIR}/daemon/inventory/diag.c
  ${PROJECT_SOURCE_DIR}/daemon/inventory/netlink.c)
