// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Classic BPF (libpcap's compiler) -> an eBPF program that runs before the capture program.
 *
 * At tc the kernel takes no classic filter beside an extended program, so it is translated,
 * instruction by instruction (McCanne, Jacobson, "The BSD Packet Filter", 1993; the kernel's
 * Documentation/bpf/instruction-set). A packet that matches goes on by a tail call, with a word about its direction; any
 * other ends here at the price of the filter alone. As in the classic machine, a load beyond the packet's end
 * and a division by zero reject. Loads from fixed places read the linear part of the buffer
 * directly, others and those beyond it call bpf_skb_load_bytes().
 *
 * r6 context, r7 X, r8 A, r9 packet's linear start; the stack holds M[] and a word to load into.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <stddef.h>
#include <stdlib.h>

#include "source/ebpf.h"

enum { CTX = BPF_REG_6, X = BPF_REG_7, A = BPF_REG_8, DATA = BPF_REG_9 };

#define SCRATCH_WORDS 16
#define LOAD_AT   (-8 * (SCRATCH_WORDS / 2 + 1)) /* of the frame pointer */
#define MAX_DIRECT 0x3fff /* offset of a direct load: fits the instruction */
#define PER_INSN  20      /* eBPF instructions of one classic one, at most */

/*
 * @at:    where each classic instruction begins; [n] is the accepting, [n + 1] the rejecting end
 * @fix:   jumps to be filled in: classic target of instruction i, -1 for none
 */
struct translation {
	struct bpf_insn *code;
	int *fix;
	int *at;
	int n_code;
	int accept, reject;
};

static void emit(struct translation *t, int op, unsigned int dst, unsigned int src, int off,
		 int imm)
{
	t->fix[t->n_code] = -1;
	t->code[t->n_code++] = (struct bpf_insn){ .code = (uint8_t)op, .dst_reg = dst & 0xfu,
						  .src_reg = src & 0xfu, .off = (int16_t)off,
						  .imm = imm };
}

/* A jump to classic instruction @to. */
static void emit_jump(struct translation *t, int op, int dst, int src, int imm, int to)
{
	emit(t, op, dst, src, 0, imm);
	t->fix[t->n_code - 1] = to;
}

/* @dst = the @size bytes at the stack's load place or at DATA + @off, as a number. */
static void emit_fetch(struct translation *t, int dst, int base, int off, int size)
{
	emit(t, BPF_LDX | BPF_MEM | size, dst, base, off, 0);
	if (size != BPF_B)
		emit(t, BPF_ALU | BPF_END | BPF_TO_BE, dst, 0, 0, size == BPF_H ? 16 : 32);
}

static int bytes_of(int size)
{
	return size == BPF_B ? 1 : size == BPF_H ? 2 : 4;
}

/* By the helper, from the offset in r2. */
static void emit_load_call(struct translation *t, int dst, int size)
{
	emit(t, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, CTX, 0, 0);
	emit(t, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_10, 0, 0);
	emit(t, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_3, 0, 0, LOAD_AT);
	emit(t, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_4, 0, 0, bytes_of(size));
	emit(t, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_load_bytes);
	emit_jump(t, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, 0, t->reject);
	emit_fetch(t, dst, BPF_REG_10, LOAD_AT, size);
}

/* @dst = packet[@k] */
static void emit_load_abs(struct translation *t, int dst, int size, uint32_t k)
{
	int to_slow = -1, to_end = -1;

	if (k <= MAX_DIRECT) {
		emit(t, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, DATA, 0, 0);
		emit(t, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, (int)k + bytes_of(size));
		emit(t, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_3, CTX,
		     offsetof(struct __sk_buff, data_end), 0);
		to_slow = t->n_code;
		emit(t, BPF_JMP | BPF_JGT | BPF_X, BPF_REG_2, BPF_REG_3, 0, 0);
		emit_fetch(t, dst, DATA, (int)k, size);
		to_end = t->n_code;
		emit(t, BPF_JMP | BPF_JA, 0, 0, 0, 0);
		t->code[to_slow].off = (int16_t)(t->n_code - to_slow - 1);
	}
	emit(t, BPF_ALU | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, (int)k);
	emit_load_call(t, dst, size);
	if (to_end >= 0)
		t->code[to_end].off = (int16_t)(t->n_code - to_end - 1);
}

/* LD and LDX. Return: false when the instruction is none that libpcap makes for packets. */
static bool load(struct translation *t, const struct vns_bpf_insn *c)
{
	int dst = BPF_CLASS(c->code) == BPF_LD ? A : X, size = BPF_SIZE(c->code);

	switch (BPF_MODE(c->code)) {
	case BPF_IMM:
		emit(t, BPF_ALU | BPF_MOV | BPF_K, dst, 0, 0, (int)c->k);
		return true;
	case BPF_LEN:
		emit(t, BPF_LDX | BPF_MEM | BPF_W, dst, CTX, offsetof(struct __sk_buff, len), 0);
		return true;
	case BPF_MEM:
		emit(t, BPF_LDX | BPF_MEM | BPF_W, dst, BPF_REG_10, -4 * ((int)c->k + 1), 0);
		return c->k < SCRATCH_WORDS;
	case BPF_ABS:
		emit_load_abs(t, dst, size, c->k);
		return c->k <= INT32_MAX; /* above: ancillary data of sockets */
	case BPF_IND:
		emit(t, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_2, X, 0, 0);
		emit(t, BPF_ALU | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, (int)c->k);
		emit_load_call(t, dst, size);
		return true;
	case BPF_MSH:
		emit_load_abs(t, X, BPF_B, c->k);
		emit(t, BPF_ALU | BPF_AND | BPF_K, X, 0, 0, 0x0f);
		emit(t, BPF_ALU | BPF_LSH | BPF_K, X, 0, 0, 2);
		return true;
	default:
		return false;
	}
}

static bool arithmetic(struct translation *t, const struct vns_bpf_insn *c)
{
	int op = BPF_OP(c->code), src = BPF_SRC(c->code);

	if (op == BPF_NEG) {
		emit(t, BPF_ALU | BPF_NEG, A, 0, 0, 0);
		return true;
	}
	if (op > BPF_XOR)
		return false;
	if (op == BPF_DIV || op == BPF_MOD) {
		if (src == BPF_K && c->k == 0)
			return false;
		if (src == BPF_X)
			emit_jump(t, BPF_JMP32 | BPF_JEQ | BPF_K, X, 0, 0, t->reject);
	}
	emit(t, BPF_ALU | op | src, A, src == BPF_X ? X : 0, 0, src == BPF_X ? 0 : (int)c->k);
	return true;
}

static bool jump(struct translation *t, const struct vns_bpf_insn *c, int i, int n)
{
	int op = BPF_OP(c->code), src = BPF_SRC(c->code);
	int yes = i + 1 + c->jt, no = i + 1 + c->jf;

	if (op == BPF_JA) {
		if (c->k >= (uint32_t)(n - i - 1))
			return false;
		emit_jump(t, BPF_JMP | BPF_JA, 0, 0, 0, i + 1 + (int)c->k);
		return true;
	}
	if (yes >= n || no >= n || (op != BPF_JEQ && op != BPF_JGT && op != BPF_JGE && op != BPF_JSET))
		return false;
	emit_jump(t, BPF_JMP32 | op | src, A, src == BPF_X ? X : 0, src == BPF_X ? 0 : (int)c->k,
		  yes);
	if (c->jf)
		emit_jump(t, BPF_JMP | BPF_JA, 0, 0, 0, no);
	return true;
}

static bool one(struct translation *t, const struct vns_bpf_insn *c, int i, int n)
{
	bool to_x;

	switch (BPF_CLASS(c->code)) {
	case BPF_LD:
	case BPF_LDX:
		return load(t, c);
	case BPF_ST:
	case BPF_STX:
		emit(t, BPF_STX | BPF_MEM | BPF_W, BPF_REG_10,
		     BPF_CLASS(c->code) == BPF_ST ? A : X, -4 * ((int)c->k + 1), 0);
		return c->k < SCRATCH_WORDS;
	case BPF_ALU:
		return arithmetic(t, c);
	case BPF_JMP:
		return jump(t, c, i, n);
	case BPF_RET:
		if (BPF_RVAL(c->code) == BPF_A) {
			emit_jump(t, BPF_JMP32 | BPF_JEQ | BPF_K, A, 0, 0, t->reject);
			emit_jump(t, BPF_JMP | BPF_JA, 0, 0, 0, t->accept);
		} else {
			emit_jump(t, BPF_JMP | BPF_JA, 0, 0, 0, c->k ? t->accept : t->reject);
		}
		return true;
	case BPF_MISC:
		to_x = BPF_MISCOP(c->code) == BPF_TAX;
		emit(t, BPF_ALU | BPF_MOV | BPF_X, to_x ? X : A, to_x ? A : X, 0, 0);
		return true;
	default:
		return false;
	}
}

static void begin(struct translation *t)
{
	emit(t, BPF_ALU64 | BPF_MOV | BPF_X, CTX, BPF_REG_1, 0, 0);
	emit(t, BPF_ALU | BPF_MOV | BPF_K, X, 0, 0, 0);
	emit(t, BPF_ALU | BPF_MOV | BPF_K, A, 0, 0, 0);
	emit(t, BPF_LDX | BPF_MEM | BPF_W, DATA, CTX, offsetof(struct __sk_buff, data), 0);
	for (int i = 1; i <= SCRATCH_WORDS / 2; i++)
		emit(t, BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, -8 * i, 0);
}

static void finish(struct translation *t, int gates_fd, int egress)
{
	const int at = offsetof(struct __sk_buff, cb) + 4 * VNS_BPF_CB_EGRESS;

	t->at[t->accept] = t->n_code;
	emit(t, BPF_ALU | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, egress);
	emit(t, BPF_STX | BPF_MEM | BPF_W, CTX, BPF_REG_2, at, 0);
	emit(t, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, CTX, 0, 0);
	emit(t, BPF_LD | BPF_IMM | BPF_DW, BPF_REG_2, BPF_PSEUDO_MAP_FD, 0, gates_fd);
	emit(t, 0, 0, 0, 0, 0); /* upper half of the map's address */
	emit(t, BPF_ALU | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, 0);
	emit(t, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call);
	t->at[t->reject] = t->n_code;
	emit(t, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, -1); /* TCX_NEXT, TC_ACT_UNSPEC */
	emit(t, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (int i = 0; i < t->n_code; i++)
		if (t->fix[i] >= 0)
			t->code[i].off = (int16_t)(t->at[t->fix[i]] - i - 1);
}

int vns_ebpf_translate(const struct vns_bpf_insn *filter, size_t n, int gates_fd, int egress,
		       struct bpf_insn **out, struct vns_err *err)
{
	size_t room = n * PER_INSN + 64;
	struct translation t = { .code = calloc(room, sizeof(*t.code)),
				 .fix = calloc(room, sizeof(*t.fix)),
				 .at = calloc(n + 2, sizeof(*t.at)),
				 .accept = (int)n, .reject = (int)n + 1 };
	int rc = 0;

	if (!t.code || !t.fix || !t.at) {
		rc = vns_err_set(err, -ENOMEM, "no memory to translate a filter");
		goto out;
	}
	begin(&t);
	for (size_t i = 0; i < n && !rc; i++) {
		t.at[i] = t.n_code;
		if (!one(&t, &filter[i], (int)i, (int)n))
			rc = vns_err_set(err, -EINVAL, "instruction %zu of the filter (code 0x%x) has "
					 "no eBPF translation; use --capture afpacket", i,
					 filter[i].code);
	}
	if (!rc)
		finish(&t, gates_fd, egress);
	if (!rc && t.n_code > VNS_EBPF_MAX_INSNS)
		rc = vns_err_set(err, -E2BIG, "the filter becomes %d eBPF instructions, at most %d "
				 "can be used", t.n_code, VNS_EBPF_MAX_INSNS);
out:
	free(t.fix);
	free(t.at);
	if (rc) {
		free(t.code);
		return rc;
	}
	*out = t.code;
	return t.n_code;
}
