// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The clock relation from a file: what `drift --json` wrote -> struct vns_clock.
 *
 * The file may have come from anywhere: everything is checked, and what is wrong is named with its
 * place. Members that are not known are ignored, so that the document may grow.
 */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <vnetscope/measure.h>

#define SCHEMA_PREFIX  "vnetscope.drift/1"
#define MAX_PIECES     100000
#define MAX_RATE_PPM   500.0

struct reader {
	const char *path;
	struct vns_err *err;
	struct vns_clock_saved *piece;
	size_t n;
};

#define FAIL(r, ...) vns_err_set((r)->err, -EINVAL, __VA_ARGS__)

/* A whole number; reals that are whole enough for one are taken as well. */
static int get_ns(struct reader *r, const json_t *o, const char *name, size_t i, int64_t *out)
{
	const json_t *v = json_object_get(o, name);

	if (json_is_integer(v)) {
		*out = json_integer_value(v);
		return 0;
	}
	if (json_is_real(v) && fabs(json_real_value(v)) < 9e18) {
		*out = llround(json_real_value(v));
		return 0;
	}
	return FAIL(r, "%s: pieces[%zu].%s is %s", r->path, i, name,
		    v ? "not a number of ns" : "missing");
}

static int get_real(struct reader *r, const json_t *o, const char *name, size_t i, double otherwise,
		    double *out)
{
	const json_t *v = json_object_get(o, name);

	*out = otherwise;
	if (!v && !isnan(otherwise))
		return 0;
	if (!json_is_number(v))
		return FAIL(r, "%s: pieces[%zu].%s is %s", r->path, i, name,
			    v ? "not a number" : "missing");
	*out = json_number_value(v);
	return 0;
}

/* [[at_ns, value_ns], ...] */
static int get_knots(struct reader *r, const json_t *list, const char *name, size_t i,
		     struct vns_clock_knot **out, size_t *n)
{
	*n = json_array_size(list);
	*out = calloc(*n ? *n : 1, sizeof(**out));
	if (!*out)
		return vns_err_set(r->err, -ENOMEM, "out of memory");
	for (size_t k = 0; k < *n; k++) {
		const json_t *pair = json_array_get(list, k);
		const json_t *at = json_array_get(pair, 0), *value = json_array_get(pair, 1);

		if (json_array_size(pair) != 2 || !json_is_integer(at) || !json_is_integer(value))
			return FAIL(r, "%s: pieces[%zu].%s[%zu] is not a pair of whole ns", r->path, i,
				    name, k);
		(*out)[k].at_ns = json_integer_value(at);
		(*out)[k].value_ns = json_integer_value(value);
		if (k > 0 && (*out)[k].at_ns <= (*out)[k - 1].at_ns)
			return FAIL(r, "%s: pieces[%zu].%s[%zu] is not later than the one before",
				    r->path, i, name, k);
	}
	return 0;
}

/* No bound of its own: the document's distance from the offset, along the whole piece. */
static int default_knots(struct reader *r, const json_t *doc, const char *name, size_t i,
			 struct vns_clock_knot **out, size_t *n)
{
	const struct vns_clock_piece *p = &r->piece[i].piece;
	const json_t *bound = json_object_get(doc, name), *off = json_object_get(doc, "offset_ns");
	double distance, rise;

	rise = p->drift_ppm * 1e-6 * ((double)p->to_ns - (double)p->from_ns);
	if (json_is_null(bound))
		return 0;
	if (!json_is_number(bound) || !json_is_number(off))
		return FAIL(r, "%s: pieces[%zu] has no bounds, and the document has no offset_ns and %s",
			    r->path, i, name);
	distance = json_number_value(bound) - json_number_value(off);
	if (!(fabs(distance) < 9e17) || !(fabs(p->offset_ns) < 8e18))
		return FAIL(r, "%s: %s is out of range", r->path, name);
	*n = p->to_ns > p->from_ns ? 2 : 1;
	*out = calloc(*n, sizeof(**out));
	if (!*out)
		return vns_err_set(r->err, -ENOMEM, "out of memory");
	for (size_t k = 0; k < *n; k++) {
		double y = p->offset_ns + distance + (k ? rise : 0);

		(*out)[k].at_ns = k ? p->to_ns : p->from_ns;
		(*out)[k].value_ns = (int64_t)(distance > 0 ? ceil(y) : floor(y));
	}
	return 0;
}

static int get_bounds(struct reader *r, const json_t *doc, const json_t *o, size_t i)
{
	struct vns_clock_saved *s = &r->piece[i];
	const json_t *lower = json_object_get(o, "lower"), *upper = json_object_get(o, "upper");
	int ret;

	ret = lower ? get_knots(r, lower, "lower", i, &s->lower, &s->n_lower) :
		      default_knots(r, doc, "lower_ns", i, &s->lower, &s->n_lower);
	if (ret)
		return ret;
	return upper ? get_knots(r, upper, "upper", i, &s->upper, &s->n_upper) :
		       default_knots(r, doc, "upper_ns", i, &s->upper, &s->n_upper);
}

static int get_interval(struct reader *r, const json_t *o, size_t i)
{
	struct vns_clock_saved *s = &r->piece[i];
	const json_t *ci = json_object_get(o, "ci");
	int ret;

	s->ci_at_ns = s->piece.from_ns;
	if (!json_is_object(ci))
		return 0;
	ret = get_ns(r, ci, "at_ns", i, &s->ci_at_ns);
	if (ret == 0)
		ret = get_real(r, ci, "half_ns", i, NAN, &s->ci_half_ns);
	if (ret == 0)
		ret = get_real(r, ci, "half_ppm", i, NAN, &s->ci_half_ppm);
	s->have_ci = true;
	return ret;
}

static int get_piece(struct reader *r, const json_t *doc, const json_t *o, size_t i)
{
	struct vns_clock_saved *s = &r->piece[i];
	struct vns_clock_piece *p = &s->piece;
	int64_t offset;
	int ret;

	if (!json_is_object(o))
		return FAIL(r, "%s: pieces[%zu] is not an object", r->path, i);
	if ((ret = get_ns(r, o, "from_ns", i, &p->from_ns)) ||
	    (ret = get_ns(r, o, "to_ns", i, &p->to_ns)) ||
	    (ret = get_ns(r, o, "offset_ns", i, &offset)) ||
	    (ret = get_real(r, o, "drift_ppm", i, NAN, &p->drift_ppm)) ||
	    (ret = get_real(r, o, "drift_lower_ppm", i, -MAX_RATE_PPM, &p->drift_lower_ppm)) ||
	    (ret = get_real(r, o, "drift_upper_ppm", i, MAX_RATE_PPM, &p->drift_upper_ppm)) ||
	    (ret = get_real(r, o, "widened_ns", i, 0, &p->widened_ns)))
		return ret;
	p->offset_ns = (double)offset;
	if (p->to_ns < p->from_ns || (i > 0 && p->from_ns < r->piece[i - 1].piece.to_ns))
		return FAIL(r, "%s: pieces[%zu] is not in order of time", r->path, i);
	if (!(fabs(p->drift_ppm) <= MAX_RATE_PPM))
		return FAIL(r, "%s: pieces[%zu].drift_ppm is beyond %g ppm", r->path, i, MAX_RATE_PPM);
	p->step_after = json_is_true(json_object_get(o, "step_after"));
	p->bent = json_is_true(json_object_get(o, "bent"));
	p->undecided = json_is_true(json_object_get(o, "undecided"));
	s->weak = json_is_true(json_object_get(o, "uncertain"));
	s->split_ns = p->to_ns;
	if (json_object_get(o, "split_ns"))
		ret = get_ns(r, o, "split_ns", i, &s->split_ns);
	if (ret == 0)
		ret = get_bounds(r, doc, o, i);
	return ret ? ret : get_interval(r, o, i);
}

static int get_document(struct reader *r, const json_t *doc, struct vns_clock **out)
{
	const json_t *modes = json_object_get(doc, "modes"), *pieces;
	const char *schema = json_string_value(json_object_get(doc, "schema")), *name;
	enum vns_clock_mode mode;
	int ret = 0;

	if (!schema || strcmp(schema, SCHEMA_PREFIX) != 0)
		return FAIL(r, "%s was not written by `drift --json`: its schema is %s, not %s", r->path,
			    schema ? schema : "missing", SCHEMA_PREFIX);
	if (json_array_size(modes) > 0)
		doc = json_array_get(modes, 0);
	name = json_string_value(json_object_get(doc, "mode"));
	if (!name || vns_clock_mode_parse(name, &mode))
		return FAIL(r, "%s: its clock mode is %s", r->path, name ? name : "missing");
	pieces = json_object_get(doc, "pieces");
	r->n = json_array_size(pieces);
	if (r->n == 0 || r->n > MAX_PIECES)
		return FAIL(r, "%s has %s", r->path,
			    r->n ? "more pieces than any measurement" : "no pieces: nothing was measured");
	r->piece = calloc(r->n, sizeof(*r->piece));
	if (!r->piece)
		return vns_err_set(r->err, -ENOMEM, "out of memory");
	for (size_t i = 0; ret == 0 && i < r->n; i++)
		ret = get_piece(r, doc, json_array_get(pieces, i), i);
	if (ret)
		return ret;
	ret = vns_clock_restore(out, mode, r->piece, r->n);
	if (ret == -EINVAL)
		return FAIL(r, "%s: its pieces contradict themselves (bounds that cross, or no number)",
			    r->path);
	return ret ? vns_err_set(r->err, ret, "out of memory") : 0;
}

int vns_drift_file_read(const char *path, struct vns_clock **out, struct vns_err *err)
{
	struct reader r = { .path = path, .err = err };
	json_error_t at;
	FILE *f;
	json_t *doc;
	int ret;

	*out = NULL;
	f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	if (!f)
		return vns_err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
	doc = json_loadf(f, JSON_REJECT_DUPLICATES, &at);
	if (f != stdin)
		fclose(f);
	if (!doc)
		return vns_err_set(err, -EINVAL, "%s is not JSON: line %d: %s", path, at.line, at.text);
	ret = get_document(&r, doc, out);
	for (size_t i = 0; r.piece && i < r.n; i++)
		vns_clock_saved_fini(&r.piece[i]);
	free(r.piece);
	json_decref(doc);
	return ret;
}
