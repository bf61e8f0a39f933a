/* SPDX-License-Identifier: MIT */
/*
 * The types limpet brings for machines whose kernel shows no BTF: what uprobe programs relocate against.
 * Compiled with -target bpf -g; its .BTF section is what /sys/kernel/btf/vmlinux reads as there.
 */
#if !defined(__x86_64__) && !defined(LIMPET_BTF_X86_64)
#error "which struct pt_regs?"
#endif

struct pt_regs {
	unsigned long r15;
	unsigned long r14;
	unsigned long r13;
	unsigned long r12;
	unsigned long bp;
	unsigned long bx;
	unsigned long r11;
	unsigned long r10;
	unsigned long r9;
	unsigned long r8;
	unsigned long ax;
	unsigned long cx;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
	unsigned long ip;
	unsigned long cs;
	unsigned long flags;
	unsigned long sp;
	unsigned long ss;
};

typedef struct pt_regs bpf_user_pt_regs_t;

int limpet_types(bpf_user_pt_regs_t *regs)
{
	return (int)regs->ip;
}
