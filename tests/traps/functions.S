/* SPDX-License-Identifier: MIT */
/*
 * No jump fits: the second instruction is led to, or the function is one byte; and what follows would take the
 * trampoline of a punned jump below address 0.
 */
	.text
	.globl looping, bare
	.type looping, @function
looping:
	.cfi_startproc
	nop
1:	add $-128, %r8d
	dec %edi
	jns 1b
	mov $4, %eax
	ret
	.cfi_endproc
	.size looping, . - looping

	.type bare, @function
bare:
	.cfi_startproc
	ret
	.cfi_endproc
	.size bare, . - bare

	.type behind, @function
behind:
	.cfi_startproc
	add $-128, %r8d
	dec %edi
	ret
	.cfi_endproc
	.size behind, . - behind
/*
 * A jump at `first` reaches over the beginning of `second`; one at `third` over the instruction behind its first. What
 * follows `first` would take the trampoline of a punned jump where there is room.
 */
	.globl first, second, third, fourth
	.type first, @function
first:
	.cfi_startproc
	xor %eax, %eax
	ret
	.cfi_endproc
	.size first, . - first

	.type second, @function
second:
	.cfi_startproc
	lea 0x47(%rdi), %eax
	imul $3, %eax, %eax
	ret
	.cfi_endproc
	.size second, . - second

	.type third, @function
	.type fourth, @function
third:
	.cfi_startproc
	endbr64
fourth:	add $1, %edi
	imul $3, %edi, %eax
	ret
	.cfi_endproc
	.size third, . - third
/* A punned jump can lead to one place only. */
	.globl narrow
	.type narrow, @function
narrow:
	.cfi_startproc
	nop
1:	add $0x12345610, %r8d
	dec %edi
	jns 1b
	mov $5, %eax
	ret
	.cfi_endproc
	.size narrow, . - narrow
	.section .note.GNU-stack, "", @progbits
