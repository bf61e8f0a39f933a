/* SPDX-License-Identifier: MIT */
/*
 * Comes to each label with registers, flags and a stack of its own making; linked to a fixed address.
 * regs_test.py compares what programs see there on limpet and on the kernel.
 */
	.text
	.macro set value
	mov	$0x1111111100000000 + \value, %rax
	mov	$0x2222222200000000 + \value, %rcx
	mov	$0x3333333300000000 + \value, %rdx
	mov	$0x4444444400000000 + \value, %rbx
	mov	$0x5555555500000000 + \value, %rbp
	mov	$0x6666666600000000 + \value, %rsi
	mov	$0x7777777700000000 + \value, %rdi
	mov	$0x0808080800000000 + \value, %r8
	mov	$0x0909090900000000 + \value, %r9
	mov	$0x0a0a0a0a00000000 + \value, %r10
	mov	$0x0b0b0b0b00000000 + \value, %r11
	mov	$0x0c0c0c0c00000000 + \value, %r12
	mov	$0x0d0d0d0d00000000 + \value, %r13
	mov	$0x0e0e0e0e00000000 + \value, %r14
	mov	$0x0f0f0f0f00000000 + \value, %r15
	.endm
	.macro place name
	.globl	\name
	.type	\name, @function
\name:
	.endm

	.globl	main
	.type	main, @function
main:
	.cfi_startproc
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, own_stack
	mov	$stack_top, %rsp
	set	1
	call	at_entry
	set	2
	stc
	std
place at_odd_flags
	nop
	nop
	nop
	nop
	nop
	cld
	set	3
	sub	$1, %rsp
	mov	$0x80000000, %eax
	add	%eax, %eax
place at_overflow
	lea	1(%rsp), %rsp
	set	4
	xor	%eax, %eax
place at_call
	call	leaf
	set	5
	xor	%ecx, %ecx
	sub	$1, %ecx
place at_branch
	jc	1f
	nop
	nop
	nop
	nop
1:	set	6
	mov	$leaf, %r11
place at_call_memory
	call	*pointer(%rip)
	mov	own_stack, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	xor	%eax, %eax
	ret
	.cfi_endproc
	.size	main, . - main

	.p2align 4
place at_entry
	.cfi_startproc
	push	%rbp
	mov	%rsp, %rbp
	pop	%rbp
	ret
	.cfi_endproc
	.size	at_entry, . - at_entry
	.p2align 4
leaf:
	.cfi_startproc
	nop
	ret
	.cfi_endproc

	.data
	.p2align 3
pointer:
	.quad	leaf
own_stack:
	.quad	0
	.bss
	.p2align 12
	.space	65536
stack_top:
	.space	4096
	.section .note.GNU-stack,"",@progbits
