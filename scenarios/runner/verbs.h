#pragma once
/* The subcommands of testbed. Each gets argv from its own name on and returns the exit code. */
int scn_verb_demo(int argc, char **argv);
int scn_verb_run(int argc, char **argv);
int scn_verb_list(int argc, char **argv);
int scn_verb_up(int argc, char **argv);
int scn_verb_ctl(int argc, char **argv);
int scn_verb_apdu(int argc, char **argv);
int scn_verb_at(int argc, char **argv);
int scn_verb_trace(int argc, char **argv);
int scn_verb_bench(int argc, char **argv);
