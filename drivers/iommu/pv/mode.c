// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which aperture is used how: the module parameter "mode".
 */
#include <linux/kstrtox.h>
#include <linux/moduleparam.h>
#include <linux/string.h>

#include "pviommu.h"

static const char * const names[] = {
	[PVIOMMU_REMAP]		= "remap",
	[PVIOMMU_BOUNCE]	= "bounce",
	[PVIOMMU_HYBRID]	= "hybrid",
	[PVIOMMU_DIRECT]	= "direct",
};

static char modes[128] = "remap";

/*
 * The next element of a list such as "bounce,1:remap": what it says, and of which
 * aperture, or of all. Returns where the one after it begins, or NULL if this one makes
 * no sense.
 */
static const char *next_rule(const char *list, bool *all, u32 *id,
			     enum pviommu_mode *mode)
{
	const char *end = strchrnul(list, ',');
	const char *colon = memchr(list, ':', end - list);
	char number[12];
	int found;

	*all = !colon;
	if (colon) {
		if (colon - list >= sizeof(number))
			return NULL;
		strscpy(number, list, colon - list + 1);
		if (kstrtou32(number, 10, id))
			return NULL;
		list = colon + 1;
	}

	for (found = 0; found < ARRAY_SIZE(names); found++) {
		if (strlen(names[found]) == end - list &&
		    !memcmp(names[found], list, end - list))
			break;
	}
	if (found == ARRAY_SIZE(names))
		return NULL;
	*mode = found;
	return *end ? end + 1 : end;
}

/**
 * pviommu_mode_find() - look up how an aperture is to be used
 * @list: the modes that are wanted, as the parameter says
 * @aperture: its id
 * @mode: filled in; of several elements that apply, the last counts
 *
 * Context: Any.
 * Return: 0, or -EINVAL if the list makes no sense.
 */
VISIBLE_IF_KUNIT int pviommu_mode_find(const char *list, u32 aperture,
				       enum pviommu_mode *mode)
{
	enum pviommu_mode found;
	bool all;
	u32 id;

	*mode = PVIOMMU_REMAP;
	do {
		list = next_rule(list, &all, &id, &found);
		if (!list)
			return -EINVAL;
		if (all || id == aperture)
			*mode = found;
	} while (*list);
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(pviommu_mode_find);

static int modes_set(const char *value, const struct kernel_param *param)
{
	enum pviommu_mode mode;

	if (pviommu_mode_find(value, 0, &mode) ||
	    strscpy(modes, value, sizeof(modes)) < 0)
		return -EINVAL;
	return 0;
}

static int modes_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%s\n", modes);
}

static const struct kernel_param_ops modes_ops = {
	.set = modes_set,
	.get = modes_get,
};
module_param_cb(mode, &modes_ops, NULL, 0444);
MODULE_PARM_DESC(mode,
		 "How apertures are used: remap (default), bounce, hybrid or direct; as in \"bounce,1:remap\" also for one alone");

/**
 * pviommu_mode_of() - how an aperture is to be used
 * @aperture: its id
 *
 * Context: Any.
 * Return: the mode.
 */
enum pviommu_mode pviommu_mode_of(u32 aperture)
{
	enum pviommu_mode mode;

	/* It made sense when it was set. */
	pviommu_mode_find(modes, aperture, &mode);
	return mode;
}

/**
 * pviommu_mode_name() - a mode, as the parameter says it
 * @mode: the mode
 *
 * Context: Any.
 * Return: its name.
 */
const char *pviommu_mode_name(enum pviommu_mode mode)
{
	return names[mode];
}
