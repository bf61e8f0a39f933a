/* SPDX-License-Identifier: MIT */
/* Functions whose windows something leads into, or not (function_test.c). Each label is a place probed there. */
	.text

.macro begin name
	.p2align 4, 0xcc
	.globl	\name
	.type	\name, @function
\name:
	.cfi_startproc
.endm
.macro finish name
	.cfi_endproc
	.size	\name, . - \name
.endm
.macro place name
	.globl	\name
\name:
.endm

/* Earlier code jumps into the window. */
	begin	shape_before
	test	%edi, %edi
	jz	1f
place shape_before_in
	mov	%edi, %eax
1:	add	$1, %eax
	ret
	finish	shape_before

/* Later code does. */
	begin	shape_after
	mov	%edi, %eax
1:	sub	$1, %eax
	jnz	1b
	ret
	finish	shape_after

/* Another function does, and yet another has an instruction whose bytes look as if it did: sub $X, %ecx. */
	begin	shape_far_in
	push	%rbp
	mov	%rsp, %rbp
	pop	%rbp
	ret
	finish	shape_far_in

	begin	shape_far
	.byte	0x0f, 0x84	/* jz */
	.long	shape_far_in + 1 - . - 4
	ret
	finish	shape_far

/* Neighbours do, by short branches from before and from behind. */
	begin	shape_before_near
	test	%edi, %edi
	.byte	0x74, shape_near_in + 1 - . - 1	/* jz */
	ret
	finish	shape_before_near

	begin	shape_near_in
	push	%rbp
	mov	%rsp, %rbp
	pop	%rbp
	ret
	finish	shape_near_in

	begin	shape_near_too
	push	%rbp
	mov	%rsp, %rbp
	pop	%rbp
	ret
	finish	shape_near_too

	begin	shape_behind_near
	test	%edi, %edi
	.byte	0x74, shape_near_too + 4 - . - 1
	ret
	finish	shape_behind_near

	begin	shape_like_in
	push	%rbp
	mov	%rsp, %rbp
	pop	%rbp
	ret
	finish	shape_like_in

	begin	shape_like
	.byte	0x81, 0xe9	/* sub $X, %ecx */
	.long	shape_like_in + 1 - . - 4
	ret
	finish	shape_like

/* A loop to the first byte does not hurt. */
	begin	shape_first
	sub	$1, %edi
	lea	(%rdi), %eax
	jnz	shape_first
	ret
	finish	shape_first

/* A switch by distances from the table leads to shape_table_in + 2. */
	begin	shape_table
	lea	distances(%rip), %rdx
	movslq	(%rdx,%rdi,4), %rax
	add	%rdx, %rax
	jmp	*%rax
place shape_table_in
	mov	%esi, %eax
1:	add	$1, %eax
	ret
2:	xor	%eax, %eax
	nop
	nop
	nop
	ret
	.section .rodata
	.p2align 2
distances:
	.long	2b - distances, 2b - distances, 1b - distances
	.text
	finish	shape_table

/* One by addresses. */
	begin	shape_table64
	lea	addresses(%rip), %rdx
	jmp	*(%rdx,%rdi,8)
place shape_table64_in
	mov	%esi, %eax
1:	add	$1, %eax
	ret
2:	xor	%eax, %eax
	ret
	.section .data.rel.ro, "aw"
	.p2align 3
addresses:
	.quad	2b, 1b
	.text
	finish	shape_table64

/* Distances from a label in the code. */
	begin	shape_based
	lea	1f(%rip), %rdx
	lea	based(%rip), %rax
	movslq	(%rax,%rdi,4), %rax
	add	%rdx, %rax
	jmp	*%rax
1:	nop
place shape_based_in
	mov	%esi, %eax
2:	add	$1, %eax
	ret
3:	xor	%eax, %eax
	ret
	.section .rodata
	.p2align 2
based:
	.long	3b - 1b, 2b - 1b
	.text
	finish	shape_based

/* Computed distances from a label: nothing is known. */
	begin	shape_computed
	lea	1f(%rip), %rdx
	lea	(%rdx,%rdi,8), %rdx
	jmp	*%rdx
1:	ret
	finish	shape_computed

/* The cold part, a function of its own by the unwind tables, jumps back. */
	begin	shape_split
	test	%edi, %edi
	js	shape_cold
place shape_split_in
	mov	%edi, %eax
shape_split_back:
	add	$1, %eax
	ret
	finish	shape_split
	begin	shape_other
	mov	%edi, %eax
	ret
	finish	shape_other
	begin	shape_cold
	neg	%edi
	mov	%edi, %eax
	jmp	shape_split_back
	finish	shape_cold

/* Three bytes, padding of one long nop, then another function. */
	begin	shape_short
	mov	%edi, %eax
	ret
	finish	shape_short
	.byte	0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x66, 0x90 /* nops of 11 and 2 bytes */
	begin	shape_next
	mov	%edi, %eax
	nop
	nop
	ret
	finish	shape_next

/* Two bytes, no padding, another function. */
	begin	shape_tight
	nop
	ret
	finish	shape_tight
	.globl	shape_tight_next
	.type	shape_tight_next, @function
shape_tight_next:
	.cfi_startproc
	mov	%edi, %eax
	nop
	nop
	ret
	.cfi_endproc
	.size	shape_tight_next, . - shape_tight_next

/* A restartable sequence. */
	begin	shape_rseq
	lea	sequence(%rip), %rax
	mov	%rax, -8(%rsp)
place shape_rseq_start
	mov	%edi, %eax
	mov	%eax, -16(%rsp)
	mov	%eax, -24(%rsp)
place shape_rseq_end
	mov	%edi, %eax
	nop
	nop
	nop
	ret
	.byte	0x0f, 0xb9, 0x3d
	.long	0x53053053
shape_rseq_abort:
	jmp	shape_rseq
	.section .data.rel.ro
	.p2align 5
sequence:
	.long	0, 0
	.quad	shape_rseq_start, shape_rseq_end - shape_rseq_start, shape_rseq_abort
	.text
	finish	shape_rseq

/* No unwind information: a short branch from before, one from behind. */
	.p2align 4, 0xcc
	.globl	shape_bare
	.type	shape_bare, @function
shape_bare:
	test	%edi, %edi
	jz	1f
place shape_bare_in
	mov	%edi, %eax
1:	add	$1, %eax
	add	$1, %eax
place shape_bare_free
	lea	1(%rax), %eax
	lea	2(%rax), %eax
	ret
	.size	shape_bare, . - shape_bare

/* A breakpoint. */
	begin	shape_break
	mov	%edi, %eax
	int3
	nop
	nop
	ret
	finish	shape_break
	.section .note.GNU-stack,"",@progbits
