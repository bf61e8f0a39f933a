/* SPDX-License-Identifier: MIT */
/*
 * What the benchmark calls. All functions have one body, so that a row's cost over bare_function is
 * the cost of the probe. It begins with push %rbp, which the kernel emulates (its fast case where
 * there is no nop5), and the middle, four bytes in, is a leaf's with flags that may be live.
 *
 * limit_entry and limit_regs are hooked by hand: what a trampoline costs that saves the nine
 * caller-saved registers and calls an empty handler, and one that fills struct pt_regs, keeps the
 * flags, and tests a word before it calls. limit_return is called through by one for this very caller, which
 * then saves the registers that hold results and those the psABI leaves, and calls the handler.
 */
	.text

.macro body
	push	%rbp
	mov	%rsp, %rbp
	lea	(%rdi,%rdi), %eax
	pop	%rbp
	ret
.endm

.macro function name
	.p2align 6
	.globl	\name
	.type	\name, @function
\name:
	body
	.size	\name, . - \name
	.p2align 6, 0xcc
.endm

	function bare_function
	function target_function
	function secondary_function
	function empty_function
	function middle_function
	function two_function
	function five_function
	function push_function
	function pushpop_function
	function return_function
	function returns_function
	function both_function

/* No jump fits: a branch leads to its second byte, and a punned jump would go below address 0 (no PIE). */
	.p2align 6
	.globl	trap_function
	.type	trap_function, @function
trap_function:
	.cfi_startproc
	nop
1:	body
	jmp	1b
	.cfi_endproc
	.size	trap_function, . - trap_function
	.p2align 6, 0xcc

	.p2align 6
limit_handler:
	ret

	.p2align 6
	.globl	limit_entry
	.type	limit_entry, @function
limit_entry:
	jmp	1f
	nop
0:	pop	%rbp
	ret
	.size	limit_entry, . - limit_entry
	.p2align 6
1:	lea	-208(%rsp), %rsp
	mov	%rax, (%rsp)
	mov	%rcx, 8(%rsp)
	mov	%rdx, 16(%rsp)
	mov	%rsi, 24(%rsp)
	mov	%rdi, 32(%rsp)
	mov	%r8, 40(%rsp)
	mov	%r9, 48(%rsp)
	mov	%r10, 56(%rsp)
	mov	%r11, 64(%rsp)
	call	limit_handler
	mov	(%rsp), %rax
	mov	8(%rsp), %rcx
	mov	16(%rsp), %rdx
	mov	24(%rsp), %rsi
	mov	32(%rsp), %rdi
	mov	40(%rsp), %r8
	mov	48(%rsp), %r9
	mov	56(%rsp), %r10
	mov	64(%rsp), %r11
	lea	208(%rsp), %rsp
	push	%rbp
	mov	%rsp, %rbp
	lea	(%rdi,%rdi), %eax
	jmp	0b

	.p2align 6
	.globl	limit_regs
	.type	limit_regs, @function
limit_regs:
	jmp	1f
	nop
0:	pop	%rbp
	ret
	.size	limit_regs, . - limit_regs
	.p2align 6
1:	lea	-304(%rsp), %rsp
	mov	%r15, (%rsp)
	mov	%r14, 8(%rsp)
	mov	%r13, 16(%rsp)
	mov	%r12, 24(%rsp)
	mov	%rbp, 32(%rsp)
	mov	%rbx, 40(%rsp)
	mov	%r11, 48(%rsp)
	mov	%r10, 56(%rsp)
	mov	%r9, 64(%rsp)
	mov	%r8, 72(%rsp)
	mov	%rax, 80(%rsp)
	lahf
	seto	%al
	mov	%rcx, 88(%rsp)
	mov	%rdx, 96(%rsp)
	mov	%rsi, 104(%rsp)
	mov	%rdi, 112(%rsp)
	mov	%rax, 144(%rsp)
	cmpl	$0, limit_live(%rip)
	je	2f
	call	limit_handler
2:	mov	144(%rsp), %rax
	mov	112(%rsp), %rdi
	mov	104(%rsp), %rsi
	mov	96(%rsp), %rdx
	mov	88(%rsp), %rcx
	add	$127, %al
	sahf
	mov	80(%rsp), %rax
	mov	72(%rsp), %r8
	mov	64(%rsp), %r9
	mov	56(%rsp), %r10
	mov	48(%rsp), %r11
	lea	304(%rsp), %rsp
	push	%rbp
	mov	%rsp, %rbp
	lea	(%rdi,%rdi), %eax
	jmp	0b

	.p2align 6
	.globl	limit_return
	.type	limit_return, @function
limit_return:
	jmp	1f
	nop
0:	pop	%rbp
	ret
	.size	limit_return, . - limit_return
	.p2align 6
1:	pop	limit_caller(%rip)
	call	2f
	push	limit_caller(%rip)
	lea	-208(%rsp), %rsp
	mov	%rax, (%rsp)
	mov	%rcx, 8(%rsp)
	mov	%rdx, 16(%rsp)
	mov	%rsi, 24(%rsp)
	mov	%rdi, 32(%rsp)
	mov	%r8, 40(%rsp)
	mov	%r9, 48(%rsp)
	mov	%r10, 56(%rsp)
	mov	%r11, 64(%rsp)
	call	limit_handler
	mov	(%rsp), %rax
	mov	8(%rsp), %rcx
	mov	16(%rsp), %rdx
	mov	24(%rsp), %rsi
	mov	32(%rsp), %rdi
	mov	40(%rsp), %r8
	mov	48(%rsp), %r9
	mov	56(%rsp), %r10
	mov	64(%rsp), %r11
	lea	208(%rsp), %rsp
	ret
2:	push	%rbp
	mov	%rsp, %rbp
	lea	(%rdi,%rdi), %eax
	jmp	0b

	.data
	.p2align 6
limit_caller:
	.quad	0
	.p2align 6
limit_live:
	.long	1
	.section .note.GNU-stack,"",@progbits
