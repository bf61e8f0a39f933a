/* SPDX-License-Identifier: MIT */
/* A library that says it is Go's. */
	.text
	.globl	go_function
	.type	go_function, @function
go_function:
	.cfi_startproc
	mov	%edi, %eax
	nop
	nop
	nop
	ret
	.cfi_endproc
	.size	go_function, . - go_function
	.section .note.go.buildid, "a", @note
	.long	4, 8, 4
	.asciz	"Go\0"
	.asciz	"1234567"
	.section .note.GNU-stack,"",@progbits
