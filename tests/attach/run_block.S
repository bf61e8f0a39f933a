/* SPDX-License-Identifier: MIT */
/*
 * run_block: loads all registers and flags from block_in, jumps to block_code on the stack block_stack,
 * and comes back through block_exit, which stores them in block_out. Neither touches the block's red zone.
 */
	.text
	.globl	run_block
	.type	run_block, @function
run_block:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, own_stack(%rip)
	pushq	block_in+128(%rip)
	popfq
	mov	block_in(%rip), %rax
	mov	block_in+8(%rip), %rcx
	mov	block_in+16(%rip), %rdx
	mov	block_in+24(%rip), %rbx
	mov	block_in+32(%rip), %rsp
	mov	block_in+40(%rip), %rbp
	mov	block_in+48(%rip), %rsi
	mov	block_in+56(%rip), %rdi
	mov	block_in+64(%rip), %r8
	mov	block_in+72(%rip), %r9
	mov	block_in+80(%rip), %r10
	mov	block_in+88(%rip), %r11
	mov	block_in+96(%rip), %r12
	mov	block_in+104(%rip), %r13
	mov	block_in+112(%rip), %r14
	mov	block_in+120(%rip), %r15
	jmp	*block_code(%rip)
	.size	run_block, . - run_block

	.globl	block_exit
	.type	block_exit, @function
block_exit:
	mov	%rax, block_out(%rip)
	mov	%rcx, block_out+8(%rip)
	mov	%rdx, block_out+16(%rip)
	mov	%rbx, block_out+24(%rip)
	mov	%rsp, block_out+32(%rip)
	mov	%rbp, block_out+40(%rip)
	mov	%rsi, block_out+48(%rip)
	mov	%rdi, block_out+56(%rip)
	mov	%r8, block_out+64(%rip)
	mov	%r9, block_out+72(%rip)
	mov	%r10, block_out+80(%rip)
	mov	%r11, block_out+88(%rip)
	mov	%r12, block_out+96(%rip)
	mov	%r13, block_out+104(%rip)
	mov	%r14, block_out+112(%rip)
	mov	%r15, block_out+120(%rip)
	mov	own_stack(%rip), %rsp
	pushfq
	popq	block_out+128(%rip)
	cld
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
	.size	block_exit, . - block_exit

	.data
	.p2align 3
own_stack:
	.quad	0
	.section .note.GNU-stack,"",@progbits
