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
	.section .note.GNU-stack, "", @progbits
