#pragma once
/* The program's parts, each with its own options: sim-card [run], personalise, inspect,
 * verify-output. They return exit codes. */
int card_command_run(int argc, char **argv);
int card_command_personalise(int argc, char **argv);
int card_command_inspect(int argc, char **argv);
int card_command_verify_output(int argc, char **argv);
