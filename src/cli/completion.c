/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn completion: scripts by which bash and zsh complete tarn's command lines. Verbs and options are those of the
 * table; what an argument is (a topic, a file, a word of a few) is what the verb's page calls it.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct option options[] = {HELP_OPTION};

static bool set(int option, const char *argument, void *context) {
    (void)option, (void)argument, (void)context;
    return true;
}

/* ---- what a page says ----------------------------------------------------------------------------------------- */

/* Behind "  --name" at the start of a line of the page; "" if it is not there. */
static const char *find_option(const char *help, const char *name) {
    char start[64];
    int length = snprintf(start, sizeof(start), "\n  --%s ", name);
    const char *at = strstr(help, start);
    return at ? at + length - 1 : "";
}

/* The name of the option's argument: "BYTES" of "--chunk BYTES". */
static void read_argument(char *ret, size_t size, const char *help, const char *name) {
    const char *at = find_option(help, name);
    at += *at == ' ';
    snprintf(ret, size, "%.*s", (int)strcspn(at, " \n"), at);
}

/* What it does, to the first end of a thought. */
static void read_meaning(char *ret, size_t size, const char *help, const char *name) {
    const char *at = find_option(help, name), *text = strstr(at, "  ");
    text = text ? text + strspn(text, " ") : "";
    size_t length = strcspn(text, ";(\n");
    while (length && text[length - 1] == ' ')
        length--;
    snprintf(ret, size, "%.*s", (int)length, text);
}

/* The next operand of a usage line, without brackets: "TOPIC", "FILE...", "bash|zsh". False: there are no more. */
static bool next_operand(char *ret, size_t size, const char **usage) {
    size_t used = 0;
    *usage += strspn(*usage, " ");
    if (**usage == '\n' || !**usage)
        return false;
    for (; **usage && !strchr(" \n", **usage); ++*usage)
        if (!strchr("[]", **usage) && used + 1 < size)
            ret[used++] = **usage;
    ret[used] = '\0';
    return strcmp(ret, "OPTION...") == 0 || strcmp(ret, "--") == 0 ? next_operand(ret, size, usage) : true;
}

static const char *usage_operands(const struct verb *verb) {
    return verb->help + strlen("usage: tarn ") + strlen(verb->name);
}

/* ---- bash ----------------------------------------------------------------------------------------------------- */

static const char bash_functions[] =
    "# Completes the arguments of tarn in bash; made by 'tarn completion bash'.\n"
    "\n"
    "# The topics that are there, where the command line says that topics are.\n"
    "_tarn_topics() {\n"
    "    local place=() i value\n"
    "    for ((i = 2; i < COMP_CWORD; i++)); do\n"
    "        case ${COMP_WORDS[i]} in\n"
    "        --directory | --domain)\n"
    "            value=${COMP_WORDS[i + 1]}\n"
    "            [[ $value != = ]] || value=${COMP_WORDS[i + 2]}\n"
    "            place+=(\"${COMP_WORDS[i]}=${value/#\\~\\//$HOME/}\")\n"
    "            ;;\n"
    "        esac\n"
    "    done\n"
    "    \"${COMP_WORDS[0]/#\\~\\//$HOME/}\" ls --names \"${place[@]}\" 2>/dev/null\n"
    "}\n"
    "\n"
    "# _tarn_kind KIND: what an argument of that name may be.\n"
    "_tarn_kind() {\n"
    "    case $1 in\n"
    "    TOPIC) COMPREPLY=($(compgen -W \"$(_tarn_topics)\" -- \"$cur\")) ;;\n"
    "    VERB) COMPREPLY=($(compgen -W \"$verbs\" -- \"$cur\")) ;;\n"
    "    DIR) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- \"$cur\") ;;\n"
    "    FILE | ARGUMENT) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
    "    COMMAND) mapfile -t COMPREPLY < <(compgen -c -- \"$cur\") ;;\n"
    "    *[a-z]*\\|*) COMPREPLY=($(compgen -W \"${1//|/ }\" -- \"$cur\")) ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "# _tarn_argument OPTION: the name of its argument, if it has one.\n"
    "_tarn_argument() {\n"
    "    local option\n"
    "    for option in $options; do\n"
    "        [[ $option != \"$1\"=* ]] || echo \"${option#*=}\"\n"
    "    done\n"
    "}\n"
    "\n"
    "# The operand that is to be completed: skips options and their arguments.\n"
    "_tarn_operand() {\n"
    "    local i position=0 ended= list=($operands) last\n"
    "    for ((i = 2; i < COMP_CWORD; i++)); do\n"
    "        case ${COMP_WORDS[i]} in\n"
    "        --) [[ ! $ended ]] && ended=1 || ((position++)) ;;\n"
    "        -?*)\n"
    "            if [[ $ended ]]; then\n"
    "                ((position++))\n"
    "            elif [[ $(_tarn_argument \"${COMP_WORDS[i]}\") ]]; then\n"
    "                [[ ${COMP_WORDS[++i]} != = ]] || ((i++))\n"
    "            fi\n"
    "            ;;\n"
    "        *) ((position++)) ;;\n"
    "        esac\n"
    "    done\n"
    "    last=${list[*]: -1}\n"
    "    if ((position < ${#list[@]})); then\n"
    "        _tarn_kind \"${list[position]%...}\"\n"
    "    elif [[ $last == *... ]]; then\n"
    "        _tarn_kind \"${last%...}\"\n"
    "    fi\n"
    "}\n"
    "\n"
    "_tarn() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} options operands argument i\n";

static const char bash_end[] = "    COMPREPLY=()\n"
                               "    if ((COMP_CWORD == 1)); then\n"
                               "        COMPREPLY=($(compgen -W \"$verbs --help --version\" -- \"$cur\"))\n"
                               "        return\n"
                               "    fi\n"
                               "    _tarn_verb \"${COMP_WORDS[1]}\" || return 0\n"
                               "    [[ $before != = ]] || before=${COMP_WORDS[COMP_CWORD - 2]}\n"
                               "    [[ $cur != = ]] || cur=\n"
                               "    for ((i = 2; i < COMP_CWORD; i++)); do\n"
                               "        [[ ${COMP_WORDS[i]} != -- ]] || { _tarn_operand; return; }\n"
                               "    done\n"
                               "    argument=$(_tarn_argument \"$before\")\n"
                               "    if [[ $argument ]]; then\n"
                               "        _tarn_kind \"$argument\"\n"
                               "    elif [[ $cur == -* ]]; then\n"
                               "        for argument in $options; do\n"
                               "            COMPREPLY+=($(compgen -W \"${argument%%=*}\" -- \"$cur\"))\n"
                               "        done\n"
                               "    else\n"
                               "        _tarn_operand\n"
                               "    fi\n"
                               "}\n"
                               "\n"
                               "complete -F _tarn tarn\n";

/* A line of the table: the verb's options, each with the name of its argument, and its operands. */
static void bash_verb(const struct verb *verb) {
    char word[128];
    const char *before = "", *usage = usage_operands(verb);
    output_print("    %s) options='", verb->name);
    for (const struct option *option = verb->options; option->name; option++) {
        output_print("%s--%s", before, option->name);
        before = " ";
        if (option->has_arg == no_argument)
            continue;
        read_argument(word, sizeof(word), verb->help, option->name);
        output_print("=%s", word);
    }
    output_print("' operands='");
    for (before = ""; next_operand(word, sizeof(word), &usage); before = " ")
        output_print("%s%s", before, word);
    output_print("' ;;\n");
}

static void print_bash(void) {
    output_print("%s    local verbs='", bash_functions);
    for (int i = 0; verbs[i]; i++)
        output_print("%s%s", i ? " " : "", verbs[i]->name);
    output_print("'\n%s\n# _tarn_verb VERB: sets its options and operands.\n_tarn_verb() {\n    case $1 in\n",
                 bash_end);
    for (int i = 0; verbs[i]; i++)
        bash_verb(verbs[i]);
    output_print("    *) return 1 ;;\n    esac\n}\n");
}

/* ---- zsh ------------------------------------------------------------------------------------------------------ */

static const char zsh_functions[] =
    "#compdef tarn\n"
    "# Completes the arguments of tarn in zsh; made by 'tarn completion zsh'.\n"
    "\n"
    "# The topics that are there, where the command line says that topics are.\n"
    "_tarn_topics() {\n"
    "    local -a place topics\n"
    "    local option\n"
    "    for option in --directory --domain; do\n"
    "        (( ! ${+opt_args[$option]} )) || place+=(\"$option=${(Q)opt_args[$option]/#\\~\\//$HOME/}\")\n"
    "    done\n"
    "    topics=(${(f)\"$(_call_program topics $tarn ls --names ${(q)place} 2>/dev/null)\"})\n"
    "    compadd -a \"$@\" topics\n"
    "}\n"
    "\n"
    "_tarn() {\n"
    "    local tarn=$words[1] curcontext=$curcontext state line\n"
    "    local -A opt_args\n"
    "    local -a verbs=(\n";

static const char zsh_middle[] = "    )\n"
                                 "    if (( CURRENT == 2 )); then\n"
                                 "        _describe verb verbs\n"
                                 "        _arguments '--help[the list of verbs]' '--version[which version this is]'\n"
                                 "        return\n"
                                 "    fi\n"
                                 "    shift words\n"
                                 "    (( CURRENT-- ))\n"
                                 "    case $words[1] in\n";

static const char zsh_end[] = "    esac\n"
                              "}\n"
                              "\n"
                              "if [[ $funcstack[1] == _tarn ]]; then\n"
                              "    _tarn \"$@\"\n"
                              "else\n"
                              "    compdef _tarn tarn\n"
                              "fi\n";

/* Between single quotes, where those characters that mean something to zsh are escaped. */
static void zsh_quoted(const char *text, const char *special) {
    for (; *text; text++)
        if (*text == '\'')
            output_print("'\\''");
        else
            output_print("%s%c", strchr(special, *text) ? "\\" : "", *text);
}

/* What completes an argument of that name; " ": nothing does. */
static void zsh_kind(char *ret, size_t size, const char *name) {
    static const char *const kinds[][2] = {{"TOPIC", "_tarn_topics"}, {"DIR", "_files -/"}, {"FILE", "_files"}};
    snprintf(ret, size, " ");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(name, kinds[i][0]) == 0)
            snprintf(ret, size, "%s", kinds[i][1]);
    if (strcmp(name, "VERB") == 0)
        snprintf(ret, size, "{_describe verb verbs}");
    if (strchr(name, '|') && islower((unsigned char)*name)) {
        int used = snprintf(ret, size, "(%s)", name);
        for (int i = 0; i < used; i++)
            ret[i] = ret[i] == '|' ? ' ' : ret[i];
    }
}

static void zsh_option(const struct verb *verb, const struct option *option) {
    char meaning[256], argument[128], kind[160];
    read_meaning(meaning, sizeof(meaning), verb->help, option->name);
    output_print(" \\\n        '--%s%s[", option->name, option->has_arg == no_argument ? "" : "=");
    zsh_quoted(meaning, "[]\\");
    output_print("]");
    if (option->has_arg != no_argument) {
        read_argument(argument, sizeof(argument), verb->help, option->name);
        zsh_kind(kind, sizeof(kind), argument);
        output_print(":%s:%s", argument, kind);
    }
    output_print("'");
}

static void zsh_verb(const struct verb *verb) {
    char operand[128], kind[160];
    const char *usage = usage_operands(verb);
    output_print("    %s) _arguments -S", verb->name);
    for (const struct option *option = verb->options; option->name; option++)
        zsh_option(verb, option);
    for (int position = 1; next_operand(operand, sizeof(operand), &usage); position++) {
        char *more = strstr(operand, "...");
        if (more)
            *more = '\0';
        zsh_kind(kind, sizeof(kind), operand);
        if (strcmp(operand, "COMMAND") == 0) {
            output_print(" \\\n        '*:::command:_normal'");
            break;
        }
        if (more)
            output_print(" \\\n        '*:%s:%s'", operand, kind);
        else
            output_print(" \\\n        '%d:%s:%s'", position, operand, kind);
    }
    output_print(" ;;\n");
}

static void print_zsh(void) {
    output_print("%s", zsh_functions);
    for (int i = 0; verbs[i]; i++) {
        output_print("        '%s:", verbs[i]->name);
        zsh_quoted(verbs[i]->summary, ":\\");
        output_print("'\n");
    }
    output_print("%s", zsh_middle);
    for (int i = 0; verbs[i]; i++)
        zsh_verb(verbs[i]);
    output_print("%s", zsh_end);
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

static int run(int argc, char **argv) {
    struct place unused;
    int code = arguments_parse(&verb_completion, argc, argv, &unused, set, NULL);
    if (code >= 0)
        return code;
    if (argc - optind != 1)
        return usage_error(&verb_completion, "one shell, bash or zsh, is to be named");
    if (strcmp(argv[optind], "bash") != 0 && strcmp(argv[optind], "zsh") != 0)
        return usage_error(&verb_completion, "'%s' is none of bash, zsh", argv[optind]);
    (argv[optind][0] == 'b' ? print_bash : print_zsh)();
    return EXIT_OK;
}

const struct verb verb_completion = {
    "completion",
    "prints what makes bash or zsh complete tarn's arguments",
    "usage: tarn completion bash|zsh [OPTION...]\n"
    "\n"
    "Prints a script by which the shell completes verbs, options, topics that are there, and files. It is installed\n"
    "with tarn; this is for a tarn that is not, or to look at.\n"
    "\n"
    "examples\n"
    "  source <(tarn completion bash)      in ~/.bashrc\n"
    "  source <(tarn completion zsh)       in ~/.zshrc, behind compinit\n"
    "\n"
    "options\n"
    "  --help              this page\n",
    options,
    run,
};
