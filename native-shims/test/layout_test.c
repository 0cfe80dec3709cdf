/* SPDX-License-Identifier: MIT
 *
 * The exported layout is complete, has unique names, and its columns are in order without gaps.
 */
#include "../shim.h"
#include "check.h"

static int32_t value_of(const char *name)
{
	for (size_t i = 0; i < shim_layout_count; i++)
		if (strcmp(shim_layout[i].name, name) == 0)
			return shim_layout[i].value;
	return -1;
}

int main(void)
{
	size_t columns = 0;

	for (size_t i = 0; i < shim_layout_count; i++) {
		for (size_t k = 0; k < i; k++)
			CHECK(strcmp(shim_layout[i].name, shim_layout[k].name) != 0);
		if (strncmp(shim_layout[i].name, "offsetof.batch.", 15) == 0)
			CHECK_EQ(shim_layout[i].value, (long long)columns++ * BATCH_CAP * 4);
	}
	CHECK_EQ(columns * BATCH_CAP * 4, sizeof(struct batch));
	CHECK_EQ(value_of("sizeof.batch"), sizeof(struct batch));
	CHECK_EQ(value_of("sizeof.peerRow"), 32);
	CHECK_EQ(value_of("offsetof.peerRow.flags"), 28);
	CHECK_EQ(value_of("sizeof.waitResult"), sizeof(struct wait_result));
	CHECK_EQ(value_of("WAIT_ERROR_BIT"), 1 << 30);
	return check_report();
}
