/* SPDX-License-Identifier: MIT */
/* run_after exec|fork PROGRAM ARGS...: executes it, or lets a child do that, when a line comes on standard input. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int forks = argc > 2 && !strcmp(argv[1], "fork"), status = 0;
	char line[16];

	printf("ready\n");
	fflush(stdout);
	if (argc < 3 || !fgets(line, sizeof(line), stdin))
		return 2;
	if (!forks || !fork())
		execv(argv[2], argv + 2);
	return wait(&status) < 0 || status;
}
