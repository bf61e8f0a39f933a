/* SPDX-License-Identifier: MIT */
/* The BTF of vmlinux.bpf.c, as bytes. LIMPET_BTF: its path, from the build. */
	.section .rodata
	.balign 8
	.globl limpet_btf_start
	.hidden limpet_btf_start
limpet_btf_start:
	.incbin LIMPET_BTF
	.globl limpet_btf_end
	.hidden limpet_btf_end
limpet_btf_end:
	.byte 0
	.section .note.GNU-stack, "", @progbits
