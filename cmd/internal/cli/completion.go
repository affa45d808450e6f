// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"flag"
	"fmt"
	"strings"
)

// Shells are the shells that Completion knows.
var Shells = []string{"bash", "zsh", "fish"}

// Completion returns a script that completes the commands and flags of the
// program in a shell.
func (p *Program) Completion(shell string) (string, error) {
	switch shell {
	case "bash":
		return p.bash(), nil
	case "zsh":
		// zsh runs the functions of bash.
		return "autoload -U +X bashcompinit && bashcompinit\n" + p.bash(), nil
	case "fish":
		return p.fish(), nil
	}
	return "", Usagef("unknown shell %q: it is one of %s", shell, strings.Join(Shells, ", "))
}

// flagsOf are the flags of a command.
func (p *Program) flagsOf(c *Command) *Flags {
	f := NewFlags(c.Name)
	c.Define(f)
	return f
}

func (p *Program) names() string {
	var names []string
	for _, c := range p.Commands {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}

func (p *Program) bash() string {
	var b strings.Builder
	fmt.Fprintf(&b, "_%s() {\n", p.Name)
	b.WriteString("  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\"\n")
	fmt.Fprintf(&b, "  if [ \"$COMP_CWORD\" -eq 1 ]; then COMPREPLY=($(compgen -W \"%s help\" -- \"$cur\")); return; fi\n", p.names())
	b.WriteString("  case \"${COMP_WORDS[1]} $prev\" in\n")
	for _, c := range p.Commands {
		f := p.flagsOf(c)
		f.VisitAll(func(fl *flag.Flag) {
			if values := f.values[fl.Name]; values != nil {
				fmt.Fprintf(&b, "    \"%s -%s\") COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return;;\n", c.Name, fl.Name, strings.Join(values, " "))
			} else if f.files[fl.Name] {
				fmt.Fprintf(&b, "    \"%s -%s\") COMPREPLY=($(compgen -f -- \"$cur\")); return;;\n", c.Name, fl.Name)
			}
		})
	}
	b.WriteString("  esac\n  case \"${COMP_WORDS[1]}\" in\n")
	for _, c := range p.Commands {
		var words []string
		p.flagsOf(c).VisitAll(func(fl *flag.Flag) { words = append(words, "-"+fl.Name) })
		if c.Name == "completion" {
			words = append(words, Shells...)
		}
		fmt.Fprintf(&b, "    %s) COMPREPLY=($(compgen -W \"%s\" -- \"$cur\"));;\n", c.Name, strings.Join(words, " "))
	}
	fmt.Fprintf(&b, "  esac\n}\ncomplete -o default -F _%s %s\n", p.Name, p.Name)
	return b.String()
}

func (p *Program) fish() string {
	var b strings.Builder
	fmt.Fprintf(&b, "complete -c %s -f\n", p.Name)
	for _, c := range p.Commands {
		fmt.Fprintf(&b, "complete -c %s -n __fish_use_subcommand -a %s -d '%s'\n", p.Name, c.Name, quoteFish(c.Summary))
		f := p.flagsOf(c)
		seen := fmt.Sprintf("'__fish_seen_subcommand_from %s'", c.Name)
		f.VisitAll(func(fl *flag.Flag) {
			value, usage := flag.UnquoteUsage(fl)
			takes := ""
			switch {
			case f.values[fl.Name] != nil:
				takes = fmt.Sprintf(" -x -a '%s'", strings.Join(f.values[fl.Name], " "))
			case f.files[fl.Name]:
				takes = " -r -F"
			case value != "":
				takes = " -x"
			}
			fmt.Fprintf(&b, "complete -c %s -n %s -o %s%s -d '%s'\n", p.Name, seen, fl.Name, takes, quoteFish(usage))
		})
		if c.Name == "completion" {
			fmt.Fprintf(&b, "complete -c %s -n %s -a '%s'\n", p.Name, seen, strings.Join(Shells, " "))
		}
	}
	return b.String()
}

func quoteFish(s string) string {
	return strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s)
}
